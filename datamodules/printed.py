"""Names of files as every terminal can show them: a name on the disk is bytes, and need not be text."""

from __future__ import annotations

import sys
from collections.abc import Sequence

MOST = 5  # names in a sentence


def first_names(names: Sequence[str]) -> str:
    r"""Return the first names, joined by commas; bytes that are no UTF-8 and control characters are written out.

    >>> first_names(["a.png", b"caf\xe9.png".decode("utf-8", "surrogateescape")])
    'a.png, caf\\xe9.png'
    """
    return ", ".join(map(legible, names[:MOST])) + ", …" * (len(names) > MOST)


def say(sentence: str) -> None:
    """Print the sentence; what the terminal's encoding lacks is written out."""
    encoding = sys.stdout.encoding or "utf-8"
    print(sentence.encode(encoding, "backslashreplace").decode(encoding))


def legible(name: str) -> str:
    """Return the name as text that can be printed: other bytes and control characters are written out."""
    shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
