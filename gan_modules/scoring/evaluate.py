"""Scoring: each sample passes a feature network once, however many metrics share its features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypedDict, Unpack

import torch
from torch import Tensor, distributed, nn
from tqdm import tqdm

from gan_modules.engine.distributed import explain_lost_rank, gather_objects
from gan_modules.engine.seeds import check_seed
from gan_modules.errors import GANError
from gan_modules.families.capabilities import Samples, require
from gan_modules.metrics.base import FeatureMetric
from gan_modules.metrics.classes import StackedModes
from gan_modules.metrics.distances import FrechetDistance
from gan_modules.metrics.networks import feature_network, features_for
from gan_modules.metrics.variety import PerceptualPathLength
from gan_modules.scoring.cache import FeatureCache
from gan_modules.scoring.extraction import RealSamples, extract
from gan_modules.scoring.generation import SEEDS, SampleStream, sampled_classes, takes_captions
from gan_modules.scoring.metric_names import Measure, build_metrics, is_better_higher, settings_of
from gan_modules.scoring.record import Score
from gan_modules.scoring.statistics import UNKNOWN, Statistics


class RunInfo(TypedDict, total=False):
    """A record's fields on reals, fakes and training; see `Score`."""

    reals: str
    split: str | None
    fakes: str
    step: int | None
    images_seen: int | None


class SamplingInfo(RunInfo, total=False):
    """And its fields on how the fakes were sampled."""

    seed: int | None
    weights: Literal["ema", "raw"] | None
    truncation: float | None


def sampling_info(model: Samples, seed: int, truncation: float, ema: bool, info: RunInfo) -> SamplingInfo:
    """Return a record's fields for samples of a model."""
    network, averaged = getattr(model, "generator", None), getattr(model, "averaged", None)
    has_average = network is not None and averaged is not None and averaged("generator") is not network
    return {
        "fakes": type(model).__name__,
        "seed": seed,
        "weights": "ema" if ema and has_average else "raw",
        "truncation": truncation,
        "images_seen": getattr(model, "images_seen", None),
        **info,
    }


class Evaluator:
    """Metrics that share a feature network: they get the reals once, then the fakes of one model after another.

    Under ``torch.distributed`` each process adds its own share, and every process returns the scores of all samples.

    Args:
        metrics: Metrics of `build_metrics`.
        num_classes: Classes of the reals; a conditional model's samples have their frequencies. 0 for models that are
            not conditioned on classes.
        captioned: Whether the samples are made from the captions of the reals.
        cache: Where features of reals are stored; by default `FeatureCache`'s own folder.
        batch_size: Samples through the generator and the network at a time.
        device: Where to compute; it must support float64.
    """

    def __init__(
        self,
        metrics: Sequence[Measure],
        *,
        num_classes: int = 0,
        captioned: bool = False,
        cache: FeatureCache | None = None,
        batch_size: int = 64,
        device: str | torch.device = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.metrics = [metric.to(self.device) for metric in metrics]
        self.network = self.metrics[0].network
        self.batch_size = batch_size
        self.captioned = captioned
        self._condition_counts = torch.zeros(0 if captioned else num_classes, dtype=torch.long)
        self._captions: list[Tensor] = []
        self._of_images = [metric for metric in self.metrics if isinstance(metric, StackedModes)]
        self._of_models = [metric for metric in self.metrics if isinstance(metric, PerceptualPathLength)]
        self._of_features = [
            metric
            for metric in self.metrics
            if isinstance(metric, FeatureMetric) and not isinstance(metric, StackedModes)
        ]
        compared = any(metric.needs_reals for metric in self._of_features)
        receive = self._add_real_features if compared else None
        self._reals = RealSamples(self.network, receive, cache or FeatureCache(), batch_size, self.device)
        self.n_real = 0
        self.reals_digest = ""
        self._n_fake = 0
        self._noted: dict[str, str] = {}  # of reals whose protocol is not known

    @property
    def names(self) -> list[str]:
        """The scores' names, in order."""
        return [name for metric in self.metrics for name in metric.names]

    @property
    def needs_reals(self) -> bool:
        """Whether a metric compares with reals."""
        return any(metric.needs_reals for metric in self.metrics)

    def check(self, sample_shape: Sequence[int]) -> None:
        """Pass two samples of this shape through the network, to find what does not fit before any work.

        Raises:
            GANError: If a metric or the network does not take such samples, or its features are none.
        """
        with torch.inference_mode():
            samples = torch.zeros(2, *sample_shape, device=self.device)
            self.network.checked_features(samples)
            for metric in self._of_images:
                metric.update(samples, real=False)
                metric.reset()

    def check_model(self, model: Samples) -> None:
        """Compare the model's conditions with the reals'.

        Raises:
            GANError: If they differ.
        """
        if takes_captions(model) != self.captioned:
            raise GANError(
                f"{type(model).__name__} makes samples {'from' if takes_captions(model) else 'without'} captions: "
                f"build the Evaluator with captioned={takes_captions(model)}."
            )
        classes = len(self._condition_counts)
        if not self.captioned and sampled_classes(model) not in (0, classes):
            raise GANError(
                f"The model makes samples of {sampled_classes(model)} classes, and the reals have {classes or 'none'}: "
                f"choose reals with the labels that it was trained on."
            )

    def to(self, device: str | torch.device) -> None:
        """Move everything that takes memory."""
        for metric in self.metrics:
            metric.to(device)

    def add_reals(self, samples: Tensor, condition: Tensor | None = None) -> None:
        """Add real samples.

        Args:
            samples: Real samples ``(N, …)``; images and videos are uint8, or float in [-1, 1].
            condition: Their classes ``(N,)`` or captions ``(N, L)``.

        Raises:
            GANError: If the condition is needed and missing.
        """
        samples = self.network.quantize(samples)
        self._reals.add(samples)
        with torch.inference_mode():
            for metric in self._of_images:
                metric.update(samples, real=True)
        if not self.captioned and not len(self._condition_counts):
            return
        if condition is None:
            missing = "captions" if self.captioned else "labels"
            raise GANError(f"The model is conditional, and the reals come without {missing}: choose others.")
        if self.captioned:
            self._captions.append(condition.cpu())
        else:
            self._condition_counts += condition.cpu().bincount(minlength=len(self._condition_counts))

    def end_reals(self) -> None:
        """Finish adding reals; their number and digest are known afterwards."""
        self._reals.flush()
        counts = torch.stack([torch.tensor(self._reals.count), self._reals.digest.total])
        self.n_real, digest = _summed(counts, self.device).tolist()
        self.reals_digest = f"{digest % 2**64:016x}"
        if self.captioned:
            captions = _gathered(self._captions)
            if not captions:
                raise GANError("The model makes samples from captions, and there are no reals with captions: add some.")
            rows, self._condition_counts = torch.unique(torch.cat(captions), dim=0, return_counts=True)
            self._captions = [rows]
        else:
            self._condition_counts = _summed(self._condition_counts, self.device)

    def add_statistics(self, statistics: Statistics) -> None:
        """Compare with statistics in place of reals; a conditional model's classes are drawn equally often.

        Raises:
            GANError: If a metric or the model needs more of the reals, or they are of other features.
        """
        for metric in self.metrics:
            if isinstance(metric, FrechetDistance) and not self.captioned:
                metric.use_statistics(statistics.mean, statistics.covariance)
            elif metric.needs_reals or self.captioned:
                raise GANError(f"'{statistics.name}' is enough for fid alone, without captions: pass samples as reals.")
        self.reals_digest, self._noted = statistics.digest, {"reals": UNKNOWN}
        self._condition_counts = torch.ones_like(self._condition_counts)

    def add_fakes(self, samples: Tensor) -> None:
        """Add samples to be scored, ``(N, …)``; images and videos are uint8, or float in [-1, 1]."""
        if not len(samples):
            return
        samples = self.network.quantize(samples)
        self._n_fake += len(samples)
        with torch.inference_mode():
            if self._of_features:
                features = extract(self.network, samples, self.batch_size, self.device)
                for metric in self._of_features:
                    metric.update_features(features, real=False)
            for metric in self._of_images:
                metric.update(samples, real=False)

    def evaluate(
        self,
        model: Samples,
        n: int | None = None,
        seed: int = 0,
        truncation: float = 1.0,
        ema: bool = True,
        progress: bool = True,
        **info: Unpack[RunInfo],
    ) -> list[Score]:
        """Return the scores of `n` samples of a model, by default as many as there are reals.

        Raises:
            GANError: If there are too few of either, or the model's conditions are not the reals'.
        """
        n = n or self.n_real
        if not n:
            raise GANError("Without reals there is no default number of samples to score: pass n.")
        self.check_model(model)
        stream = SampleStream(
            model,
            self.batch_size,
            seed,
            condition_counts=self._condition_counts if self.captioned or sampled_classes(model) else None,
            captions=self._captions[0] if self.captioned else None,
            truncation=truncation,
            ema=ema,
        )
        with tqdm(total=n, desc=f"samples, seed {seed}", unit="sample", disable=not progress) as bar:
            for samples in stream.samples(n):
                self.add_fakes(samples)
                bar.update(len(samples))
        for metric in self._of_models:
            for path in stream.paths(n):
                metric.update(*path)
            if not metric.lengths:  # a process without paths takes part in gathering as well
                metric.lengths.append(torch.empty(0, dtype=torch.float64, device=self.device))
        return self.scores(**sampling_info(model, seed, truncation, ema, info))

    def scores(self, **info: Unpack[SamplingInfo]) -> list[Score]:
        """Return the scores of the fakes added since the last call; path lengths only after `evaluate`.

        Raises:
            GANError: If there were too few fakes or reals.
        """
        n_fake = int(_summed(torch.tensor(self._n_fake), self.device))
        self._n_fake = 0
        scores = []
        for metric in self.metrics:
            if isinstance(metric, PerceptualPathLength) and not metric.lengths:
                continue
            with torch.inference_mode():
                values = {name: float(value) for name, value in metric.compute().items()}
            metric.reset()
            described = info if metric.needs_reals else info | {"reals": "", "split": None}
            scores += [
                Score(
                    metric=name,
                    value=values[name],
                    std=values.get(metric.deviation),
                    higher_is_better=is_better_higher(metric, name),
                    network=self.network.name,
                    sha256=self.network.sha256,
                    resizer=self.network.resizer,
                    settings=settings_of(metric) | (self._noted if metric.needs_reals else {}),
                    n_real=self.n_real if metric.needs_reals else 0,
                    n_fake=n_fake,
                    reals_digest=self.reals_digest if metric.needs_reals else "",
                    **described,
                )
                for name in metric.names
            ]
        return scores

    def _add_real_features(self, features: Tensor) -> None:
        with torch.inference_mode():
            for metric in self._of_features:
                metric.update_features(features, real=True)


def score(
    fakes: Samples | Tensor | Iterable[Tensor | Sequence[Tensor]],
    reals: Tensor | Iterable[Tensor | Sequence[Tensor]] | Statistics | None,
    metrics: Sequence[str] = ("fid",),
    features: str | Path | nn.Module | None = None,
    *,
    weights: str | Path | None = None,
    n: int | None = None,
    seed: int = 0,
    truncation: float = 1.0,
    ema: bool = True,
    batch_size: int = 64,
    device: str | torch.device = "cpu",
    cache: Path | None = None,
) -> list[Score]:
    """Score a model's samples, or images, against real ones.

    Args:
        fakes: A model with ``sample``, which is on `device`; or samples, in the form of `reals`.
        reals: Samples ``(N, …)``, images and videos uint8 or float in [-1, 1]; or batches of them, alone or followed by
            their labels or captions, as loaders yield them. `None` where no metric compares with reals and the model
            is not conditional, since its conditions are those of the reals. `Statistics` will do for fid.
        metrics: Names of `gan_modules.scoring.metric_names`.
        features: See `gan_modules.metrics.features_for`; by default the model's kind decides, and Inception scores
            samples without a model, which then are images.
        weights: See `gan_modules.metrics.feature_network`.
        n: Number of samples to draw from a model; by default as many as there are reals.
        seed: Of the samples' latents, below `gan_modules.scoring.generation.SEEDS`.
        truncation: See `gan_modules.families.latent.LatentGAN.sample`.
        ema: See there.
        batch_size: Samples through the generator and the network at a time.
        device: Where to compute.
        cache: Folder for the reals' features; see `FeatureCache`.

    Returns:
        A record for each number, in the order of the metrics.

    Raises:
        GANError: If a name is unknown, weights are missing or damaged, there are too few samples, reals are missing,
            or the seed is out of range.

    >>> images = torch.linspace(-1, 1, 128 * 64).view(128, 1, 8, 8)
    >>> [score] = score(images, images, features="digits")
    >>> score.metric, score.n_fake, abs(score.value) < 1e-6
    ('fd_digits', 128, True)
    """
    check_seed(seed, SEEDS)
    model = None if isinstance(fakes, Tensor | Iterable) else require(fakes, Samples, "score")
    if model is None:
        network = feature_network("inception" if features is None else features, weights)
    else:
        network = features_for(model.kind, model.sample_shape, features, weights)
    conditional = model is not None and bool(sampled_classes(model) or takes_captions(model))
    evaluator = Evaluator(
        build_metrics(metrics, network),
        num_classes=0 if model is None else sampled_classes(model),
        captioned=model is not None and takes_captions(model),
        cache=FeatureCache(cache),
        batch_size=batch_size,
        device=device,
    )
    if isinstance(reals, Statistics):
        evaluator.add_statistics(reals)
    elif reals is not None:
        for samples, *condition in tqdm(_batches(reals), "reals", unit="batch"):
            evaluator.add_reals(samples, *condition[:1])
        evaluator.end_reals()
    elif evaluator.needs_reals or conditional:
        raise GANError(f"{' '.join(metrics)} of these fakes needs real samples: pass reals.")
    if isinstance(fakes, Tensor | Iterable):
        for samples, *_ in tqdm(_batches(fakes), "fakes", unit="batch"):
            evaluator.add_fakes(samples)
        return evaluator.scores(fakes="images")
    return evaluator.evaluate(fakes, n, seed, truncation, ema)


def _batches(samples: Tensor | Iterable[Tensor | Sequence[Tensor]]) -> Iterator[Sequence[Tensor]]:
    if isinstance(samples, Tensor):
        samples = torch.split(samples, 1024)
    return ((batch,) if isinstance(batch, Tensor) else batch for batch in samples)


def _summed(values: Tensor, device: torch.device) -> Tensor:
    """Return the sum over all processes."""
    if distributed.is_initialized():
        values = values.to(device)
        with explain_lost_rank():
            distributed.all_reduce(values)
    return values.cpu()


def _gathered(tensors: list[Tensor]) -> list[Tensor]:
    """Return the tensors of all processes."""
    return [tensor for of_process in gather_objects(tensors) for tensor in of_process]
