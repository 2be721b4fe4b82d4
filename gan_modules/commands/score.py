"""``gan-modules score``: what the samples of checkpoints, or any images, are worth against real ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
import yaml
from torch import Tensor
from tqdm import tqdm

import datamodules
from datamodules import ImageDataModule
from gan_modules.base import GANError, LatentGAN
from gan_modules.commands.checkpoint import check_device, load_model
from gan_modules.commands.images import DataPart, ImagePlace, ImageSet
from gan_modules.engine.checkpoints import read_checkpoint
from gan_modules.metrics.networks import feature_network
from gan_modules.scoring.cache import FeatureCache
from gan_modules.scoring.catalogue import build_metrics, check_names
from gan_modules.scoring.evaluate import Circumstances, Examiner
from gan_modules.scoring.generation import SEEDS
from gan_modules.scoring.record import Score, append
from gan_modules.scoring.table import Row, table

FILE = "scores.jsonl"
NAMES = ("best.ckpt", "last.ckpt")  # of a run's folder


def score(
    ckpt_path: list[str] = [],  # noqa: B006  # the parser wants to see what is left out
    fake: str | None = None,
    data: ImageDataModule | None = None,
    real: str | None = None,
    split: Literal["train", "val", "test"] = "val",
    metrics: list[str] = ["fid"],  # noqa: B006
    features: str = "inception",
    weights: Path | None = None,
    n: int | None = None,
    seeds: list[int] = [0],  # noqa: B006
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
        data: Datamodule of the real images; by default that of the config.yaml of the first checkpoint's run.
        real: Folder or zip file of the real images, in place of a datamodule.
        split: Which of the datamodule's images.
        metrics: Any of fid, kid, is, mifid, pr, dc, prdc, duplicates, diversity, modes, ppl.
        features: inception, clip, dinov2, lpips, digits, or the file of a classifier that you have trained.
        weights: File of the feature network's weights; by default they are downloaded once.
        n: Images to score; by default as many as there are real ones, or all of the folder.
        seeds: Seeds of the samples, or of the choice of n images; several give mean ± standard deviation.
        floor: Whether to score n of the datamodule's other images too: what a perfect generator would reach.
        truncation: Factor on the latents; below 1 for less variety.
        ema: Whether to use the averaged generator, where there is one.
        batch_size: Images through the networks at a time; the latents depend on it.
        out: File to add the records to; by default scores.jsonl in each run's folder, or here.
        cache: Folder that keeps the real images' features; by default $GAN_MODULES_CACHE or the user's cache folder.
        device: Where to compute: cpu, cuda.
    """
    check_names(metrics)
    if (n is not None and n < 2) or batch_size < 1 or not seeds or not all(0 <= seed < SEEDS for seed in seeds):
        raise GANError(
            f"Scores need at least two images, in batches, seeds from 0 to {SEEDS - 1}: {n=}, {batch_size=}, {seeds=}."
        )
    if not ckpt_path and fake is None and not floor:
        raise GANError("There is nothing to score: pass --ckpt_path, --fake or --floor=true.")
    if set(metrics) == {"ppl"} and (fake is not None or floor):
        raise GANError(
            "Path lengths are those of a generator: name another metric for images, or score checkpoints alone."
        )
    check_device(device)
    models = {path: _load(path, device) for place in ckpt_path for path in _checkpoints(Path(place).expanduser())}
    shapes = {model.image_shape for model in models.values()}
    reals, others = _reals(real, data, split, floor, [*models], channels=min(shapes, default=(None,))[0])
    shape = tuple(next(iter(reals.batches(1)))[0].shape[1:])
    if shapes - {shape}:
        raise GANError(
            f"The checkpoint makes images of {min(shapes - {shape})}, and those of {reals.name} are {shape}: choose "
            f"--data of the model's size."
        )
    chosen: list[tuple[ImageSet, int | None]] = [] if fake is None else [(ImagePlace(fake, shape[0]), n)]
    chosen += [] if others is None else [(others, n or len(reals))]
    for one, wanted in [(reals, None), *chosen]:
        if len(one) < (wanted or 2):
            raise GANError(f"{one.name} has {len(one)} images, fewer than {wanted or 2}: bring more, or lower --n.")
    examiner = Examiner(
        build_metrics(metrics, feature_network(features, weights)),
        num_classes=reals.num_classes,
        cache=FeatureCache(cache),
        batch_size=batch_size,
        device=device,
    )
    examiner.check(shape)
    for model in models.values():
        examiner.check_model(model)
    files = {path: out or _run_folder(path) / FILE for path in models}
    elsewhere = out or next(iter(files.values()), Path(FILE))
    for file in {*files.values(), elsewhere}:
        append(file, [])  # what cannot be written to is found before there is any work

    for images, *labels in _shown(reals, batch_size):
        examiner.add_reals(images, *labels[:1])
    examiner.end_reals()
    told: Circumstances = {"reals": reals.name, "split": reals.split}
    rows = []
    for path, model in models.items():
        told |= {"fakes": str(path), "round": _rounds(path)}
        scores = []
        for seed in seeds:
            found = examiner.examine(model, n, seed, truncation, ema, **told)
            append(files[path], found)
            scores += found
        label = str(path.with_suffix("")).replace("/checkpoints/", "/")
        played = "" if told["round"] is None else f", {told['round']} rounds"
        rows.append(Row(f"{label}{played}", scores, group=path.stem))
    told.pop("round", None)
    for one, wanted in chosen:
        scores = []
        for seed in seeds if wanted not in (None, len(one)) else seeds[:1]:
            found = _examine_images(examiner, one, wanted, seed, told)
            append(elsewhere, found)
            scores += found
        rows.append(Row(scores[0].fakes, scores))
    print(f"{_protocol(rows[0].scores[0])}\n\n{table(rows)}\n")
    places = sorted({str(file) for file in (*files.values(), elsewhere)})
    print(f"{sum(len(row.scores) for row in rows)} records: {', '.join(places)}")


def _protocol(score: Score) -> str:
    """What the scores of a table have in common, in a line."""
    reals = " ".join(filter(None, (score.reals, score.split)))
    network = f"{score.network} ({score.sha256[:8]}), {score.resizer}"
    return f"{score.n_fake} images against {score.n_real} of {reals}; features: {network}"


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
    if len(model.image_shape) != 3:
        raise GANError(f"'{path}' makes points, not images: count modes with gan_modules.metrics.ModeCoverage instead.")
    return model


def _reals(
    real: str | None,
    data: ImageDataModule | None,
    split: str,
    floor: bool,
    checkpoints: Sequence[Path],
    channels: int | None,
) -> tuple[ImageSet, ImageSet | None]:
    """The real images, and the datamodule's other ones where they are wanted."""
    if real is not None:
        if data is not None or floor:
            raise GANError("--real is a folder without other parts: leave out --data, and --floor.")
        return ImagePlace(real, channels), None
    if data is None:
        if not checkpoints:
            raise GANError("There are no real images to compare with: pass --data, or a folder as --real.")
        data = _data_of(_run_folder(checkpoints[0]))
    if hasattr(data, "target_shape") or len(data.image_shape) != 3:
        raise GANError(f"{type(data).__name__} holds no images of one kind: choose other --data, or pass --real.")
    return DataPart(data, split), DataPart(data, "val" if split == "train" else "train") if floor else None


def _data_of(folder: Path) -> ImageDataModule:
    """The datamodule that the command line noted in a run's folder, if it is one of this library's."""
    try:
        noted = yaml.safe_load((folder / "config.yaml").read_text())["data"]
        name = noted["class_path"].rpartition(".")[2]
        if name not in datamodules.__all__:
            raise KeyError(name)
        found: ImageDataModule = getattr(datamodules, name)(**noted.get("init_args") or {})
    except (OSError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise GANError(f"No config.yaml in '{folder}' names the data: pass --data, or a folder as --real.") from error
    return found


def _shown(images: ImageSet, batch_size: int, rows: Sequence[int] | None = None) -> Iterator[Sequence[Tensor]]:
    """The batches, beside a bar."""
    label = " ".join(filter(None, (images.name, images.split)))
    with tqdm(total=len(images) if rows is None else len(rows), desc=label, unit="image") as bar:
        for batch in images.batches(batch_size, rows):
            yield batch
            bar.update(len(batch[0]))


def _examine_images(examiner: Examiner, images: ImageSet, n: int | None, seed: int, told: Circumstances) -> list[Score]:
    """The scores of all images, or of n of them that the seed chooses."""
    rows = None
    if n is not None and n < len(images):
        rows = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:n].tolist()
    for batch in _shown(images, examiner.batch_size, rows):
        examiner.add_fakes(batch[0])
    told["fakes"] = " ".join(filter(None, (images.name, images.split)))
    return examiner.scores(seed=None if rows is None else seed, **told)
