"""``gan-modules score``: what the samples of checkpoints, or any images, are worth against real ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from tqdm import tqdm

from datamodules import GANDataModule, ToyDataModule
from gan_modules.commands.checkpoint import check_device, load_model
from gan_modules.commands.images import DataPart, ImagePlace, ImageSet
from gan_modules.commands.numbers import Numbers, parse_numbers
from gan_modules.commands.reals import noted_data, real_images
from gan_modules.engine.checkpoint import read_checkpoint
from gan_modules.errors import GANError
from gan_modules.families.latent import LatentGAN
from gan_modules.metrics.modes import ModeCoverage
from gan_modules.metrics.networks import feature_network
from gan_modules.scoring.cache import FeatureCache
from gan_modules.scoring.catalogue import METRICS, build_metrics, check_names
from gan_modules.scoring.evaluate import Evaluator, RunInfo
from gan_modules.scoring.generation import SEEDS
from gan_modules.scoring.points import PointExaminer
from gan_modules.scoring.record import Score, append
from gan_modules.scoring.table import Row, table

FILE = "scores.jsonl"
NAMES = ("best.ckpt", "last.ckpt")  # of a run's folder


def score(
    ckpt_path: list[str] = [],  # noqa: B006  # the parser wants to see what is left out
    fake: str | None = None,
    data: GANDataModule | None = None,
    real: str | None = None,
    split: Literal["train", "val", "test"] = "val",
    metrics: list[str] = ["fid"],  # noqa: B006
    features: str = "inception",
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
    """Score checkpoints, or a folder or zip file of images, against real images: a table, and records as JSON lines.

    Args:
        ckpt_path: Checkpoints; or folders of runs, of which every best.ckpt and last.ckpt is scored.
        fake: Folder or zip file of images to score.
        data: Datamodule of the real images; by default that of the config.yaml of the first checkpoint's run. None is
            asked for where no metric looks at real images, no model has classes, and n is given.
        real: Folder or zip file of the real images, in place of a datamodule.
        split: Which of the datamodule's images.
        metrics: Any of fid, kid, is, mifid, pr, dc, prdc, duplicates, diversity, modes, ppl; of points, modes.
        features: inception, clip, dinov2, lpips, digits, or the file of a classifier that you have trained.
        weights: File of the feature network's weights; by default they are downloaded once.
        n: Images to score; by default as many as there are real ones, or all of the folder.
        seeds: Seeds of the samples, or of the choice of n images, as 0-2 or 0 1 2; several give mean ± standard
            deviation.
        floor: Whether to score n of the datamodule's other images too: what a perfect generator would reach.
        truncation: Factor on the latents; below 1 for less variety.
        ema: Whether to use the averaged generator, where there is one.
        batch_size: Images through the networks at a time; the latents depend on it.
        out: File to add the records to; by default scores.jsonl in each run's folder, or here.
        cache: Folder that keeps the real images' features; by default $GAN_MODULES_CACHE or the user's cache folder.
        device: Where to compute: cpu, cuda.
    """
    check_names(metrics)
    chosen_seeds = parse_numbers("seeds", seeds, below=SEEDS)
    if (n is not None and n < 2) or batch_size < 1:
        raise GANError(f"Scores need at least two images, in batches: {n=}, {batch_size=}.")
    if not ckpt_path and fake is None and not floor:
        raise GANError("There is nothing to score: pass --ckpt_path, --fake or --floor=true.")
    if set(metrics) == {"ppl"} and (fake is not None or floor):
        raise GANError(
            "Path lengths are those of a generator: name another metric for images, or score checkpoints alone."
        )
    check_device(device)
    models = {path: _load(path, device) for place in ckpt_path for path in _checkpoints(Path(place).expanduser())}
    run = next(map(_run_folder, models), None)
    shapes = {tuple(model.image_shape) for model in models.values()}
    reals: ImageSet | None = None
    chosen: list[tuple[ImageSet, int | None]] = []  # images to score, and how many of them
    examiner: Evaluator | PointExaminer
    if any(len(shape) == 1 for shape in shapes):
        if set(metrics) != {"modes"} or fake is not None or real is not None or floor:
            raise GANError("Points have no scores but --metrics modes, those of checkpoints by the mixture of --data.")
        data = data or noted_data(run)
        if not isinstance(data, ToyDataModule):
            raise GANError(f"{type(data).__name__} holds no points: pass --data ToyDataModule.")
        examiner = PointExaminer(ModeCoverage(data.centres, data.std), batch_size=batch_size, device=device)
        samples = n or len(DataPart(data, split))
    else:
        compared = any(kind.needs_reals for name in metrics for kind in METRICS[name])
        if compared or floor or any(model.num_classes or n is None for model in models.values()):
            reals, others = real_images(real, data, split, floor, run, channels=min(shapes, default=(None,))[0])
            if strange := shapes - {_shape(reals)}:
                raise GANError(
                    f"The checkpoint makes images of {min(strange)}, and those of {reals.name} are {_shape(reals)}: "
                    f"choose --data of the model's size."
                )
            shapes = {_shape(reals)}
            chosen += [] if others is None else [(others, n or len(reals))]
        if fake is not None:
            images = ImagePlace(fake, min(shapes, default=(None,))[0])
            chosen.insert(0, (images, n))
            shapes = shapes or {_shape(images)}
        for one, wanted in [*([] if reals is None else [(reals, None)]), *chosen]:
            if len(one) < (wanted or 2):
                raise GANError(f"{one.name} has {len(one)} images, fewer than {wanted or 2}: bring more, or lower --n.")
        examiner = Evaluator(
            build_metrics(metrics, feature_network(features, weights)),
            num_classes=0 if reals is None else reals.num_classes,
            cache=FeatureCache(cache),
            batch_size=batch_size,
            device=device,
        )
        for shape in shapes:
            examiner.check(shape)
        samples = n or len(reals or ())
    for model in models.values():
        examiner.check_model(model)
    files = {path: out or _run_folder(path) / FILE for path in models}
    elsewhere = out or next(iter(files.values()), Path(FILE))
    for file in {*files.values(), elsewhere}:
        append(file, [])  # what cannot be written to is found before there is any work

    told: RunInfo = {}
    if isinstance(examiner, Evaluator) and reals is not None:
        told = {"reals": reals.name, "split": reals.split}
        if examiner.needs_reals or any(model.num_classes for model in models.values()):
            for batch, *labels in _shown(reals, batch_size):
                examiner.add_reals(batch, *labels[:1])
            examiner.end_reals()
    rows = []
    for path, model in models.items():
        noted: RunInfo = {**told, "fakes": str(path), "round": _rounds(path)}
        scores = []
        for seed in chosen_seeds:
            found = examiner.examine(model, samples, seed, truncation, ema, **noted)
            append(files[path], found)
            scores += found
        label = str(path.with_suffix("")).replace("/checkpoints/", "/")
        played = "" if noted["round"] is None else f", {noted['round']} rounds"
        group = f"{path.stem}, {type(model).__name__}, {scores[0].weights}"
        rows.append(Row(f"{label}{played}", scores, group))
    if isinstance(examiner, Evaluator):
        for one, wanted in chosen:
            scores = []
            for seed in chosen_seeds if wanted not in (None, len(one)) else chosen_seeds[:1]:
                found = _examine_images(examiner, one, wanted, seed, told)
                append(elsewhere, found)
                scores += found
            rows.append(Row(scores[0].fakes, scores))
    print(f"{_protocol(rows[0].scores)}\n\n{table(rows)}\n")
    places = sorted({str(file) for file in (*files.values(), elsewhere)})
    print(f"{sum(len(row.scores) for row in rows)} records: {', '.join(places)}")


def _protocol(scores: Sequence[Score]) -> str:
    """What the scores of a table have in common, in a line."""
    score = max(scores, key=lambda score: score.n_real)  # some compare with no reals
    reals = " ".join(filter(None, (score.reals, score.split)))
    against = f" against {score.n_real} of {reals}" if score.n_real else ""
    network = f"; features: {score.network} ({score.sha256[:8]}), {score.resizer}" if score.network else ""
    return f"{score.n_fake} {'images' if score.network else 'points'}{against}{network}"


def _shape(images: ImageSet) -> tuple[int, ...]:
    return tuple(next(iter(images.batches(1)))[0].shape[1:])


def _checkpoints(place: Path) -> list[Path]:
    """The checkpoint itself, or those of a run's folder."""
    if not place.is_dir():
        return [place]
    found = sorted(path for path in place.rglob("*.ckpt") if path.name in NAMES)
    if not found:
        raise GANError(f"There is no {' or '.join(NAMES)} below '{place}': name the checkpoint itself.")
    return found


def _run_folder(path: Path) -> Path:
    return path.parent.parent if path.parent.name == "checkpoints" else path.parent


def _rounds(path: Path) -> int | None:
    """Rounds played at a checkpoint; NVIDIA's files do not say."""
    return None if path.suffix.lower() == ".pkl" else int(read_checkpoint(path)["global_step"])


def _load(path: Path, device: str) -> LatentGAN:
    model = load_model(path, device)
    if not isinstance(model, LatentGAN):
        raise GANError(
            f"'{path}' holds a {type(model).__name__}, which does not make images from noise: pass what it translates "
            f"as --fake."
        )
    return model


def _shown(images: ImageSet, batch_size: int, rows: Sequence[int] | None = None) -> Iterator[Sequence[Tensor]]:
    """The batches, beside a bar."""
    label = " ".join(filter(None, (images.name, images.split)))
    with tqdm(total=len(images) if rows is None else len(rows), desc=label, unit="image") as bar:
        for batch in images.batches(batch_size, rows):
            yield batch
            bar.update(len(batch[0]))


def _examine_images(examiner: Evaluator, images: ImageSet, n: int | None, seed: int, told: RunInfo) -> list[Score]:
    """The scores of all images, or of n of them that the seed chooses."""
    rows = None
    if n is not None and n < len(images):
        rows = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:n].tolist()
    for batch in _shown(images, examiner.batch_size, rows):
        examiner.add_fakes(batch[0])
    noted: RunInfo = {**told, "fakes": " ".join(filter(None, (images.name, images.split)))}
    return examiner.scores(seed=None if rows is None else seed, **noted)
