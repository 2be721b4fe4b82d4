"""Diagnostics of a game in training: figures at regular steps, and a sentence where something goes wrong."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer

from gan_modules.callbacks import diagnostics
from gan_modules.callbacks.sampling import columns, is_first_loader
from gan_modules.callbacks.warnings import Limits, find_warnings
from gan_modules.engine.lightning_compat import takes_scaled_gradients
from gan_modules.engine.run_folder import run_folder
from gan_modules.errors import GANError
from gan_modules.families.capabilities import Judges, Samples, require
from gan_modules.functional.neighbours import density_coverage, duplicate_rates
from gan_modules.metrics.features import FeatureNetwork
from gan_modules.metrics.networks import features_for

FILE = "diagnostics.jsonl"
NEIGHBOURS = 5  # the k of arXiv:2002.09797
FEATURE_CHUNK = 64  # samples through the feature network at a time
TINY = 1e-12  # a lower bound on a norm that others are divided by
log = logging.getLogger(__name__)


class Game(Samples, Protocol):
    """What `Diagnose` needs of a model besides samples; every game of `gan_modules.families.latent` has it."""

    device: torch.device
    images_seen: int
    loop: Any

    def condition(self, batch: Any) -> tuple[Tensor, ...]:
        """Return what the networks get beside the samples of a batch."""

    def match_lod(self, real: Tensor) -> Tensor:
        """Return reals at the level of detail that the networks now work at."""


class Diagnose(Callback):
    """Measure a game in training, and say in a sentence what goes wrong and what to try.

    Every `every_n_steps` steps it logs, as ``diagnose/…``:

    - ``auc``: how often D ranks a real above a sample, 1/2 if it guesses; ``accuracy_real``, ``accuracy_fake`` and
      ``accuracy_held_out`` at the threshold that separates training reals and samples best.
    - ``overfit``: how often D ranks a training sample above one of the validation loader; 1/2 is fair.
    - ``duplicates``: share of samples with another one as near as only a hundredth of the reals have one;
      ``coverage`` of the reals (arXiv:2002.09797); ``saturation``: share of values beyond ±0.99, and
      ``saturation_real`` that of the reals.
    - for each player ``gradient_…``, the norm of its last gradient before clipping; ``spectral_…``, the largest
      spectral norm of its layers; ``growth_…``, the largest growth of one since the last check.

    D's figures use `realness` and the samples of the raw generator, in batches of the training's size; they are left
    out where the model cannot tell realness. All other figures use the samples of the averaged generator. While
    networks grow, reals have the samples' level of detail, and coverage counts as forgotten only at full size. A
    warning that lasts for `patience` checks is printed when it starts and when it ends. All figures and warnings are
    lines of ``diagnostics.jsonl`` in the run's folder, and the progress bar shows the number of warnings. Training is
    bit for bit the same with and without it. Each process uses its own samples; the first one reports the means.

    Args:
        every_n_steps: Steps between two checks.
        num_samples: Samples, training reals and held-out reals to use at most, in each process.
        features: Feature network in which samples are compared, or what
            `gan_modules.metrics.features_for` makes one of; by default small features of each kind, for images pixels
            averaged to 16×16.
        stop: Whether to end the fit at a warning, saving checkpoints as usual.
        grace: Steps without warnings at the beginning.
        patience: Checks in a row at which a figure must exceed its limit.
        limits: Limits of the figures.

    Raises:
        GANError: If a number is out of range; before training, if the model makes no samples from noise, or the feature
            network does not fit them.
    """

    def __init__(
        self,
        every_n_steps: int = 500,
        num_samples: int = 512,
        features: str | Path | nn.Module | None = None,
        stop: bool = False,
        grace: int = 2000,
        patience: int = 2,
        limits: Limits | None = None,
    ) -> None:
        if every_n_steps < 1 or patience < 1 or grace < 0:
            raise GANError(f"Diagnose needs positive numbers, got {every_n_steps=}, {patience=} and {grace=}.")
        if num_samples <= NEIGHBOURS:
            raise GANError(f"num_samples={num_samples} must be above {NEIGHBOURS}, the number of neighbours.")
        self.every_n_steps = every_n_steps
        self.num_samples = num_samples
        self.features = features
        self.stop = stop
        self.grace = grace
        self.patience = patience
        self.limits = limits or Limits()
        self._best_coverage = 0.0
        self._best_step = 0
        self._norms: dict[str, dict[str, float]] = {}  # spectral, of the last check, by player and layer
        self._lasting: dict[str, int] = {}  # checks in a row, by warning
        self._active: dict[str, str] = {}  # warnings of the last check
        self._network: FeatureNetwork | None
        self._checked: int  # the step of the last check
        self._first_epoch: int
        self._gradients: dict[str, float]
        self._training: list[tuple[Tensor, ...]]  # batches of reals and their conditions
        self._held_out: list[tuple[Tensor, ...]]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the model and load the feature network."""
        model = require(pl_module, Samples, "Diagnose")
        if missing := [name for name in ("condition", "match_lod", "loop") if not hasattr(model, name)]:
            raise GANError(
                f"Diagnose needs a game such as LatentGAN, and {type(model).__name__} has no {missing[0]}: leave "
                f"Diagnose out."
            )
        self._network = None
        if self.features is not None:
            self._network = features_for(model.kind, model.sample_shape, self.features)
        self._training, self._held_out, self._gradients = [], [], {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note where this fit starts."""
        self._checked = trainer.global_step
        self._first_epoch = trainer.current_epoch

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Collect held-out reals again, since the sanity check had only a few."""
        self._held_out = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the first held-out reals."""
        if not is_first_loader(dataloader_idx, "Diagnose"):
            return
        self._keep(self._held_out, batch, pl_module)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Note the gradient of the player that steps, if a check follows."""
        if (trainer.global_step + 1) % self.every_n_steps:
            return
        optimizers = _as_game(pl_module).loop.optimizers
        player = next(name for name, other in optimizers.items() if other.optimizer is optimizer)
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        # the step of a fused optimizer divides by float16's scale itself
        scaled = takes_scaled_gradients(optimizer)
        scaler = getattr(trainer.precision_plugin, "scaler", None) if scaled else None
        self._gradients[player] = diagnostics.norm(gradients) / (1.0 if scaler is None else scaler.get_scale())

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the first reals, and check after enough complete steps; a step may take several batches."""
        if trainer.current_epoch == self._first_epoch:  # later epochs repeat the same samples
            self._keep(self._training, batch, pl_module)
        step = trainer.global_step
        enough = sum(len(columns[0]) for columns in self._training) > NEIGHBOURS
        if step % self.every_n_steps or step == self._checked or not enough:
            return
        self._checked = step
        model = _as_game(pl_module)
        figures, grown = self._measure_players(pl_module)
        figures |= self._measure_samples(pl_module, len(columns(pl_module, batch)[0]), trainer.global_rank)
        mean = trainer.strategy.reduce(torch.tensor(list(figures.values()), device=model.device), reduce_op="mean")
        figures = dict(zip(figures, cast(Tensor, mean).tolist(), strict=True))
        if figures["best_coverage"] > self._best_coverage:
            self._best_coverage, self._best_step = figures["coverage"], step
        figures["best_coverage"] = self._best_coverage
        self._report(trainer, pl_module, {k: value for k, value in figures.items() if not math.isnan(value)}, grown)

    def state_dict(self) -> dict[str, Any]:
        """Return what later checks compare with."""
        return {
            "best_coverage": self._best_coverage,
            "best_step": self._best_step,
            "norms": self._norms,
            "lasting": self._lasting,
            "active": self._active,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what later checks compare with."""
        for name, value in state_dict.items():
            setattr(self, f"_{name}", value)

    def _keep(self, kept: list[tuple[Tensor, ...]], batch: Any, model: LightningModule) -> None:
        missing = self.num_samples - sum(len(columns[0]) for columns in kept)
        if missing > 0:
            taken = columns(model, batch)
            own = (taken[0], *_as_game(model).condition(taken))
            kept.append(tuple(column[:missing].cpu() for column in own))

    def _measure_players(self, model: LightningModule) -> tuple[dict[str, float], dict[str, str]]:
        """Return the figures of gradients and weights, and for each player the layer that has grown most."""
        figures, grown = {}, {}
        for name, parameters in _as_game(model).loop.owned.items():
            owned = {id(parameter) for parameter in parameters}
            norms = diagnostics.spectral_norms((n, p) for n, p in model.named_parameters() if id(p) in owned)
            before = self._norms.get(name, norms)
            growths = {layer: norm / max(before[layer], TINY) for layer, norm in norms.items()}
            grown[name] = max(growths, key=growths.__getitem__, default="")
            figures[f"gradient_{name}"] = self._gradients.get(name, math.nan)
            figures[f"spectral_{name}"] = max(norms.values(), default=math.nan)
            figures[f"growth_{name}"] = growths.get(grown[name], math.nan)
            self._norms[name] = norms
        return figures, grown

    @torch.no_grad()
    def _measure_samples(self, module: LightningModule, size: int, rank: int) -> dict[str, float]:
        """Return the figures of discriminator and samples, NaN where unknown, so that all processes have the same."""
        model = _as_game(module)
        fine, *condition = map(torch.cat, zip(*self._training, strict=True))
        real, n = model.match_lod(fine), len(fine)
        z = model.draw_latents(n, seed=rank)
        conditional = getattr(model, "generator_is_conditional", True)
        with diagnostics.preserve_state(model.device, module):
            samples, raw = (
                model.sample_from(z, tuple(condition) if conditional else (), ema=ema).cpu() for ema in (True, False)
            )
            judged = self._measure_discriminator(module, size, real, raw, condition)
        compared = self._features(real, model), self._features(samples, model)
        coverage = float(density_coverage(*compared, k=NEIGHBOURS)[1])
        bounded = model.kind != "point"
        return (
            {"samples": n}
            | judged
            | {
                "duplicates": float(duplicate_rates(*compared)[0]),
                "coverage": coverage,
                # coarse reals are covered more easily than fine ones: less coverage of these is no sign of forgetting
                "best_coverage": coverage if torch.equal(real, fine) else math.nan,
                "saturation": diagnostics.saturation(samples) if bounded else math.nan,
                "saturation_real": diagnostics.saturation(real) if bounded else math.nan,
            }
        )

    def _measure_discriminator(
        self, module: LightningModule, size: int, real: Tensor, fake: Tensor, condition: Sequence[Tensor]
    ) -> dict[str, float]:
        """Return the figures of `realness`, NaN where the model cannot tell it."""
        names = ("auc", "accuracy_real", "accuracy_fake", "accuracy_held_out", "overfit")
        figures = dict.fromkeys(names, math.nan)
        if not isinstance(module, Judges):
            return figures
        realness = partial(diagnostics.in_batches, module.realness, size, device=module.device)
        try:
            on_real, on_fake = (realness(samples, *condition) for samples in (real, fake))
        except (TypeError, ValueError, RuntimeError) as error:  # a custom discriminator must not end the training
            rank_zero_warn(
                f"Diagnose leaves out the discriminator's figures, since {type(module).__name__}.realness() failed "
                f"({error}): override it."
            )
            return figures
        threshold = diagnostics.best_threshold(on_real, on_fake)
        figures["auc"] = diagnostics.auc(on_real, on_fake)
        figures["accuracy_real"] = _share(on_real >= threshold)
        figures["accuracy_fake"] = _share(on_fake < threshold)
        if self._held_out:
            held_out, *conditions = map(torch.cat, zip(*self._held_out, strict=True))
            on_held_out = realness(_as_game(module).match_lod(held_out), *conditions)
            figures["accuracy_held_out"] = _share(on_held_out >= threshold)
            figures["overfit"] = diagnostics.auc(on_real, on_held_out)
        return figures

    def _features(self, samples: Tensor, model: Game) -> Tensor:
        if self._network is None:
            return diagnostics.compact(samples, model.kind)
        network = self._network.to(model.device)
        parts = torch.split(samples, FEATURE_CHUNK)
        return torch.cat([network(part.to(model.device)).cpu() for part in parts])

    def _report(
        self, trainer: Trainer, module: LightningModule, figures: dict[str, float], grown: Mapping[str, str]
    ) -> None:
        """Report to the loggers, the progress bar, the run's folder and, where a warning starts or ends, in words."""
        step = trainer.global_step
        found = find_warnings(figures, self.limits, self._best_step, grown) if step > self.grace else {}
        self._lasting = {name: self._lasting.get(name, 0) + 1 for name in found}
        active = {name: sentence for name, sentence in found.items() if self._lasting[name] >= self.patience}
        before, self._active = self._active, active
        module.log("warnings", len(active), prog_bar=True, logger=False)
        folder = run_folder(trainer)  # every process must ask for it
        if self.stop and active:
            trainer.should_stop = True
        if not trainer.is_global_zero:
            return
        named = {f"diagnose/{name}": value for name, value in figures.items()}
        for logger in trainer.loggers:
            logger.log_metrics(named, step=step - 1)
        line = {"step": step, "images_seen": _as_game(module).images_seen} | figures | {"warnings": active}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / FILE).open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:  # training can go on
            rank_zero_warn(f"{folder / FILE} could not be written: {error}")
        started = [sentence for name, sentence in active.items() if name not in before]
        ended = [sentence.partition(":")[0] for name, sentence in before.items() if name not in active]
        for sentence in [*started, *(f"No longer true: {beginning}." for beginning in ended)]:
            _print(trainer, f"Step {step}: {sentence}")


def _as_game(model: LightningModule) -> Game:
    return cast(Game, model)


def _print(trainer: Trainer, sentence: str) -> None:
    bar = trainer.progress_bar_callback
    if bar is not None and getattr(bar, "is_enabled", True):
        bar.print(sentence)
    else:
        log.warning(sentence)


def _share(hits: Tensor) -> float:
    return float(hits.double().mean())
