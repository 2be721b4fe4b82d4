"""A game as a LightningModule: the alternating step, averages, checkpoints and precision, for every paper."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self, cast

import torch
from lightning.pytorch import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.plugins.precision import DoublePrecision, HalfPrecision
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer

from gan_modules.engine.checkpoint import KEY, CheckpointFiles, check_weights, class_path, hyper_parameters
from gan_modules.engine.checks import check_trainer, slow_formats
from gan_modules.engine.class_names import agreed_names, class_names
from gan_modules.engine.compile import compile_networks
from gan_modules.engine.distributed import destroy_group_at_exit, explain_every_message, shard
from gan_modules.engine.ema import MovingAverages
from gan_modules.engine.final_validation import FinalValidation
from gan_modules.engine.inputs import Inputs, as_tensors, map_tensors
from gan_modules.engine.lightning_compat import was_compiled
from gan_modules.engine.loading import CheckpointMixin
from gan_modules.engine.loop import AlternatingLoop
from gan_modules.engine.modes import begin_training
from gan_modules.engine.players import Compile, Phase, Player
from gan_modules.engine.quiet import hush
from gan_modules.engine.resume import Stateful
from gan_modules.engine.scalers import in_own_precision
from gan_modules.engine.schedules import idle_from, planned_steps
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
        if any(kinds[name].kind is inspect.Parameter.VAR_POSITIONAL for name, _ in named):
            raise GANError(
                f"{type(self).__name__}.__init__ takes *args, which a checkpoint cannot name: name each of them."
            )
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
        self._looked: set[str] = set()  # stages whose first batch has been looked at, and what was said
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
            batch: As from `columns`: a tuple or list whose first entry are the reals.
        """

    def columns(self, batch: Any) -> Any:
        """Return what a loader gives as `inputs`, `condition` and callbacks take it.

        By default a tuple, whose tensors are on the device; floats are float32, or float64 where the model is. A family
        knows the dicts, and which entry is what. A model that reads its batches otherwise overrides this.

        Args:
            batch: What the loader gives.
        """
        return map_tensors(self._as_own, (batch,) if isinstance(batch, Tensor) else as_tensors(batch))

    def oddities(self, batch: Any) -> Iterable[str]:
        """Return what is odd about the first batch of a fit, a validation or a test, in sentences; each is a warning.

        Args:
            batch: As from `columns`.
        """
        return ()

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
        if not ema or not self._averages.tracks(name, network):
            return network
        average = self.get_submodule(f"{name}_ema")
        return average.eval() if average.training else average

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

    def configure_optimizers(self) -> tuple[list[Optimizer], Any]:
        """Return an optimizer and a scheduler for each player, over what is trainable when the fit begins."""
        return self.loop.configure_optimizers()

    def train(self, mode: bool = True) -> Self:
        """Put all but the averages into training mode, or everything into evaluation mode."""
        super().train(mode)
        for name in self._averages.names():
            self.get_submodule(f"{name}_ema").eval()
        return self

    def on_train_start(self) -> None:
        """Look up what each step needs, and put what is trained, or has no parameters, into training mode."""
        self.training = True
        begin_training(child for child in self.children() if not any(True for _ in child.parameters()))
        self._averages.prepare()
        self.loop.begin()
        for sentence in self.schedule_warnings():
            rank_zero_warn(sentence)

    def schedule_warnings(self) -> Iterable[str]:
        """Return, before the first step, in sentences, which learning rates are 0 long before the end of the fit."""
        steps = planned_steps(self.trainer, self._batches_a_step())
        length = "no end" if math.isinf(steps) else f"{steps:.0f}"
        named = {name: player.schedule for name, player in self.players().items() if player.schedule}
        idle = {name: idle_from(schedule, steps) for name, schedule in named.items()}
        return [
            f"The {name}'s learning rate is 0 from step {first} on, and this fit has {length}: end it there, "
            f"Trainer(max_steps={first}), or give {type(self).__name__} a longer schedule."
            for name, first in idle.items()
            if first is not None
        ]

    def _batches_a_step(self) -> int:
        return max(1, *(phase.batches(0) for phase in self.phases()))

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Play the phases of one batch."""
        if self._compile == "reduce-overhead":
            # what the last batch's networks gave may be overwritten
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        batch = self.columns(batch)
        self.look_once(batch)
        self.loop.step(batch)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradient of the player being updated, once it is unscaled."""
        self.loop.clip(optimizer)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Look at the first batch, no more: callbacks score what `sample` gives."""
        self.look_once(batch)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Look at the first batch, no more: callbacks score what `sample` gives."""
        self.look_once(batch)

    def look_once(self, batch: Any) -> None:
        """Warn of what is odd about the first batch of a stage; a sentence that several stages share comes once."""
        stage = str(self.trainer.state.stage)
        if stage in self._looked:
            return
        self._looked.add(stage)
        for sentence in self.oddities(self.columns(batch)):
            if sentence not in self._looked:
                self._looked.add(sentence)
                rank_zero_warn(sentence)

    def _as_own(self, tensor: Tensor) -> Tensor:
        own = torch.float64 if self.dtype == torch.float64 else torch.float32
        return tensor.to(self.device, own if tensor.is_floating_point() else tensor.dtype)

    # ---- Before and between runs -------------------------------------------------------------------------------------

    def configure_callbacks(self) -> list[Callback]:
        """Return what every fit needs, once it is clear that the trainer asks for nothing that the model does itself.

        Raises:
            GANError: If it does, or torch.compile was called on the model.
        """
        check_trainer(self.trainer, type(self).__name__)
        if was_compiled(self):
            name = type(self).__name__
            raise GANError(f"torch.compile({name}(…)) would compile the updates too: pass {name}(…, compile=True).")
        return [GracefulShutdown(), FinalValidation()]

    def setup(self, stage: str) -> None:
        """Prepare checkpoints, precision, compilation and averages before anything is computed."""
        strategy = self.trainer.strategy
        self._looked.clear()
        for sentence in slow_formats(self.trainer):
            rank_zero_warn(sentence)
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
            "classes": list(self.classes),
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
        self.check_networks(checkpoint["state_dict"], hyper_parameters(checkpoint))
        self.classes = agreed_names(self.classes, class_names(state.get("classes")), "the checkpoint")
        self._averages.images_averaged = state["images_averaged"]
        self.loop.load_state_dict(state, checkpoint)


def _plain(value: Any) -> Any:
    """Return an argument as a checkpoint holds it: a network is noted by its class alone, since no code is saved."""
    return {"class_path": class_path(type(value))} if isinstance(value, nn.Module) else value
