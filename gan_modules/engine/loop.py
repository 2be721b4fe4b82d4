"""The alternating step, for any LightningModule under manual optimization.

A *step* of the game is a list of *phases*, each one optimizer step of one player on its own objective. Most games play
all phases on one batch. A critic that is updated five times a step has five batches, each with fresh reals. Lightning
hands ``training_step`` one batch, so each call plays the phases of one batch, while ``trainer.global_step`` counts
steps of the game.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import reduce
from itertools import groupby
from operator import add
from typing import Any, Protocol, cast

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from gan_modules.engine.contexts import frozen
from gan_modules.engine.distributed import explain_lost_rank, gather_objects, is_sharded, sharded_modules, state_of_rank
from gan_modules.engine.inputs import Inputs
from gan_modules.engine.lightning_compat import count_step, is_attached, is_overridden, show_step
from gan_modules.engine.loss_log import LossLog, LossRecord, added, check_losses, weighted
from gan_modules.engine.modes import begin_training
from gan_modules.engine.players import Losses, Phase, Player, check_players, correct_for_lazy_phases
from gan_modules.engine.resume import (
    begin_next_epoch,
    random_state,
    reopen_epoch,
    restore_random_state,
)
from gan_modules.engine.scalers import Scalers
from gan_modules.engine.stepper import OptimizerStepper
from gan_modules.errors import GANError


class Plays(Protocol):
    """What the loop asks of a LightningModule.

    The module may have further methods: ``after_update(player: str)`` is called after each update of a player,
    ``after_step()`` after each step, and ``extra_metrics() -> dict[str, float]`` gives what is logged beside the
    losses. ``extra_state``, a dict of objects with ``state_dict`` and ``load_state_dict``, is kept in checkpoints.
    """

    def players(self) -> Mapping[str, Player]:
        """Return who plays, by name."""

    def phases(self) -> Sequence[Phase]:
        """Return the phases of a step, in order; read once when the fit begins."""

    def inputs(self, batch: Any) -> Inputs:
        """Return what the objectives are given on a batch."""


class AlternatingLoop:
    """Plays the phases of a module on each batch that Lightning hands it.

    The module forwards these hooks: ``configure_optimizers``, ``training_step`` (to `step`) and, with `clip_norm`,
    ``on_before_optimizer_step`` (to `clip`). For an exact resume it puts `state_dict` into its checkpoint, hands it to
    `load_state_dict`, and forwards ``on_train_start`` (to `begin`).

    Args:
        module: The module, with ``automatic_optimization = False`` and the methods of `Plays`.
        accumulate: Parts in which each batch is played to save memory; the update is that of the whole batch.
        clip_norm: Largest norm of a player's gradient; `None` leaves gradients as they are.

    Attributes:
        images_seen: Reals shown to the players so far, over all processes.
        owned: In a fit, the parameters of each player.
        optimizers: In a fit, the optimizer of each player.

    Raises:
        GANError: If an argument is out of its range.
    """

    def __init__(self, module: Any, accumulate: int = 1, clip_norm: float | None = None) -> None:
        if accumulate < 1:
            raise GANError(f"accumulate={accumulate} must be at least 1: it is the number of parts of a batch.")
        if clip_norm is not None and not 0 < clip_norm < math.inf:
            raise GANError(f"clip_norm={clip_norm} must be above 0, or left out for no clipping.")
        self.module = module
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.images_seen = 0
        self.owned: dict[str, list[nn.Parameter]] = {}
        self.optimizers: dict[str, LightningOptimizer] = {}
        self._batches_played = 0  # of the step being played
        self._losses = LossLog()
        self._begun = False
        self._to_continue: dict[str, Any] | None = None  # the checkpoint that the fit goes on from

    # ---- Before the first step ---------------------------------------------------------------------------------------

    def configure_optimizers(self) -> tuple[list[Optimizer], Any]:
        """Return one optimizer for each player, over the parameters that are trainable when the fit begins.

        Raises:
            GANError: If players share parameters without saying so, or a learning rate is not finite.
        """
        self._begun = False
        self._players = dict(self.module.players())
        self._phases = list(self.module.phases())
        self.owned = {name: player.parameters() for name, player in self._players.items()}
        check_players(self._players, self._phases, self.owned)
        optimizers = {name: player.optimizer(self.owned[name]) for name, player in self._players.items()}
        for name, optimizer in optimizers.items():
            rates = [group["lr"] for group in optimizer.param_groups]
            if not all(math.isfinite(rate) for rate in rates):
                raise GANError(f"The {name}'s learning rate is {rates[0]}: it must be a finite number.")
            correct_for_lazy_phases(optimizer, [phase for phase in self._phases if phase.player == name])
        # one for each player, so that LearningRateMonitor reads its name; a constant one is never stepped
        schedules = [
            {"scheduler": LambdaLR(optimizers[name], player.schedule or _constant), "name": f"lr-{name}"}
            for name, player in self._players.items()
        ]
        return list(optimizers.values()), schedules

    def begin(self) -> None:
        """Look up what each step needs, when the module is on its device; called by `step` where nobody has."""
        self._begun = True
        module, trainer = self.module, self.module.trainer
        begin_training(network for player in self._players.values() for network in player.modules)
        self._trainer = trainer  # at hand, since the module looks for its own at each call
        if self.clip_norm is not None and not is_overridden("on_before_optimizer_step", module):
            raise GANError(
                f"clip_norm needs {type(module).__name__}.on_before_optimizer_step to call the loop's clip(optimizer)."
            )
        optimizers = module.optimizers()
        listed = optimizers if isinstance(optimizers, list) else [optimizers]
        self.optimizers = dict(zip(self._players, listed, strict=True))
        schedulers = module.lr_schedulers() or []
        of_all = cast(list[LambdaLR], schedulers if isinstance(schedulers, list) else [schedulers])
        players = zip(of_all, self._players.values(), strict=True)
        self._schedulers = [scheduler for scheduler, player in players if player.schedule]
        self._scalers = Scalers(trainer.precision_plugin, self._players)
        self._stepper = OptimizerStepper(module)
        self._sharded = sharded_modules(m for player in self._players.values() for m in player.modules)
        trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
        own = {name: {id(p) for p in parameters} for name, parameters in self.owned.items()}
        self._resting = {name: [p for p in trainable if id(p) not in ids] for name, ids in own.items()}
        self._makers: dict[tuple[int, ...], dict[str, list[nn.Parameter]]] = {}
        # Elsewhere, reading a loss would wait for the device, or for other processes
        self._alone_on_cpu = module.device.type == "cpu" and trainer.world_size == 1
        # What BatchNorm has seen; each process sees other images
        buffers = {id(b): b for p in self._players.values() for m in p.modules for b in m.buffers()}
        self._statistics = [buffer for buffer in buffers.values() if buffer.is_floating_point()]
        self._after_update: Callable[[str], None] = getattr(module, "after_update", _nothing)
        self._after_step: Callable[[], None] = getattr(module, "after_step", _nothing)
        if self._to_continue is not None:
            begin_next_epoch(trainer)
            self._continue(self._to_continue)
            self._to_continue = None
        else:
            if trainer.global_step == 0:
                self._batches_played = 0
            if module.global_rank:  # every process draws its own noise
                torch.manual_seed(torch.initial_seed() + module.global_rank)

    # ---- The step ----------------------------------------------------------------------------------------------------

    def step(self, batch: Any) -> None:
        """Play the phases of one batch; the last batch of a step closes it."""
        if not self._begun:
            if self._to_continue is not None:  # too late: the epoch has begun
                name = type(self.module).__name__
                raise GANError(f"To go on from a checkpoint, {name}.on_train_start must call the loop's begin().")
            self.begin()
        trainer = self._trainer
        step = trainer.global_step
        due = [(phase, phase.batches(step)) for phase in self._phases]
        batches = max(1, *(count for _, count in due))
        played = min(self._batches_played, batches - 1)  # the rules may have changed since the step began
        phases = [phase for phase, count in due if played >= batches - count and self._trains(phase.player)]
        inputs = self.module.inputs(batch)
        self.images_seen += len(inputs) * trainer.world_size
        self._play(phases, inputs)
        closing = played + 1 == batches
        self._batches_played = 0 if closing else played + 1
        if closing:
            count_step(next(iter(self.optimizers.values())))
            self._close_step()
        show_step(trainer, max(trainer.global_step - 1, 0))

    def _trains(self, player: str) -> bool:
        """Return whether the player has anything to train; else it rests, as where a callback has frozen it."""
        return any(parameter.requires_grad for parameter in self.owned[player])

    def _play(self, phases: Sequence[Phase], inputs: Inputs) -> None:
        """Play phases on a batch, in order; neighbouring simultaneous ones update once all have their gradients."""
        makers = self._makers_of(inputs)
        parts = inputs.split(self.accumulate)
        for simultaneous, group in groupby(enumerate(phases), lambda item: item[1].simultaneous):
            updates = []
            for index, phase in group:
                # the graph of a part's fakes is not kept: parts are there to save memory
                later = [p.player for p in phases[index + 1 :] if not p.fresh] if len(parts) == 1 else []
                trained_later = [p for player in dict.fromkeys(later) for p in makers[player]]
                terms = self._differentiate(phase, parts, bool(makers[phase.player]), trained_later)
                if terms and simultaneous:
                    updates.append((phase, [parameter.grad for parameter in self.owned[phase.player]]))
                elif terms:
                    self._update(phase)
            for phase, gradients in updates:
                for parameter, gradient in zip(self.owned[phase.player], gradients, strict=True):
                    parameter.grad = gradient
                self._update(phase)

    def _makers_of(self, inputs: Inputs) -> dict[str, list[nn.Parameter]]:
        """Return which parameters of the fakes' maker each player owns."""
        key = tuple(map(id, inputs.maker))
        if key not in self._makers:
            ids = {id(parameter) for module in inputs.maker for parameter in module.parameters()}
            self._makers[key] = {name: [p for p in owned if id(p) in ids] for name, owned in self.owned.items()}
        return self._makers[key]

    def _differentiate(
        self, phase: Phase, parts: Sequence[Inputs], trains_maker: bool, trained_later: Sequence[nn.Parameter]
    ) -> Losses:
        """Compute the gradient of a phase's loss on a batch in parts, and return the loss's terms."""
        name = phase.player
        for parameter in self.owned[name]:
            parameter.grad = None
        total: Losses = {}
        size = sum(map(len, parts))
        self._scalers.activate(name)
        # DDP's own synchronisation expects every parameter in every backward, which no game can give
        unsynchronised = getattr(self._trainer.strategy, "block_backward_sync", nullcontext)
        with frozen(self._resting[name]), unsynchronised():
            for part in parts:
                part.begin_phase(trains_maker, () if phase.fresh else trained_later)
                terms = phase.objective(part.redraw() if phase.fresh else part)
                if terms != {}:
                    check_losses(name, terms)
                    terms = weighted(terms, len(part) / size)
                    self._stepper.backward(reduce(add, terms.values()))
                    total = added(total, terms)
                part.end_phase()
        for module in self._sharded:  # gathered parameters are updated, and frozen or not, when gathered next
            module.reshard()
        if total:
            self._losses.add(LossRecord(self._trainer.global_step, name, phase.name, total))
            if self._alone_on_cpu:
                self._losses.check()  # reading costs nothing here
            elif self._losses.full:
                self._losses.check(self.mean)
        return total

    def _update(self, phase: Phase) -> None:
        """Take one optimizer step, with the gradient of the whole batch over all processes."""
        name = phase.player
        self._scalers.activate(name)
        self._average_gradients(self.owned[name])
        self._stepper.step(self.optimizers[name])
        self._after_update(name)

    def _average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace gradients by their mean over all processes, in one message.

        Every owned parameter is in the message, also one without a gradient in this process, so that all processes send
        as much. A parameter without a gradient in any process keeps none.
        """
        if self._trainer.world_size == 1 or is_sharded(parameters[0]):  # shards come averaged already
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad.detach() for p in parameters]
        missing = [parameter.grad is None for parameter in parameters]
        there = gradients[0].new_tensor([0.0 if absent else 1.0 for absent in missing])
        means = self.mean(torch.cat([*(gradient.flatten() for gradient in gradients), there]))
        *flat, there = torch.split(means, [*(p.numel() for p in parameters), len(parameters)])
        for gradient, mean in zip(gradients, flat, strict=True):
            gradient.copy_(mean.view_as(gradient))
        if any(missing):  # else nobody has to wait for the device
            for parameter, gradient, found in zip(parameters, gradients, (there > 0).tolist(), strict=True):
                parameter.grad = gradient if found else None

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over all processes, in the place of the values; outside a fit, the values."""
        if not is_attached(self.module) or self.module.trainer.world_size == 1:
            return values
        with explain_lost_rank():
            torch.distributed.all_reduce(values)  # the strategy's own would wait for all before it begins
        return values.div_(self.module.trainer.world_size)

    def clip(self, optimizer: Optimizer) -> None:
        """Clip the gradient of the player being updated, once it is unscaled."""
        if self.clip_norm is not None:
            self._scalers.unscale(optimizer)
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, self.clip_norm)

    def _close_step(self) -> None:
        trainer = self._trainer
        for scheduler in self._schedulers:
            scheduler.step()
        self._average_statistics()
        self._after_step()
        every = trainer.log_every_n_steps  # 0 logs nothing
        if every and trainer.global_step % every == 0:
            self._losses.check(self.mean)
            self._log_losses()

    def _average_statistics(self) -> None:
        if self._trainer.world_size == 1 or not self._statistics or is_sharded(self._statistics[0]):
            return
        means = self.mean(torch.cat([buffer.detach().flatten() for buffer in self._statistics]))
        sizes = [buffer.numel() for buffer in self._statistics]
        for buffer, mean in zip(self._statistics, torch.split(means, sizes), strict=True):
            buffer.copy_(mean.view_as(buffer))

    def _log_losses(self) -> None:
        """Log directly: what `self.log` is given once, Lightning gathers again in every batch."""
        trainer = self._trainer
        losses = self._losses.latest(self.mean)
        trainer.progress_bar_metrics.update(losses)
        trainer.callback_metrics.update(
            {name: torch.tensor(loss, dtype=torch.float32) for name, loss in losses.items()}
        )
        extra: Callable[[], dict[str, float]] = getattr(self.module, "extra_metrics", dict)
        values = losses | {"images_seen": self.images_seen} | extra()
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step - 1)

    # ---- Between runs ------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return how far the game has come, as tensors and plain values; all processes call it together."""
        self._losses.check(self.mean)
        own = {
            "random": random_state(self.module.device),
            "extra": {name: thing.state_dict() for name, thing in self._extra_state().items()},
        }
        return {
            "images_seen": self.images_seen,
            "batches_played": self._batches_played,
            "losses": self._losses.state_dict(),
            "scalers": self._scalers.state_dict() if self._begun else {},
            "processes": gather_objects(own),
        }

    def load_state_dict(self, state: dict[str, Any], checkpoint: dict[str, Any]) -> None:
        """Take up the game where `state_dict` left it; in a fit, all else follows when the first step begins.

        Args:
            state: The loop's.
            checkpoint: The whole checkpoint, whose state of Lightning's loop is changed where a fit is made longer.
        """
        self.images_seen = state["images_seen"]
        if is_attached(self.module) and self.module.trainer.state.fn == TrainerFn.FITTING:
            reopen_epoch(checkpoint)
            self._to_continue = state

    def _continue(self, state: dict[str, Any]) -> None:
        module = self.module
        self._batches_played = state["batches_played"]
        self._losses.load_state_dict(state["losses"], module.device)
        self._scalers.load_state_dict(state["scalers"])
        own = state_of_rank(state["processes"], module.global_rank, module.trainer.world_size)
        if own is not None:
            for name, thing in self._extra_state().items():
                thing.load_state_dict(own["extra"][name])
            restore_random_state(own["random"], module.device)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to the running fit, so that a model can be copied and pickled."""
        kept = ("module", "accumulate", "clip_norm", "images_seen", "_batches_played", "_losses")
        idle = {"owned": {}, "optimizers": {}, "_begun": False, "_to_continue": None}
        return {name: self.__dict__[name] for name in kept} | idle

    def _extra_state(self) -> Mapping[str, Any]:
        return getattr(self.module, "extra_state", {})


def _constant(step: int) -> float:
    """The factor on a learning rate without a schedule."""
    return 1.0


def _nothing(*_: Any) -> None:
    """The hook of a module that has none."""
