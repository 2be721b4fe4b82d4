"""A doctor for games: looks every so many rounds, and says in plain words what goes wrong."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer

from gan_modules.callbacks import vitals
from gan_modules.callbacks.complaints import Limits, complaints
from gan_modules.callbacks.sampling import reals
from gan_modules.errors import GANError
from gan_modules.families.latent import LatentGAN
from gan_modules.functional.neighbours import density_coverage, duplicate_rates
from gan_modules.metrics.features import FeatureNetwork
from gan_modules.metrics.networks import feature_network

FILE = "doctor.jsonl"
NEIGHBOURS = 5  # the k of arXiv:2002.09797
FEATURE_CHUNK = 64  # images through the feature network at a time
TINY = 1e-12  # what a layer of zeros grows from
log = logging.getLogger(__name__)


class Diagnose(Callback):
    """Measure a game while it is played, and say in a sentence what goes wrong and what to try.

    Every `every_n_steps` rounds it measures, and logs as ``doctor/…``:

    - ``auc``: how often D ranks a real above a sample; 1/2 if it guesses; ``accuracy_real``, ``accuracy_fake`` and
      ``accuracy_held_out`` at the threshold that tells training reals and samples apart best.
    - ``overfit``: how often D ranks a training image above one of the validation loader; 1/2 is fair.
    - ``duplicates``: share of samples with a twin among them, as near as a hundredth of the reals have one;
      ``coverage`` of the reals (arXiv:2002.09797); ``saturation``: share of values beyond ±0.99, and
      ``saturation_real`` that of the reals.
    - for each player ``gradient_…``, the norm of its last gradient before clipping; ``spectral_…``, the largest
      spectral norm of its layers; ``growth_…``, the largest growth of one since the check before.

    D judges batches as in training, by the raw generator too; all else is about what `sample` gives. Where networks
    grow, reals are as coarse as the samples, and G forgets nothing before it has its full size. A complaint that
    lasts `patience` checks is told when it begins and when it ends. All figures and complaints are lines of
    ``doctor.jsonl`` in the run's folder; the progress bar shows the number of complaints. Training goes on
    exactly as without. Several processes each look at their own images, and the means are told by the first.

    Args:
        every_n_steps: Rounds between two checks.
        num_samples: Samples, and at most as many training and as many held-out reals, to look at in each process.
        features: Feature network in which samples are compared, or what
            `gan_modules.metrics.feature_network` makes one of; by default pixels, averaged to 16×16.
        stop: Whether to end the fit when a complaint is told; what is saved stays as it is.
        grace: Rounds in which nothing is complained of yet.
        patience: Checks in a row at which something must be wrong.
        limits: Where a figure becomes a complaint.

    Raises:
        GANError: If a number is out of range; before training, if the model has no generator and discriminator that
            play from noise, or the feature network cannot be had.
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
            raise GANError(f"num_samples={num_samples} must be above {NEIGHBOURS}, the neighbours counted.")
        self.every_n_steps = every_n_steps
        self.num_samples = num_samples
        self.features = features
        self.stop = stop
        self.grace = grace
        self.patience = patience
        self.limits = limits or Limits()
        self._best_coverage = 0.0
        self._best_round = 0
        self._norms: dict[str, dict[str, float]] = {}  # spectral, of the last check, by player and layer
        self._lasting: dict[str, int] = {}  # checks in a row, by complaint
        self._told: dict[str, str] = {}  # what lasts, and the sentence of the last check
        self._network: FeatureNetwork | None
        self._checked: int  # the round last looked at
        self._first_epoch: int
        self._gradients: dict[str, float]
        self._training: list[tuple[Tensor, ...]]  # batches of reals and, where the model knows classes, labels
        self._held_out: list[tuple[Tensor, ...]]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse, before any training, a game that it does not know."""
        _as_game(pl_module)
        self._network = None if self.features is None else feature_network(self.features)
        self._training, self._held_out, self._gradients = [], [], {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look only at what this fit will do."""
        self._checked = trainer.global_step
        self._first_epoch = trainer.current_epoch

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take up held-out reals anew: the rehearsal before the fit had only a few."""
        self._held_out = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Tensor | Sequence[Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the first held-out reals."""
        self._keep(self._held_out, batch, pl_module)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Note the moving player's gradient in a round that will be checked."""
        if (trainer.global_step + 1) % self.every_n_steps:
            return
        names = _as_game(pl_module).configure_players()
        moving = next(name for name, other in zip(names, trainer.optimizers, strict=True) if other is optimizer)
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        # a fused optimizer leaves it to its step to divide by float16's scale
        scaled = getattr(optimizer, "_step_supports_amp_scaling", False)
        scaler = getattr(trainer.precision_plugin, "scaler", None) if scaled else None
        self._gradients[moving] = vitals.norm(gradients) / (1.0 if scaler is None else scaler.get_scale())

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Tensor | Sequence[Tensor],
        batch_idx: int,
    ) -> None:
        """Keep the first reals, and check when enough rounds are complete; a round may take several batches."""
        if trainer.current_epoch == self._first_epoch:  # later ones bring the same images again
            self._keep(self._training, batch, pl_module)
        round = trainer.global_step
        enough = sum(len(images) for images, *_ in self._training) > NEIGHBOURS
        if round % self.every_n_steps or round == self._checked or not enough:
            return
        self._checked = round
        model = _as_game(pl_module)
        figures, grown = self._weigh(model)
        figures |= self._watch(model, len(reals(batch)), trainer.global_rank)
        mean = trainer.strategy.reduce(torch.tensor(list(figures.values()), device=model.device), reduce_op="mean")
        figures = dict(zip(figures, cast(Tensor, mean).tolist(), strict=True))
        if figures["best_coverage"] > self._best_coverage:
            self._best_coverage, self._best_round = figures["coverage"], round
        figures["best_coverage"] = self._best_coverage
        self._tell(trainer, model, {name: value for name, value in figures.items() if not math.isnan(value)}, grown)

    def state_dict(self) -> dict[str, Any]:
        """What later checks compare with."""
        return {
            "best_coverage": self._best_coverage,
            "best_round": self._best_round,
            "norms": self._norms,
            "lasting": self._lasting,
            "told": self._told,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on comparing with that."""
        for name, value in state_dict.items():
            setattr(self, f"_{name}", value)

    def _keep(self, kept: list[tuple[Tensor, ...]], batch: Tensor | Sequence[Tensor], model: LightningModule) -> None:
        missing = self.num_samples - sum(len(images) for images, *_ in kept)
        if missing > 0:
            columns = (reals(batch), batch[1]) if _as_game(model).num_classes else (reals(batch),)
            kept.append(tuple(column[:missing].cpu() for column in columns))

    def _weigh(self, model: LatentGAN) -> tuple[dict[str, float], dict[str, str]]:
        """The figures of gradients and weights, and by player the layer that has grown most."""
        figures, grown = {}, {}
        for name, player in model.configure_players().items():
            norms = vitals.spectral_norms(player.network)
            before = self._norms.get(name, norms)
            growths = {layer: norm / max(before[layer], TINY) for layer, norm in norms.items()}
            grown[name] = max(growths, key=growths.__getitem__, default="")
            figures[f"gradient_{name}"] = self._gradients.get(name, math.nan)
            figures[f"spectral_{name}"] = max(norms.values(), default=math.nan)
            figures[f"growth_{name}"] = growths.get(grown[name], math.nan)
            self._norms[name] = norms
        return figures, grown

    @torch.no_grad()
    def _watch(self, model: LatentGAN, size: int, rank: int) -> dict[str, float]:
        """The figures of judge and samples, NaN where unknown, so that all processes have the same."""
        fine, *condition = map(torch.cat, zip(*self._training, strict=True))
        real, n = model.match_lod(fine), len(fine)
        latents = torch.randn(n, model.latent_dim, generator=torch.Generator().manual_seed(rank))
        with vitals.preserve_state(model.device, model.generator, model.discriminator):
            fake = vitals.in_batches(model.generator, size, latents, *condition, device=model.device)
            on_real, on_fake = (self._judge(model, size, images, *condition) for images in (real, fake))
            threshold = vitals.best_threshold(on_real, on_fake)
            figures = {
                "samples": n,
                "auc": vitals.auc(on_real, on_fake),
                "accuracy_real": _share(on_real >= threshold),
                "accuracy_fake": _share(on_fake < threshold),
                "accuracy_held_out": math.nan,
                "overfit": math.nan,
            }
            if self._held_out:
                held_out, *classes = map(torch.cat, zip(*self._held_out, strict=True))
                on_held_out = self._judge(model, size, model.match_lod(held_out), *classes)
                figures["accuracy_held_out"] = _share(on_held_out >= threshold)
                figures["overfit"] = vitals.auc(on_real, on_held_out)
        samples = model.sample(n, z=latents, labels=condition[0] if condition else None).cpu()
        looks = self._look(real, model.device), self._look(samples, model.device)
        figures |= {
            "duplicates": float(duplicate_rates(*looks)[0]),
            "coverage": float(density_coverage(*looks, k=NEIGHBOURS)[1]),
        }
        # coarse reals are covered more easily than fine ones: less of these is no sign of forgetting
        figures["best_coverage"] = figures["coverage"] if torch.equal(real, fine) else math.nan
        if real.ndim == 4:
            figures |= {"saturation": vitals.saturation(samples), "saturation_real": vitals.saturation(real)}
        return figures

    def _judge(self, model: LatentGAN, size: int, *columns: Tensor) -> Tensor:
        """One logit an image, the mean where the discriminator judges patches."""
        return vitals.in_batches(model.discriminator, size, *columns, device=model.device).flatten(1).mean(dim=1)

    def _look(self, images: Tensor, device: torch.device) -> Tensor:
        if self._network is None:
            return vitals.look(images)
        network = self._network.to(device)
        return torch.cat([network(part.to(device)).cpu() for part in torch.split(images, FEATURE_CHUNK)])

    def _tell(self, trainer: Trainer, model: LatentGAN, figures: dict[str, float], grown: dict[str, str]) -> None:
        """To the loggers, the progress bar, the run's folder and, where something begins or ends, in words."""
        round = trainer.global_step
        wrong = complaints(figures, self.limits, self._best_round, grown) if round > self.grace else {}
        self._lasting = {name: self._lasting.get(name, 0) + 1 for name in wrong}
        told = {name: sentence for name, sentence in wrong.items() if self._lasting[name] >= self.patience}
        before, self._told = self._told, told
        model.log("complaints", len(told), prog_bar=True, logger=False)
        folder = Path(trainer.log_dir or trainer.default_root_dir)  # which every process has to ask for
        if self.stop and told:
            trainer.should_stop = True
        if not trainer.is_global_zero:
            return
        named = {f"doctor/{name}": value for name, value in figures.items()}
        for logger in trainer.loggers:
            logger.log_metrics(named, step=round - 1)
        line = {"round": round, "images_seen": model.images_seen} | figures | {"complaints": told}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / FILE).open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:  # no reason to stop a training
            rank_zero_warn(f"{folder / FILE} could not be written: {error}")
        news = [sentence for name, sentence in told.items() if name not in before]
        over = [sentence.partition(":")[0] for name, sentence in before.items() if name not in told]
        for sentence in [*news, *(f"No longer true: {begin}." for begin in over)]:
            self._say(trainer, f"Round {round}: {sentence}")

    def _say(self, trainer: Trainer, sentence: str) -> None:
        bar = trainer.progress_bar_callback
        if bar is not None and getattr(bar, "is_enabled", True):
            bar.print(sentence)
        else:
            log.warning(sentence)


def _as_game(model: LightningModule) -> LatentGAN:
    if not isinstance(model, LatentGAN):
        raise GANError(
            f"Diagnose knows games of a generator of noise and a discriminator, and {type(model).__name__} is none: "
            f"leave it out."
        )
    return model


def _share(hits: Tensor) -> float:
    return float(hits.double().mean())
