"""A game as a LightningModule: the alternating step, averages, checkpoints and precision, for every paper."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self, cast

import torch
from lightning.pytorch import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.plugins.precision import DoublePrecision, HalfPrecision
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from gan_modules.engine.checkpoint import KEY, CheckpointFiles, check_weights, class_path, hyper_parameters
from gan_modules.engine.compile import compile_networks
from gan_modules.engine.distributed import destroy_group_at_exit, explain_every_message, shard
from gan_modules.engine.ema import MovingAverages
from gan_modules.engine.final_validation import FinalValidation
from gan_modules.engine.inputs import Inputs
from gan_modules.engine.loading import CheckpointMixin
from gan_modules.engine.loop import AlternatingLoop
from gan_modules.engine.players import Compile, Phase, Player
from gan_modules.engine.quiet import hush
from gan_modules.engine.resume import Stateful
from gan_modules.engine.scalers import in_own_precision
from gan_modules.engine.signals import GracefulShutdown
from gan_modules.errors import GANError


class GAN(CheckpointMixin, ABC):
    """The alternating game under manual optimization; a family or a paper says who plays, in what order, on what.

    The arguments of a subclass's constructor are its hyper-parameters: they are saved here, once.

    Args:
        ema_half_life: Half-life of the generator's moving average, in images, and never more than a twentieth of the
            images seen so far (the ramp-up of arXiv:2006.06676), so that short runs forget their first weights; 0
            keeps no average.
        accumulate: Parts in which each batch is played to save memory; the update is that of the whole batch
            (BatchNorm's statistics aside).
        clip_norm: Largest norm of a player's gradient; `None` leaves gradients as they are.
        compile: Whether torch.compile makes the networks faster for the training, after a minute or so at its start;
            "reduce-overhead" also replays them as CUDA graphs.

    Attributes:
        loop: Plays the steps.
        extra_state: What else the game remembers, in each process its own, by name: image pools, controllers.
            Checkpoints hold it.

    Raises:
        GANError: If an argument is out of its range.
    """

    _arguments: dict[str, Any]
    paper: ClassVar[str] = ""  # its title
    arxiv: ClassVar[str] = ""  # its number
    year: ClassVar[int] = 0

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Note the arguments that the whole class, whatever its constructors do with them, is built with."""
        self = super().__new__(cls)
        self._note_arguments(*args, **options)
        return self

    def __init_subclass__(cls, **options: Any) -> None:
        """Note the arguments too where another base comes first and keeps them, as huggingface_hub's mixin does."""
        super().__init_subclass__(**options)
        first = cls.__new__
        if first is GAN.__new__:
            return

        def new(cls: type[GAN], *args: Any, **options: Any) -> GAN:
            self = first(cls, *args, **options)
            self._note_arguments(*args, **options)
            return self

        setattr(cls, "__new__", new)  # noqa: B010

    def _note_arguments(self, *args: Any, **options: Any) -> None:
        try:
            # partial, since copies and pickles are made without arguments
            bound = inspect.signature(type(self).__init__).bind_partial(self, *args, **options)
        except TypeError:  # which the constructor explains better
            return
        bound.apply_defaults()
        _, *named = bound.arguments.items()
        kinds = bound.signature.parameters
        arguments = {name: value for name, value in named if kinds[name].kind is not inspect.Parameter.VAR_KEYWORD}
        for name, value in named:
            if kinds[name].kind is inspect.Parameter.VAR_KEYWORD:
                arguments |= value
        self.__dict__["_arguments"] = arguments

    def __init__(
        self,
        ema_half_life: float = 10_000,
        accumulate: int = 1,
        clip_norm: float | None = None,
        compile: Compile = False,
    ) -> None:
        super().__init__()
        hush()
        if not 0 <= ema_half_life < math.inf:
            raise GANError(f"ema_half_life={ema_half_life} must be a number of images, or 0 for no average.")
        self.automatic_optimization = False
        self.loop = AlternatingLoop(self, accumulate, clip_norm)
        self.extra_state: dict[str, Stateful] = {}
        self._compile = compile
        self._averages = MovingAverages(ema_half_life)
        self._takes_float32 = False
        self.save_hyperparameters({name: _plain(value) for name, value in self._arguments.items()})
        del self._arguments

    # ---- What a family or a paper says -------------------------------------------------------------------------------

    @abstractmethod
    def players(self) -> Mapping[str, Player]:
        """Return who plays, by name."""

    @abstractmethod
    def phases(self) -> Sequence[Phase]:
        """Return the phases of a step, in order."""

    @abstractmethod
    def inputs(self, batch: Any) -> Inputs:
        """Return what the objectives are given on a batch.

        Args:
            batch: What the loader gives: a tuple or list whose first entry are the reals.
        """

    def after_update(self, player: str) -> None:
        """Act after each update of a player: a paper that constrains weights does it here."""

    def extra_metrics(self) -> dict[str, float]:
        """Return what is logged besides the losses, by name: the state of controllers and schedules."""
        return {}

    # ---- Averages ----------------------------------------------------------------------------------------------------

    def track_average(self, name: str) -> None:
        """Keep a moving average of the network ``self.<name>`` as ``self.<name>_ema``; `None` at half-life 0.

        The network may be replaced until a fit begins: ``model.generator = Mine()`` is averaged like the first one.
        """
        setattr(self, f"{name}_ema", self._averages.track(name, self.get_submodule(name)))

    def averaged(self, name: str, ema: bool = True) -> nn.Module:
        """Return the moving average of the network ``self.<name>``, or the network where it has none.

        Args:
            name: Such as "generator".
            ema: Whether to return the average at all.
        """
        network = self.get_submodule(name)
        return self.get_submodule(f"{name}_ema") if ema and self._averages.tracks(name, network) else network

    def begin_with_full_average(self) -> None:
        """Count as many images as give the average its full half-life, for networks trained elsewhere."""
        self.images_seen = self._averages.images_of_full_half_life()

    def after_step(self) -> None:
        """Update the averages."""
        self._averages.update(self.images_seen)

    # ---- The step ----------------------------------------------------------------------------------------------------

    @property
    def images_seen(self) -> int:
        """Reals shown to the players so far, over all processes."""
        return self.loop.images_seen

    @images_seen.setter
    def images_seen(self, count: int) -> None:
        self.loop.images_seen = self._averages.images_averaged = count  # else one step would forget the average

    @property
    def accumulate(self) -> int:
        """Parts in which each batch is played."""
        return self.loop.accumulate

    @property
    def clip_norm(self) -> float | None:
        """Largest norm of a player's gradient."""
        return self.loop.clip_norm

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LambdaLR]]:
        """Return one optimizer for each player, over the parameters that are trainable when the fit begins."""
        return self.loop.configure_optimizers()

    def on_train_start(self) -> None:
        """Look up what each step needs."""
        self._averages.prepare()
        self.loop.begin()

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Play the phases of one batch."""
        if self._compile == "reduce-overhead":
            # what the last batch's networks gave may be overwritten
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        self.loop.step((batch,) if isinstance(batch, Tensor) else batch)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradient of the player being updated, once it is unscaled."""
        self.loop.clip(optimizer)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Do nothing: callbacks score what `sample` gives."""

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Do nothing: callbacks score what `sample` gives."""

    # ---- Before and between runs -------------------------------------------------------------------------------------

    def configure_callbacks(self) -> list[Callback]:
        """Return what every fit needs."""
        return [GracefulShutdown(), FinalValidation()]

    def setup(self, stage: str) -> None:
        """Prepare checkpoints, precision, compilation and averages before anything is computed."""
        strategy = self.trainer.strategy
        if self.trainer.world_size > 1:
            destroy_group_at_exit()
            explain_every_message(self.trainer)
        if type(strategy.checkpoint_io) is TorchCheckpointIO:  # else the user has chosen one
            strategy.checkpoint_io = CheckpointFiles()
        for name in self._averages.names():
            if not self._averages.tracks(name, self.get_submodule(name)):  # replaced since
                self.track_average(name)
        plugin = self.trainer.precision_plugin
        if isinstance(plugin, HalfPrecision | DoublePrecision) and not self._takes_float32:
            self._takes_float32 = True
            for network in self._networks():
                network.register_forward_pre_hook(in_own_precision)
        if self._compile and stage == "fit":
            compile_networks(self._networks(), self._compile, strategy.root_device)

    def configure_model(self) -> None:
        """Spread the networks over the processes of a `ModelParallelStrategy`."""
        if isinstance(self.trainer.strategy, ModelParallelStrategy):
            for network in self._networks():
                shard(network, self.trainer.strategy.device_mesh["data_parallel"])

    def _networks(self) -> Iterator[nn.Module]:
        """Yield what is called to compute with parameters: containers of networks are not, nor augmentations."""
        for child in self.children():
            if any(True for _ in child.parameters()):
                yield from child.children() if isinstance(child, nn.ModuleDict | nn.ModuleList) else (child,)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move and convert everything, but never narrow the averages: half precision would lose their small steps."""
        averaged = self._averages.tensor_ids()

        def apply_to(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            narrowed = id(tensor) in averaged and result.dtype.itemsize < tensor.dtype.itemsize
            return tensor.to(result.device) if narrowed else result

        return cast(Self, super()._apply(apply_to, recurse))  # type: ignore[no-untyped-call]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the class and how far the game has come; refuse to save weights that are not finite."""
        state = self.loop.state_dict()
        check_weights(checkpoint["state_dict"])
        checkpoint[KEY] = {
            "class": class_path(type(self)),
            "images_averaged": self._averages.images_averaged,
        } | state

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the game where the checkpoint left it.

        Raises:
            GANError: If another class made the checkpoint, or its networks are of another size.
        """
        state = checkpoint.get(KEY, {"class": "another library"})
        if state["class"] != class_path(type(self)):
            raise GANError(
                f"The checkpoint was made by {state['class']}, not by {class_path(type(self))}: use that class, or "
                f"another checkpoint."
            )
        self._check_networks(checkpoint["state_dict"], hyper_parameters(checkpoint))
        self._averages.images_averaged = state["images_averaged"]
        self.loop.load_state_dict(state, checkpoint)


def _plain(value: Any) -> Any:
    """Return an argument as a checkpoint holds it: a network is noted by its class alone, since no code is saved."""
    return {"class_path": class_path(type(value))} if isinstance(value, nn.Module) else value
