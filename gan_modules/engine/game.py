"""The engine: players who move in turn, under Lightning's manual optimization.

A *round* is a list of *turns*. Each turn takes one fresh batch of real images, and one or more players move on it: a
player's move is one optimizer step on its own objective. DCGAN's round is one turn, in which the discriminator and
then the generator move; WGAN's is five turns, of which the last also moves the generator; StyleGAN2's is one turn with
up to four moves, since each player has a regularizer that is due every few rounds. Lightning hands ``training_step``
one batch, so each call is one turn, while ``trainer.global_step`` counts rounds.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import reduce
from operator import add
from typing import Any, Self, cast

import torch
from lightning.pytorch import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.plugins.precision import HalfPrecision
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from gan_modules.engine.checkpoint import KEY, CheckpointFiles, check_weights, class_path, hyper_parameters
from gan_modules.engine.compile import compile_networks
from gan_modules.engine.distributed import (
    destroy_group_at_exit,
    explain_every_message,
    explain_lost_rank,
    gather_objects,
    is_sharded,
    reshard,
    shard,
    state_of_rank,
)
from gan_modules.engine.ema import MovingAverages
from gan_modules.engine.loading import CheckpointMixin
from gan_modules.engine.loss_log import LossLog, Move, added, weighted
from gan_modules.engine.players import Compile, Losses, Player
from gan_modules.engine.resume import (
    Stateful,
    begin_next_epoch,
    random_state,
    reopen_epoch,
    restore_random_state,
)
from gan_modules.engine.scalers import Scalers, in_own_precision
from gan_modules.engine.signals import GracefulShutdown
from gan_modules.engine.stepper import OptimizerStepper
from gan_modules.errors import GANError
from gan_modules.families.data_spec import check_data_spec


class GAN(CheckpointMixin, ABC):
    """The alternating game under manual optimization; a family says who plays, in what order, and with what.

    Args:
        image_shape: ``(C, H, W)`` of an image, or ``(2,)`` for points in the plane.
        num_classes: Classes that the networks are told of; 0 where they are told of none.
        ema_half_life: Half-life of the generator's moving average, in images, and never more than a twentieth of the
            images seen so far (the ramp-up of arXiv:2006.06676), so that short runs forget their first weights; 0
            keeps no average.
        accumulate: Parts in which each batch is played to save memory; the step is that of the whole batch
            (BatchNorm's statistics aside).
        clip_norm: Largest norm of a player's gradient; `None` leaves gradients as they are.
        compile: Whether torch.compile makes the networks faster for the training, after a minute or so at its start;
            "reduce-overhead" also replays them as CUDA graphs.

    Raises:
        GANError: If an argument is out of its range.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        num_classes: int = 0,
        ema_half_life: float = 10_000,
        accumulate: int = 1,
        clip_norm: float | None = None,
        compile: Compile = False,
    ) -> None:
        super().__init__()
        if accumulate < 1:
            raise GANError(f"accumulate={accumulate} must be at least 1: it is the number of parts of a batch.")
        if not 0 <= ema_half_life < math.inf:
            raise GANError(f"ema_half_life={ema_half_life} must be a number of images, or 0 for no average.")
        if clip_norm is not None and not 0 < clip_norm < math.inf:
            raise GANError(f"clip_norm={clip_norm} must be above 0, or left out for no clipping.")
        self.automatic_optimization = False
        self.image_shape = tuple(image_shape)
        self.num_classes = num_classes
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self._compile = compile
        self.images_seen = 0  # reals shown to the players so far, over all processes
        self._turns_taken = 0  # in the round being played
        self._averages = MovingAverages(ema_half_life)
        self._ledger = LossLog()
        self._in_half_precision = False
        self._to_continue: dict[str, Any] | None = None  # the game of the checkpoint that the fit goes on from
        # What else the game remembers, in each process its own: image pools, controllers; checkpoints hold it
        self.memory: dict[str, Stateful] = {}

    # ---- What a family says --------------------------------------------------------------------------------------

    @abstractmethod
    def configure_players(self) -> dict[str, Player]:
        """Who plays, by name."""

    @abstractmethod
    def turns(self, round: int) -> Sequence[Sequence[str]]:
        """The given round (0 is the first) as turns, each on one fresh batch and naming the moves on it, in order.

        A move goes by its player's name, or by ``player/objective`` for one of the player's further objectives.
        """

    @abstractmethod
    def deal(self, batch: Sequence[Tensor], movers: Sequence[str]) -> Sequence[tuple[Any, float]]:
        """What the movers of one turn play with: `accumulate` parts, each with its share of the batch."""

    def after_update(self, name: str) -> None:
        """Called after each move of the player `name`: a paper that constrains weights does it here."""

    def measured(self) -> dict[str, float]:
        """What the loggers are told besides the losses: the state of controllers and schedules, by name."""
        return {}

    # ---- The round -----------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LambdaLR]]:
        """One optimizer a player, over the parameters that are trainable when the fit begins."""
        self._players = self.configure_players()
        self._trainable = {
            name: [p for p in player.network.parameters() if p.requires_grad] for name, player in self._players.items()
        }
        optimizers = {name: player.optimizer(self._trainable[name]) for name, player in self._players.items()}
        for name, optimizer in optimizers.items():
            rates = [group["lr"] for group in optimizer.param_groups]
            if not all(math.isfinite(rate) for rate in rates):
                raise GANError(f"The {name}'s learning rate is {rates[0]}: it must be a finite number.")
        schedules = [
            LambdaLR(optimizers[name], player.schedule) for name, player in self._players.items() if player.schedule
        ]
        return list(optimizers.values()), schedules

    def training_step(self, batch: Tensor | Sequence[Tensor], batch_idx: int) -> None:
        """One turn: its players move on this batch; the last turn closes the round."""
        batch = (batch,) if isinstance(batch, Tensor) else batch
        self._check_batch(batch)
        if self._compile == "reduce-overhead":
            # what the last turn's networks gave may be overwritten
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        turns = self.turns(self.trainer.global_step)
        turn = min(self._turns_taken, len(turns) - 1)  # the rules may have changed since the round began
        movers = turns[turn]
        closing = turn + 1 == len(turns)
        parts = self.deal(batch, movers)
        self.images_seen += len(batch[0]) * self.trainer.world_size
        for move in movers:
            self._move(move, parts, counted=closing and move == movers[-1])
        self._turns_taken = 0 if closing else turn + 1
        if closing:
            self._close_round()
        # The loggers' x-axis is this counter, by batches; let it be the index of the round (the loop now adds one).
        self.trainer.fit_loop.epoch_loop._batches_that_stepped = max(self.trainer.global_step - 1, 0)

    def _move(self, move: str, parts: Sequence[tuple[Any, float]], counted: bool) -> None:
        """One optimizer step of one player, with the gradient of the whole batch over all processes."""
        name = move.partition("/")[0]
        player = self._players[name]
        objective = player.objective_of(move)
        for parameter in self._trainable[name]:
            parameter.grad = None
        total: Losses = {}
        # DDP's own synchronisation expects every parameter in every backward, which no game can give
        unsynchronised = getattr(self.trainer.strategy, "block_backward_sync", nullcontext)
        self._scalers.take_turns(name)
        with self._only_moving(name), unsynchronised():
            for part, share in parts:
                terms = weighted(objective(part), share)
                self._steps.backward(reduce(add, terms.values()))
                total = added(total, terms)
        self._ledger.enter(Move(self.trainer.global_step, move, total))
        if self._alone_on_cpu:
            self._ledger.check()  # looking costs nothing here
        elif self._ledger.full:
            self._ledger.check(self._mean)
        self._average(p.grad for p in self._trainable[name] if p.grad is not None)
        self._steps.step(self._optimizers[name], counted)  # Lightning counts one step of a round
        reshard(player.network)
        self.after_update(name)

    @contextmanager
    def _only_moving(self, name: str) -> Iterator[None]:
        """Freeze the resting players: no gradient is computed for them, and none reaches them."""
        resting = [p for other, parameters in self._trainable.items() if other != name for p in parameters]
        for parameter in resting:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in resting:
                parameter.requires_grad_(True)

    def _average(self, values: Iterable[Tensor]) -> None:
        """Replace tensors by their mean over all processes, in one message."""
        if self.trainer.world_size == 1:
            return
        tensors = [value.detach() for value in values]
        if not tensors or is_sharded(tensors[0]):  # shards come averaged already
            return
        means = self._mean(torch.cat([tensor.flatten() for tensor in tensors]))
        for tensor, mean in zip(tensors, torch.split(means, [t.numel() for t in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def _mean(self, values: Tensor) -> Tensor:
        """The mean over all processes, where a fit has several, in the place of the values."""
        if self._trainer is None or self.trainer.world_size == 1:
            return values
        with explain_lost_rank():
            torch.distributed.all_reduce(values)  # the strategy's own would wait for all before it begins
        return values.div_(self.trainer.world_size)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the moving player's gradient, once it is unscaled."""
        if self.clip_norm is not None:
            self._scalers.unscale(optimizer)
            torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], self.clip_norm)

    def _close_round(self) -> None:
        for scheduler in self._schedulers:
            scheduler.step()
        for player in self._players.values():
            reshard(player.network)
        self._average(self._statistics)
        self._averages.update(self.images_seen)
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # 0 logs nothing
        if every and self.trainer.global_step % every == 0:
            self._ledger.check(self._mean)
            self._log_losses()

    def _log_losses(self) -> None:
        """To all who ask for them, directly: what `self.log` is given once is gathered anew in every batch."""
        losses = self._ledger.latest(self._mean)
        self.trainer.progress_bar_metrics.update(losses)
        self.trainer.callback_metrics.update(
            {name: torch.tensor(loss, dtype=torch.float32) for name, loss in losses.items()}
        )
        values = losses | {"images_seen": self.images_seen} | self.measured()
        for logger in self.trainer.loggers:
            logger.log_metrics(values, step=self.trainer.global_step - 1)

    # ---- Before, between and after ---------------------------------------------------------------------------------

    def configure_callbacks(self) -> list[Callback]:
        """What every fit needs."""
        return [GracefulShutdown()]

    def setup(self, stage: str) -> None:
        """Compare the model with the data before anything is computed, and see that checkpoints are safe.

        Raises:
            GANError: If they disagree, naming both sides and the argument to pass.
        """
        strategy = self.trainer.strategy
        if self.trainer.world_size > 1:
            destroy_group_at_exit()
            explain_every_message(self.trainer)
        if type(strategy.checkpoint_io) is TorchCheckpointIO:  # else the user has chosen one
            strategy.checkpoint_io = CheckpointFiles()
        # ModelCheckpoint's advice to save what was before the step; here it is what is after the round that counts
        warnings.filterwarnings("ignore", ".*no pre-optimization state was saved")
        if isinstance(self.trainer.precision_plugin, HalfPrecision) and not self._in_half_precision:
            self._in_half_precision = True
            for network in self._networks():
                network.register_forward_pre_hook(in_own_precision)
        if self._compile and stage == "fit":
            compile_networks(self._networks(), self._compile, strategy.root_device)
        check_data_spec(self, getattr(self.trainer, "datamodule", None))

    def _networks(self) -> Iterator[nn.Module]:
        """What is called to compute with parameters: containers of networks are not, nor augmentations."""
        for child in self.children():
            if any(True for _ in child.parameters()):
                yield from child.children() if isinstance(child, nn.ModuleDict | nn.ModuleList) else (child,)

    def configure_model(self) -> None:
        """Spread the networks over the processes of a `ModelParallelStrategy`."""
        if isinstance(self.trainer.strategy, ModelParallelStrategy):
            for network in self._networks():
                shard(network, self.trainer.strategy.device_mesh["data_parallel"])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move and convert everything, but never narrow the averages: half precision would lose their small steps."""
        averaged = self._averages.tensor_ids()

        def carefully(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            narrowed = id(tensor) in averaged and result.dtype.itemsize < tensor.dtype.itemsize
            return tensor.to(result.device) if narrowed else result

        return cast(Self, super()._apply(carefully, recurse))  # type: ignore[no-untyped-call]

    def _check_batch(self, batch: Sequence[Tensor]) -> None:
        real = batch[0]
        if tuple(real.shape[1:]) != self.image_shape:
            raise GANError(
                f"{type(self).__name__} was built for image_shape={self.image_shape}, but the batch holds images of "
                f"{tuple(real.shape[1:])}: pass image_shape={tuple(real.shape[1:])} to the model."
            )
        if not real.dtype.is_floating_point:
            raise GANError(f"The batch holds {real.dtype}, not floats: scale the images to [-1, 1], x / 127.5 - 1.")
        if self.num_classes and len(batch) < 2:
            raise GANError(f"{type(self).__name__} needs (images, labels) in each batch: choose data with labels.")
        if len(real) < self.accumulate:
            raise GANError(f"A batch of {len(real)} cannot be cut in accumulate={self.accumulate} parts: lower one.")

    def on_train_start(self) -> None:
        """Look up what each round needs, and let every process draw its own noise."""
        optimizers = self.optimizers()
        listed = optimizers if isinstance(optimizers, list) else [optimizers]
        self._optimizers = dict(zip(self._players, listed, strict=True))
        schedulers = self.lr_schedulers() or []
        self._schedulers = cast(list[LambdaLR], schedulers if isinstance(schedulers, list) else [schedulers])
        self._scalers = Scalers(self.trainer.precision_plugin, self._players)
        self._steps = OptimizerStepper(self)
        # Elsewhere, looking at a loss would wait for the device, or for other processes
        self._alone_on_cpu = self.device.type == "cpu" and self.trainer.world_size == 1
        # What BatchNorm has seen; each process sees other images
        self._statistics = [
            buffer
            for player in self._players.values()
            for buffer in player.network.buffers()
            if buffer.is_floating_point()
        ]
        self._averages.prepare()
        if self._to_continue is not None:
            begin_next_epoch(self.trainer)
            self._continue(self._to_continue)
            self._to_continue = None
        else:
            if self.trainer.global_step == 0:
                self._turns_taken = 0
            if self.global_rank:
                torch.manual_seed(torch.initial_seed() + self.global_rank)

    def _continue(self, state: dict[str, Any]) -> None:
        self._turns_taken = state["turns_taken"]
        self._ledger.load_state_dict(state["ledger"], self.device)
        self._scalers.load_state_dict(state["scalers"])
        own = state_of_rank(state["processes"], self.global_rank, self.trainer.world_size)
        if own is not None:
            for name, thing in self.memory.items():
                thing.load_state_dict(own["memory"][name])
            restore_random_state(own["random"], self.device)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Nothing by itself: callbacks score what `sample` gives."""

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Nothing by itself: callbacks score what `sample` gives."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the class and how far the game has come; refuse to save weights that are no longer finite."""
        self._ledger.check(self._mean)
        check_weights(checkpoint["state_dict"])
        checkpoint[KEY] = {
            "class": class_path(type(self)),
            "images_seen": self.images_seen,
            "images_averaged": self._averages.images_averaged,
            "turns_taken": self._turns_taken,
            "ledger": self._ledger.state_dict(),
            "scalers": self._scalers.state_dict() if hasattr(self, "_scalers") else {},
            "processes": gather_objects(
                {
                    "random": random_state(self.device),
                    "memory": {name: thing.state_dict() for name, thing in self.memory.items()},
                }
            ),
        }

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
        self.images_seen = state["images_seen"]
        self._averages.images_averaged = state["images_averaged"]
        if self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            reopen_epoch(checkpoint["loops"]["fit_loop"])
            self._to_continue = state  # when everything else that draws random numbers has been set up
