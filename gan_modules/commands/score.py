"""``gan-modules score``: scores of checkpoints, or of any images, against real samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from tqdm import tqdm

from datamodules import GANDataModule
from gan_modules.commands.checkpoint import check_device, load_model
from gan_modules.commands.images import ImagePlace, SampleSet
from gan_modules.commands.numbers import Numbers, parse_numbers
from gan_modules.commands.reals import noted_data, real_samples, real_statistics
from gan_modules.engine.checkpoint import read_checkpoint
from gan_modules.engine.run_folder import folder_of_checkpoint
from gan_modules.errors import GANError
from gan_modules.families.capabilities import Samples
from gan_modules.families.data_spec import Kind, data_spec, sample_kind
from gan_modules.metrics.modes import ModeCoverage
from gan_modules.metrics.networks import features_for
from gan_modules.scoring.cache import FeatureCache
from gan_modules.scoring.evaluate import Evaluator, RunInfo
from gan_modules.scoring.generation import SEEDS, sampled_classes, takes_captions
from gan_modules.scoring.metric_names import METRICS, build_metrics, check_names
from gan_modules.scoring.points import PointEvaluator
from gan_modules.scoring.record import Score, append
from gan_modules.scoring.statistics import UNKNOWN, Statistics
from gan_modules.scoring.table import Row, table

FILE = "scores.jsonl"
NAMES = ("best.ckpt", "last.ckpt")  # of a run's folder
NOUNS: dict[Kind, str] = {"image": "images", "point": "points", "audio": "sounds", "video": "videos"}


@dataclass(frozen=True)
class Sampling:
    """How samples are drawn."""

    n: int | None
    seeds: Sequence[int]
    truncation: float
    ema: bool
    batch_size: int


@dataclass(frozen=True)
class Subjects:
    """What is scored, and what it is compared with.

    Attributes:
        kind: Kind of all samples.
        models: By checkpoint.
        sets: Sets of samples to score, each with how many of them; `None` for all.
        reals: What both are compared with; `None` where nothing is.
        shapes: Shapes of the samples; several only where nothing is compared.
    """

    kind: Kind
    models: Mapping[Path, Samples]
    sets: Sequence[tuple[SampleSet, int | None]]
    reals: SampleSet | None
    shapes: Sequence[tuple[int, ...]]

    @property
    def is_conditional(self) -> bool:
        """Whether samples of a model need the classes or captions of the reals."""
        return any(map(_is_conditional, self.models.values()))


def score(
    ckpt_path: list[Path] = [],  # noqa: B006  # the parser shows the default
    fake: str | None = None,
    data: GANDataModule | None = None,
    real: str | None = None,
    split: Literal["train", "val", "test"] = "val",
    metrics: list[str] = ["fid"],  # noqa: B006
    features: str | None = None,
    weights: Path | None = None,
    n: int | None = None,
    seeds: Numbers = "0",
    floor: bool = False,
    truncation: float = 1.0,
    ema: bool = True,
    batch_size: int = 64,
    out: Path | None = None,
    cache: Path | None = None,
    device: str = "cpu",
) -> None:
    """Score checkpoints, or a folder or zip file of images, against real samples: a table, and records as JSON lines.

    Args:
        ckpt_path: Checkpoints; or folders of runs, of which every best.ckpt and last.ckpt is scored.
        fake: Folder or zip file of images to score.
        data: Datamodule of the real samples; by default that of the config.yaml of the first checkpoint's run. None is
            needed if no metric compares with reals, no model is conditional, and n is given.
        real: Folder or zip file of the real images, in place of a datamodule; or for fid alone, an .npz file of their
            mu and sigma, such as pytorch-fid writes.
        split: The datamodule's split.
        metrics: Any of fid, kid, is, mifid, pr, dc, prdc, duplicates, diversity, modes, ppl; modes of points are those
            of the mixture of --data.
        features: inception, clip, dinov2, lpips, digits, or the file of a classifier that you have trained; by default
            inception for images and videos, a spectrogram's statistics for audio, the coordinates for points.
        weights: File of the feature network's weights; by default they are downloaded once.
        n: Samples to score; by default as many as there are real ones, or all of the folder.
        seeds: Seeds of the samples, or of the choice of n images, as 0-2 or 0 1 2; several give mean ± standard
            deviation. Each is a stream of n samples, not the image that sample --seeds draws of it.
        floor: Whether to score n of the datamodule's other samples too: what a perfect generator would reach.
        truncation: Factor on the latents; below 1 for less variety.
        ema: Whether to use the averaged generator, where there is one.
        batch_size: Samples through the networks at a time; the latents depend on it.
        out: File to add the records to; by default scores.jsonl in each run's folder, or here.
        cache: Folder that keeps the reals' features; by default $GAN_MODULES_CACHE or the user's cache folder.
        device: Where to compute: cpu, cuda.
    """
    check_names(metrics)
    sampling = Sampling(n, parse_numbers("seeds", seeds, below=SEEDS), truncation, ema, batch_size)
    _check_request(ckpt_path, fake, floor, metrics, sampling)
    check_device(device)
    models = {path: _load(path, device) for place in ckpt_path for path in _checkpoints(place.expanduser())}
    kind = _common_kind(models, data)
    count_modes = kind == "point" and "modes" in metrics
    by_features = [name for name in metrics if not (count_modes and name == "modes")]
    compared = floor or any(metric.needs_reals for name in by_features for metric in METRICS[name])
    conditional = bool(by_features) and any(map(_is_conditional, models.values()))
    statistics = real_statistics(real, data, floor, needs_n=bool(models) and n is None)
    if statistics is not None:
        real, compared, conditional = None, False, False
    needs_reals = compared or conditional or (n is None and bool(models))
    if data is None and real is None and (needs_reals or count_modes):
        data = noted_data(next(map(folder_of_checkpoint, models), None))
    subjects = _find_subjects(kind, models, fake, real, data, split, floor, n, needs_reals)
    evaluators: list[Evaluator | PointEvaluator] = []
    if by_features:
        network = features_for(kind, subjects.shapes[0], features, weights)
        evaluator = Evaluator(
            build_metrics(by_features, network),
            num_classes=_classes(subjects, statistics),
            captioned=any(map(takes_captions, models.values())),
            cache=FeatureCache(cache),
            batch_size=batch_size,
            device=device,
        )
        for shape in subjects.shapes:
            evaluator.check(shape)
        evaluators.append(evaluator)
    if count_modes:
        evaluators.append(PointEvaluator(_mixture(data), batch_size=batch_size, device=device))
    for each in evaluators:
        for model in models.values():
            each.check_model(model)
        if statistics is not None and isinstance(each, Evaluator):
            each.add_statistics(statistics)
    files = {path: out or folder_of_checkpoint(path) / FILE for path in models}
    elsewhere = out or next(iter(files.values()), Path(FILE))
    for file in {*files.values(), elsewhere}:
        append(file, [])  # a file that cannot be written is found before any work

    info = _add_reals(subjects, evaluators, batch_size)
    if statistics is not None:
        info = {"reals": statistics.name, "split": None}
    rows = _score_models(subjects, evaluators, sampling, info, files)
    for each in evaluators:
        if isinstance(each, Evaluator):
            rows += [_score_set(each, one, wanted, sampling.seeds, info, elsewhere) for one, wanted in subjects.sets]
    print(f"{_protocol(kind, rows[0].scores)}\n\n{table(rows)}\n")
    places = sorted({str(file) for file in (*files.values(), elsewhere)})
    print(f"{sum(len(row.scores) for row in rows)} records: {', '.join(places)}")


# ---- What is scored, checked before any work ---------------------------------------------------------------------


def _check_request(
    ckpt_path: Sequence[Path], fake: str | None, floor: bool, metrics: Sequence[str], sampling: Sampling
) -> None:
    n, batch_size = sampling.n, sampling.batch_size
    if (n is not None and n < 2) or batch_size < 1:
        raise GANError(f"Scores need at least two samples, in batches: {n=}, {batch_size=}.")
    if not ckpt_path and fake is None and not floor:
        raise GANError("There is nothing to score: pass --ckpt_path, --fake or --floor=true.")
    if set(metrics) == {"ppl"} and (fake is not None or floor):
        raise GANError(
            "Path lengths are those of a generator: name another metric for images, or score checkpoints alone."
        )


def _checkpoints(place: Path) -> list[Path]:
    """Return the checkpoint itself, or those of a run's folder."""
    if not place.is_dir():
        return [place]
    found = sorted(path for path in place.rglob("*.ckpt") if path.name in NAMES)
    if not found:
        raise GANError(f"There is no {' or '.join(NAMES)} below '{place}': name the checkpoint itself.")
    return found


def _load(path: Path, device: str) -> Samples:
    model = load_model(path, device)
    if not isinstance(model, Samples):
        raise GANError(
            f"'{path}' holds a {type(model).__name__}, which does not make samples from noise: pass what it makes as "
            f"--fake."
        )
    return model


def _common_kind(models: Mapping[Path, Samples], data: GANDataModule | None) -> Kind:
    """Return the kind of the models' samples; without models, that of the data, or images."""
    kinds = {model.kind for model in models.values()}
    if len(kinds) > 1:
        raise GANError(f"The checkpoints make samples of kinds {' and '.join(sorted(kinds))}: score them one by one.")
    if kinds:
        return kinds.pop()
    return "image" if data is None else sample_kind(data_spec(data))[0]


def _find_subjects(
    kind: Kind,
    models: Mapping[Path, Samples],
    fake: str | None,
    real: str | None,
    data: GANDataModule | None,
    split: str,
    floor: bool,
    n: int | None,
    needs_reals: bool,
) -> Subjects:
    """Return what is scored and compared, after checking that shapes and numbers fit.

    Raises:
        GANError: If they do not.
    """
    if kind != "image" and (fake is not None or real is not None):
        raise GANError(f"The checkpoint makes {NOUNS[kind]}: leave out --fake and --real, which are images.")
    shapes = {tuple(model.sample_shape) for model in models.values()}
    channels = min(shapes, default=(None,))[0]
    sets: list[tuple[SampleSet, int | None]] = []
    reals: SampleSet | None = None
    if needs_reals:
        reals, others = real_samples(real, data, split, floor, kind, channels)
        shape = _shape(reals)
        if strange := shapes - {shape}:
            raise GANError(
                f"The checkpoint makes {NOUNS[kind]} of {min(strange)}, and those of {reals.name} are {shape}: choose "
                f"--data of the model's size."
            )
        shapes, channels = {shape}, shape[0]
        sets += [] if others is None else [(others, n or len(reals))]
    if fake is not None:
        images = ImagePlace(fake, channels)
        if channels == 1 and images.coloured is not None:
            if not isinstance(reals, ImagePlace) or models:
                against = f"those of {reals.name}" if reals else "the checkpoint's"
                raise GANError(f"{images.coloured} in '{fake}' has colour, and {against} are grey: convert it to grey.")
            reals.channels = images.channels = 3  # grey reals, and fakes that are not
            shapes = {_shape(reals)}
        sets.insert(0, (images, n))
        shapes = shapes or {_shape(images)}
    for one, wanted in [*([] if reals is None else [(reals, None)]), *sets]:
        if len(one) < (wanted or 2):
            raise GANError(
                f"{one.name} has {len(one)} {NOUNS[kind]}, fewer than {wanted or 2}: add more, or lower --n."
            )
    return Subjects(kind, models, sets, reals, sorted(shapes))


def _classes(subjects: Subjects, statistics: Statistics | None) -> int:
    """Return the classes of the reals; where statistics stand for them, those of the models."""
    if statistics is not None:
        return max(map(sampled_classes, subjects.models.values()), default=0)
    return 0 if subjects.reals is None else subjects.reals.num_classes


def _mixture(data: GANDataModule | None) -> ModeCoverage:
    """Return the metric that counts the modes of the data's mixture."""
    centres, std = getattr(data, "centres", None), getattr(data, "std", None)
    if centres is None or std is None:
        raise GANError(f"{type(data).__name__} has no mixture whose modes to count: pass --data ToyDataModule.")
    return ModeCoverage(centres, std)


# ---- Scores ------------------------------------------------------------------------------------------------------


def _add_reals(subjects: Subjects, evaluators: Sequence[Evaluator | PointEvaluator], batch_size: int) -> RunInfo:
    """Pass the reals to the evaluators that need them, and return the records' fields on them."""
    reals = subjects.reals
    if reals is None:
        return {}
    for evaluator in evaluators:
        if isinstance(evaluator, Evaluator) and (evaluator.needs_reals or subjects.is_conditional):
            for samples, *condition in _with_progress(reals, batch_size):
                evaluator.add_reals(samples, *condition[:1])
            evaluator.end_reals()
    return {"reals": reals.name, "split": reals.split}


def _score_models(
    subjects: Subjects,
    evaluators: Sequence[Evaluator | PointEvaluator],
    sampling: Sampling,
    info: RunInfo,
    files: Mapping[Path, Path],
) -> list[Row]:
    """Return a row of each checkpoint, after adding its records to its file."""
    rows = []
    n = sampling.n or len(subjects.reals or ())
    for path, model in subjects.models.items():
        step = _steps(path)
        of_model: RunInfo = {**info, "fakes": str(path), "step": step}
        scores: list[Score] = []
        for seed in sampling.seeds:
            found: list[Score] = []
            for evaluator in evaluators:
                found += evaluator.evaluate(model, n, seed, sampling.truncation, sampling.ema, **of_model)
            append(files[path], found)
            scores += found
        label = str(path.with_suffix("")).replace("/checkpoints/", "/")
        trained = "" if step is None else f", {step} steps"
        rows.append(Row(f"{label}{trained}", scores, f"{path.stem}, {type(model).__name__}, {scores[0].weights}"))
    return rows


def _score_set(
    evaluator: Evaluator, samples: SampleSet, n: int | None, seeds: Sequence[int], info: RunInfo, file: Path
) -> Row:
    """Return a row of all samples of a set, or of n that each seed chooses, after adding its records to the file."""
    chosen = n is not None and n < len(samples)
    name = _title(samples)
    scores: list[Score] = []
    for seed in seeds if chosen else seeds[:1]:
        rows = None
        if chosen:
            rows = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed))[:n].tolist()
        for batch in _with_progress(samples, evaluator.batch_size, rows):
            evaluator.add_fakes(batch[0])
        of_set: RunInfo = {**info, "fakes": name}
        found = evaluator.scores(seed=seed if chosen else None, **of_set)
        append(file, found)
        scores += found
    return Row(name, scores)


def _protocol(kind: Kind, scores: Sequence[Score]) -> str:
    """Return in a line what the scores of a table have in common."""
    score = max(scores, key=lambda score: (score.n_real, score.reals))  # some compare with no reals
    reals = " ".join(filter(None, (score.reals, score.split)))
    against = f" against {f'{score.n_real} of ' if score.n_real else ''}{reals}" if reals else ""
    if score.settings.get("reals") == UNKNOWN:
        against += f" ({UNKNOWN})"
    network = f"; features: {score.network} ({score.sha256[:8]}), {score.resizer}" if score.network else ""
    return f"{score.n_fake} {NOUNS[kind]}{against}{network}"


# ---- Small things ------------------------------------------------------------------------------------------------


def _is_conditional(model: Samples) -> bool:
    return bool(sampled_classes(model) or takes_captions(model))


def _shape(samples: SampleSet) -> tuple[int, ...]:
    return tuple(next(iter(samples.batches(1)))[0].shape[1:])


def _title(samples: SampleSet) -> str:
    return " ".join(filter(None, (samples.name, samples.split)))


def _steps(path: Path) -> int | None:
    """Return the steps that a checkpoint was trained for; NVIDIA's files do not say."""
    return None if path.suffix.lower() == ".pkl" else int(read_checkpoint(path)["global_step"])


def _with_progress(
    samples: SampleSet, batch_size: int, rows: Sequence[int] | None = None
) -> Iterator[Sequence[Tensor]]:
    """Yield the batches, beside a progress bar."""
    with tqdm(total=len(samples) if rows is None else len(rows), desc=_title(samples), unit="sample") as bar:
        for batch in samples.batches(batch_size, rows):
            yield batch
            bar.update(len(batch[0]))
