"""The real samples of a command: a folder's, a datamodule's, or those that a run was trained on."""

from __future__ import annotations

import inspect
from pathlib import Path

import yaml

import datamodules
from datamodules import GANDataModule
from gan_modules.commands.images import DataPart, ImagePlace, SampleSet
from gan_modules.engine.run_folder import CONFIG
from gan_modules.errors import GANError
from gan_modules.families.data_spec import Kind, data_spec, sample_kind
from gan_modules.scoring.statistics import Statistics, read_statistics

OTHERWISE = "pass --data, or a folder as --real"


def real_samples(
    real: str | None, data: GANDataModule | None, split: str, floor: bool, kind: Kind, channels: int | None
) -> tuple[SampleSet, SampleSet | None]:
    """Return the real samples and, if they are wanted, the datamodule's other ones.

    Args:
        real: Folder or zip file of images; or else
        data: A datamodule.
        split: The datamodule's split.
        floor: Whether samples of another split are wanted.
        kind: Kind of the samples that they are compared with.
        channels: Channels of a folder's images.

    Raises:
        GANError: If there are none, or none of that kind.
    """
    if real is not None:
        if data is not None or floor:
            raise GANError("--real is a folder without splits: leave out --data, and --floor.")
        return ImagePlace(real, channels), None
    if data is None:
        raise GANError(f"There are no real samples to compare with: {OTHERWISE}.")
    spec = data_spec(data)
    if "target_shape" in spec:
        raise GANError(f"{type(data).__name__} holds images of two domains: choose other --data, or pass --real.")
    if (found := sample_kind(spec)[0]) != kind:
        raise GANError(
            f"{type(data).__name__} holds samples of kind {found}, and those to score are of kind {kind}: choose other "
            f"--data."
        )
    return DataPart(data, split), DataPart(data, "val" if split == "train" else "train") if floor else None


def real_statistics(real: str | None, data: GANDataModule | None, floor: bool, needs_n: bool) -> Statistics | None:
    """Return the statistics that stand for the reals, if a file of them is given.

    Args:
        real: What was passed as --real.
        data: What was passed as --data.
        floor: Whether other real samples are wanted.
        needs_n: Whether the reals have to say how many samples to draw.

    Raises:
        GANError: If they cannot do what is asked, or the file holds something else.
    """
    if real is None or not real.lower().endswith(".npz"):
        return None
    if data is not None or floor:
        raise GANError("--real is a file of statistics: leave out --data, and --floor.")
    if needs_n:
        raise GANError(f"'{real}' does not say of how many images it is: pass the number of samples as --n.")
    return read_statistics(real)


def noted_data(run: Path | None) -> GANDataModule:
    """Return the datamodule named in the config.yaml of a run's folder, if it is one of this library's.

    Raises:
        GANError: If there is no such file, or it names something else.
    """
    if run is None:
        raise GANError(f"There are no real samples to compare with: {OTHERWISE}.")
    file = run / CONFIG
    try:
        noted = yaml.safe_load(file.read_text())["data"]
        path, arguments = str(noted["class_path"]), dict(noted.get("init_args") or {})
    except (OSError, KeyError, TypeError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise GANError(f"No config.yaml in '{run}' names the data: {OTHERWISE}.") from error
    package, _, name = path.rpartition(".")
    kind = getattr(datamodules, name, None) if package.partition(".")[0] in ("", "datamodules") else None
    if not inspect.isclass(kind) or not issubclass(kind, GANDataModule) or inspect.isabstract(kind):
        raise GANError(f"'{file}' names the data {path}, which is no datamodule of this library's: {OTHERWISE}.")
    try:
        found: GANDataModule = kind(**arguments)
    except TypeError as error:
        raise GANError(f"'{file}' notes arguments that {name} does not take ({error}): {OTHERWISE}.") from error
    return found
