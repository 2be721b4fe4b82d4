"""Where a command writes to, looked at before its work is done, so that none is lost."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryFile

from gan_modules.errors import GANError


def check_file(file: Path, argument: str = "out") -> None:
    """See that a file can be written; nothing is left behind.

    Args:
        file: The file.
        argument: What it was passed as.

    Raises:
        GANError: If it is a folder, may not be overwritten, or lies where nothing can be written.
    """
    if file.is_dir():
        raise GANError(f"'{file}' is a folder: pass a file's name as --{argument}.")
    check_folder(file.parent, argument)
    if file.exists() and not os.access(file, os.W_OK):
        raise GANError(f"'{file}' may not be overwritten: pass another --{argument}.")


def check_folder(folder: Path, argument: str = "out") -> None:
    """See that files can be written to a folder, which need not be there yet; nothing is left behind.

    Args:
        folder: The folder.
        argument: What it was passed as.

    Raises:
        GANError: If a file is in its place or on the way to it, or it cannot be made or written to.
    """
    nearest = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not nearest.is_dir():
        raise GANError(f"'{nearest}' is no folder, so nothing can be written to it: pass another --{argument}.")
    try:
        with TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise GANError(
            f"Nothing can be written to '{nearest}' ({error.strerror}): pass another --{argument}."
        ) from error
