"""Scoring: each image passes a feature network once, whatever the number of metrics that share its features."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import torch
from torch import Tensor, distributed, nn
from tqdm import tqdm

from gan_modules.engine.seeds import check_seed
from gan_modules.errors import GANError
from gan_modules.functional.pixels import to_uint8
from gan_modules.metrics.base import FeatureMetric
from gan_modules.metrics.classes import StackedModes
from gan_modules.metrics.networks import feature_network
from gan_modules.metrics.variety import PerceptualPathLength
from gan_modules.scoring.cache import FeatureCache
from gan_modules.scoring.catalogue import Measure, build_metrics, is_better_higher
from gan_modules.scoring.extraction import RealImages, extract
from gan_modules.scoring.generation import SEEDS, Draw, Sampler
from gan_modules.scoring.record import Score


class RunInfo(TypedDict, total=False):
    """What a record says of where the images come from; see `Score`."""

    reals: str
    split: str | None
    fakes: str
    round: int | None
    images_seen: int | None


class SamplingInfo(RunInfo, total=False):
    """And of how the fakes were drawn."""

    seed: int | None
    weights: Literal["ema", "raw"] | None
    truncation: float | None


def drawn(model: Sampler, seed: int, truncation: float, ema: bool, circumstances: RunInfo) -> SamplingInfo:
    """What a record says of a model's samples."""
    return {
        "fakes": type(model).__name__,
        "seed": seed,
        "weights": "ema" if ema and getattr(model, "generator_ema", None) is not None else "raw",
        "truncation": truncation,
        "images_seen": getattr(model, "images_seen", None),
        **circumstances,
    }


class Evaluator:
    """Metrics that share a feature network: reals are shown to them once, then fakes again and again.

    Under ``torch.distributed`` each process shows its own share, and all of them find the scores of all images.

    Args:
        metrics: What `build_metrics` gave.
        num_classes: Classes of the reals, whose frequencies are those of a conditional model's samples; 0 where they
            do not matter.
        cache: Where features of reals are kept; by default `FeatureCache`'s own place.
        batch_size: Images through the generator and the network at a time.
        device: Where to compute; what has no float64 will not do.
    """

    def __init__(
        self,
        metrics: Sequence[Measure],
        *,
        num_classes: int = 0,
        cache: FeatureCache | None = None,
        batch_size: int = 64,
        device: str | torch.device = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.metrics = [metric.to(self.device) for metric in metrics]
        self.network = self.metrics[0].network
        self.batch_size = batch_size
        self._class_counts = torch.zeros(num_classes, dtype=torch.long)
        self._of_images = [metric for metric in self.metrics if isinstance(metric, StackedModes)]
        self._of_models = [metric for metric in self.metrics if isinstance(metric, PerceptualPathLength)]
        self._of_features = [
            metric
            for metric in self.metrics
            if isinstance(metric, FeatureMetric) and not isinstance(metric, StackedModes)
        ]
        compared = any(metric.needs_reals for metric in self._of_features)
        receive = self._take_reals if compared else None
        self._reals = RealImages(self.network, receive, cache or FeatureCache(), batch_size, self.device)
        self.n_real = 0
        self.reals_digest = ""
        self._n_fake = 0

    @property
    def names(self) -> list[str]:
        """The scores' names, in their order."""
        return [name for metric in self.metrics for name in metric.names]

    @property
    def needs_reals(self) -> bool:
        """Whether any of the metrics compares with reals."""
        return any(metric.needs_reals for metric in self.metrics)

    def check(self, image_shape: Sequence[int]) -> None:
        """Show the network one image of that shape ``(C, H, W)``, so that it may refuse before there is any work.

        Raises:
            GANError: If a metric or the network sees no such images.
        """
        with torch.inference_mode():
            image = torch.zeros(1, *image_shape, device=self.device)
            self.network.features(image)
            for metric in self._of_images:
                metric.update(image, real=False)
                metric.reset()

    def check_model(self, model: Sampler) -> None:
        """Raise GANError if the model's classes are not the reals', or a metric needs to know more of it."""
        classes = len(self._class_counts)
        if model.num_classes not in (0, classes):
            raise GANError(
                f"The model makes images of {model.num_classes} classes, and the reals have {classes or 'none'}: "
                f"choose reals with the labels that it was trained on."
            )
        if self._of_models and not hasattr(model, "latent_dim"):
            raise GANError(f"{type(model).__name__} tells no latent_dim, so that there are no paths: leave ppl out.")

    def to(self, device: str | torch.device) -> None:
        """Move everything that takes memory."""
        for metric in self.metrics:
            metric.to(device)

    def add_reals(self, images: Tensor, labels: Tensor | None = None) -> None:
        """Show real images ``(N, C, H, W)``, uint8 or float in [-1, 1], and their classes ``(N,)``.

        Raises:
            GANError: If the classes are wanted and not given.
        """
        images = to_uint8(images)
        self._reals.add(images)
        with torch.inference_mode():
            for metric in self._of_images:
                metric.update(images, real=True)
        if len(self._class_counts):
            if labels is None:
                raise GANError("The model makes images of classes, and the reals come without labels: choose others.")
            self._class_counts += labels.cpu().bincount(minlength=len(self._class_counts))

    def end_reals(self) -> None:
        """Say that there are no more reals, after which their number is known."""
        self._reals.flush()
        counts = torch.stack([torch.tensor(self._reals.count), self._reals.digest.total])
        self.n_real, digest = _summed(counts, self.device).tolist()
        self.reals_digest = f"{digest % 2**64:016x}"
        self._class_counts = _summed(self._class_counts, self.device)

    def add_fakes(self, images: Tensor) -> None:
        """Show images to be scored, ``(N, C, H, W)``, uint8 or float in [-1, 1]."""
        if not len(images):
            return
        images = to_uint8(images)
        self._n_fake += len(images)
        with torch.inference_mode():
            if self._of_features:
                features = extract(self.network, images, self.batch_size, self.device)
                for metric in self._of_features:
                    metric.update_features(features, real=False)
            for metric in self._of_images:
                metric.update(images, real=False)

    def examine(
        self,
        model: Sampler,
        n: int | None = None,
        seed: int = 0,
        truncation: float = 1.0,
        ema: bool = True,
        progress: bool = True,
        **circumstances: Unpack[RunInfo],
    ) -> list[Score]:
        """The scores of `n` samples of a model, by default as many as there are reals.

        Raises:
            GANError: If there are too few of either, or the model's classes are not the reals'.
        """
        n = n or self.n_real
        if not n:
            raise GANError("Where there are no reals, nothing says how many samples to score: pass n.")
        self.check_model(model)
        draw = Draw(
            model,
            self.batch_size,
            seed,
            class_counts=self._class_counts if model.num_classes else None,
            truncation=truncation,
            ema=ema,
        )
        with tqdm(total=n, desc=f"samples, seed {seed}", unit="image", disable=not progress) as bar:
            for images in draw.samples(n):
                self.add_fakes(images)
                bar.update(len(images))
        for metric in self._of_models:
            for way in draw.paths(n):
                metric.update(*way)
            if not metric.lengths:  # a process without a share gathers as well
                metric.lengths.append(torch.empty(0, dtype=torch.float64, device=self.device))
        return self.scores(**drawn(model, seed, truncation, ema, circumstances))

    def scores(self, **circumstances: Unpack[SamplingInfo]) -> list[Score]:
        """The scores of the fakes shown since the last call; those of a generator are not among them without one.

        Raises:
            GANError: If there were too few, or too few reals.
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
            told = circumstances if metric.needs_reals else circumstances | {"reals": "", "split": None}
            scores += [
                Score(
                    metric=name,
                    value=values[name],
                    std=values.get(metric.deviation),
                    higher_is_better=is_better_higher(metric, name),
                    network=self.network.name,
                    sha256=self.network.sha256,
                    resizer=self.network.resizer,
                    settings=_settings(metric),
                    n_real=self.n_real if metric.needs_reals else 0,
                    n_fake=n_fake,
                    reals_digest=self.reals_digest if metric.needs_reals else "",
                    **told,
                )
                for name in metric.names
            ]
        return scores

    def _take_reals(self, features: Tensor) -> None:
        with torch.inference_mode():
            for metric in self._of_features:
                metric.update_features(features, real=True)


def score(
    fakes: Sampler | Tensor | Iterable[Tensor | Sequence[Tensor]],
    reals: Tensor | Iterable[Tensor | Sequence[Tensor]] | None,
    metrics: Sequence[str] = ("fid",),
    features: str | Path | nn.Module = "inception",
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
    """Score a model's samples, or images, against real images.

    Args:
        fakes: A model with ``sample``, which is on `device`; or images, as `reals` are given.
        reals: Images ``(N, C, H, W)``, uint8 or float in [-1, 1]; or batches of such, alone or before their labels, as
            loaders give them. `None` will do where no metric compares with reals, and no model has classes, which are
            sampled as often as the reals'.
        metrics: Names of `gan_modules.scoring.catalogue`.
        features: See `gan_modules.metrics.feature_network`.
        weights: See there.
        n: How many samples to draw from a model; by default as many as there are reals.
        seed: Of the samples' latents, below `gan_modules.scoring.generation.SEEDS`.
        truncation: See `gan_modules.families.latent.LatentGAN.sample`.
        ema: See there.
        batch_size: Images through the generator and the network at a time.
        device: Where to compute.
        cache: Folder for the reals' features; see `FeatureCache`.

    Returns:
        A record for each number, in the order of the metrics.

    Raises:
        GANError: If a name is unknown, weights cannot be had, there are too few images, reals are missing, or the
            seed is out of range.

    >>> images = torch.linspace(-1, 1, 128 * 64).view(128, 1, 8, 8)
    >>> [score] = score(images, images, features="digits")
    >>> score.metric, score.n_fake, abs(score.value) < 1e-6
    ('fd_digits', 128, True)
    """
    check_seed(seed, SEEDS)
    network = feature_network(features, weights)
    num_classes = 0 if isinstance(fakes, Tensor | Iterable) else fakes.num_classes
    examiner = Evaluator(
        build_metrics(metrics, network),
        num_classes=num_classes,
        cache=FeatureCache(cache),
        batch_size=batch_size,
        device=device,
    )
    if reals is not None:
        for images, *labels in tqdm(_batches(reals), "reals", unit="batch"):
            examiner.add_reals(images, *labels[:1])
        examiner.end_reals()
    elif examiner.needs_reals or num_classes:
        raise GANError(f"{' '.join(metrics)} of these fakes takes real images: pass reals.")
    if isinstance(fakes, Tensor | Iterable):
        for images, *_ in tqdm(_batches(fakes), "fakes", unit="batch"):
            examiner.add_fakes(images)
        return examiner.scores(fakes="images")
    return examiner.examine(fakes, n, seed, truncation, ema)


def _batches(images: Tensor | Iterable[Tensor | Sequence[Tensor]]) -> Iterator[Sequence[Tensor]]:
    if isinstance(images, Tensor):
        images = torch.split(images, 1024)
    return ((batch,) if isinstance(batch, Tensor) else batch for batch in images)


def _summed(values: Tensor, device: torch.device) -> Tensor:
    """Their sum over all processes."""
    if distributed.is_initialized():
        values = values.to(device)
        distributed.all_reduce(values)
    return values.cpu()


def _settings(metric: Measure) -> dict[str, Any]:
    """The metric's own parameters, as far as they are numbers or words."""
    values = {name: getattr(metric, name, None) for name in inspect.signature(type(metric).__init__).parameters}
    own = values.keys() - {"self", "network", "keep_reals"}
    return {name: values[name] for name in sorted(own) if isinstance(values[name], int | float | str)}
