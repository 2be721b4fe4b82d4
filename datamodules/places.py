"""Where images lie: a folder, or a zip file that is read without unpacking it."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from typing import IO, Any

from .base import DataError
from .image_files import SUFFIXES, choose_images, list_images, open_plain
from .printed import legible

LABELS = "dataset.json"  # of NVIDIA's dataset_tool


class ZipArchive:
    """The files of a zip file; each process opens it for itself.

    Args:
        path: The zip file.

    Raises:
        DataError: If it is damaged; from `open`, if a file in it is, or is encrypted.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._opened: tuple[int, zipfile.ZipFile] | None = None  # and by which process
        try:
            self.names = [info.filename for info in self._file().infolist() if not info.is_dir()]
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"'{legible(path)}' is a damaged zip file ({error}): pack it again.") from error

    def open(self, name: str) -> IO[bytes]:
        """Return an open file of the archive."""
        try:
            return self._file().open(name)
        # encrypted, packed in an unknown way, damaged, not there
        except (RuntimeError, NotImplementedError, zipfile.BadZipFile, KeyError, OSError) as error:
            raise DataError(f"Cannot read {legible(name)} in {legible(self.path)} ({error}): pack it again.") from error

    def stamp(self, name: str) -> tuple[int, int]:
        """Return the file's size and checksum."""
        info = self._file().getinfo(name)
        return info.file_size, info.CRC

    def __getstate__(self) -> dict[str, Any]:
        """Return everything but the open file, which belongs to this process."""
        return self.__dict__ | {"_opened": None}

    def _file(self) -> zipfile.ZipFile:
        # a process that was forked shares its parent's position in an open file
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), zipfile.ZipFile(self.path)
        return self._opened[1]


class Place:
    """The images of a folder or a zip file.

    Attributes:
        path: The folder or zip file.
        archive: The zip file; `None` for a folder.
        names: The images, sorted, relative to the place, with forward slashes.

    Raises:
        DataError: If there is no such place, it is damaged, or there is no image in it.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.expanduser(path)
        self.archive: ZipArchive | None = None
        if os.path.isdir(self.path):
            self.names = list_images(self.path)
        elif zipfile.is_zipfile(self.path):
            self.archive = ZipArchive(self.path)
            shown = [name for name in self.archive.names if not _is_hidden(name)]
            self.names = choose_images(self.path, shown, self.archive.open)
        else:
            raise DataError(f"'{legible(path)}' is neither a folder nor a zip file: pass one with images.")
        if not self.names:
            raise DataError(f"'{legible(path)}' holds no image: put some there ({' '.join(SUFFIXES)}).")

    def open(self, name: str) -> IO[bytes]:
        """Return an open file of the place."""
        return open_plain(os.path.join(self.path, name)) if self.archive is None else self.archive.open(name)

    def paths(self, names: Sequence[str]) -> list[str]:
        """Return the images as `ImageFiles` opens them: paths of a folder's, names of an archive's."""
        return [os.path.join(self.path, name) for name in names] if self.archive is None else list(names)

    def labels(self) -> dict[str, int] | None:
        """Return the class of each image, as dataset.json has it; none where it has none, `None` without that file.

        Raises:
            DataError: If the file is damaged, holds no class indices, or leaves an image out.
        """
        file = os.path.join(self.path, LABELS)
        if not (os.path.isfile(file) if self.archive is None else LABELS in self.archive.names):
            return None
        try:
            with self.open(LABELS) as opened:
                noted = json.load(opened)["labels"]
            labels: dict[str, Any] = dict(noted or ())
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"The labels in {legible(file)} cannot be read ({error!r}): write it again.") from error
        if not labels:
            return {}
        labels = {name.replace("\\", "/"): label for name, label in labels.items()}
        classes = {name: _class_index(label) for name, label in labels.items()}
        strange = next((name for name, label in classes.items() if label is None), None)
        if strange is not None:
            raise DataError(
                f"{legible(file)} labels {legible(strange)} by {labels[strange]!r}, which is no class index: number "
                f"the classes from 0."
            )
        missing = next((name for name in self.names if name not in classes), None)
        if missing is not None:
            raise DataError(f"{legible(file)} has no label for {legible(missing)}: add it, or remove the image.")
        return {name: label for name in self.names if (label := classes[name]) is not None}


def _class_index(label: Any) -> int | None:
    """Return the class of a number, or of numbers of which one is 1 and all others are 0."""
    if isinstance(label, list) and len(label) > 1 and sorted(label) == [0] * (len(label) - 1) + [1]:
        return label.index(1)
    return label if type(label) is int and label >= 0 else None


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
