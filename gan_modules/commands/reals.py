"""The real images of a command: a folder's, a datamodule's, or those that a run was trained on."""

from __future__ import annotations

import inspect
from pathlib import Path

import yaml

import datamodules
from datamodules import GANDataModule
from gan_modules.commands.images import DataPart, ImagePlace, ImageSet
from gan_modules.errors import GANError

OTHERWISE = "pass --data, or a folder as --real"


def real_images(
    real: str | None, data: GANDataModule | None, split: str, floor: bool, run: Path | None, channels: int | None
) -> tuple[ImageSet, ImageSet | None]:
    """The real images, and the datamodule's other ones where they are wanted.

    Args:
        real: Folder or zip file.
        data: In place of it.
        split: Which of the datamodule's images.
        floor: Whether its other images are wanted.
        run: In place of both, the folder of a run.
        channels: Those of a folder's images.

    Raises:
        GANError: If there are none, or none of one kind.
    """
    if real is not None:
        if data is not None or floor:
            raise GANError("--real is a folder without other parts: leave out --data, and --floor.")
        return ImagePlace(real, channels), None
    data = data or noted_data(run)
    if "target_shape" in data.spec or "image_shape" not in data.spec:
        raise GANError(f"{type(data).__name__} holds no images of one kind: choose other --data, or pass --real.")
    return DataPart(data, split), DataPart(data, "val" if split == "train" else "train") if floor else None


def noted_data(run: Path | None) -> GANDataModule:
    """The datamodule that the command line noted in a run's folder; nothing but this library's own is made of a note.

    Raises:
        GANError: If there is no such note, or it names something else.
    """
    if run is None:
        raise GANError(f"There are no real images to compare with: {OTHERWISE}.")
    file = run / "config.yaml"
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
