"""What hides this library's data: another module of that name, found first."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

NAME = "datamodules"
OURS = Path(__file__).resolve().parent.parent / NAME


def hidden_data() -> str | None:
    """Return one sentence if Python finds another `datamodules` than this library's, else `None`; import neither."""
    try:
        found = find_spec(NAME)
    except (ImportError, ValueError):  # one that was made by hand says nothing
        return None
    place = _place(found)
    if place is None or place == OURS or not OURS.is_dir():
        return None
    return (
        f"Python finds '{place}' as {NAME}, which hides this library's own in '{OURS}', so that none of those can "
        f"be imported: give that {'folder' if place.is_dir() else 'file'} another name."
    )


def _place(spec: ModuleSpec | None) -> Path | None:
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    found = folders[0] if folders else spec.origin
    return None if found is None else Path(found).resolve()
