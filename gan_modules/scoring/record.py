"""A score is a record: what was measured, how, on what, and of which model; unlike records are not compared."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import gan_modules
from gan_modules.errors import GANError

PROTOCOL = (
    "metric",
    "network",
    "sha256",
    "resizer",
    "settings",
    "reals_digest",
    "n_real",
    "n_fake",
    "weights",
    "truncation",
)


def library_versions() -> dict[str, str]:
    """The versions of what a score is computed with."""
    return {"gan_modules": gan_modules.__version__} | {name: version(name) for name in ("torch", "torchmetrics")}


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number, and all that it takes to know what it says.

    Attributes:
        metric: Its name: ``fid``, ``precision``.
        value: The number.
        std: Its standard deviation over the metric's own subsets or splits, where it has such.
        higher_is_better: Whether it grows as samples improve.
        network: Name of the feature network; empty where the metric looks at the images themselves.
        sha256: Hash of the network's weights.
        resizer: How images reached the network's size.
        settings: The metric's own parameters.
        reals: What the reals are, such as ``DigitsDataModule``; empty where the metric needs none.
        split: Which part of them: ``train``, ``val`` or ``test``, where they have parts.
        reals_digest: Hash of the reals' pixels, whatever their order.
        n_real: How many there are.
        n_fake: How many images are scored.
        fakes: Where those come from: a checkpoint, a folder, a class.
        seed: Seed of their latents.
        weights: Whether the averaged (``ema``) or the trained (``raw``) generator made them; `None` if unknown.
        truncation: Factor on the latents; `None` if unknown.
        round: Rounds that the model was trained for; `None` if unknown.
        images_seen: Reals that it has seen in training; `None` if unknown.
        versions: Of the libraries.
    """

    metric: str
    value: float
    std: float | None = None
    higher_is_better: bool
    network: str = ""
    sha256: str = ""
    resizer: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    reals: str = ""
    split: str | None = None
    reals_digest: str = ""
    n_real: int = 0
    n_fake: int
    fakes: str
    seed: int | None = None
    weights: Literal["ema", "raw"] | None = None
    truncation: float | None = None
    round: int | None = None
    images_seen: int | None = None
    versions: Mapping[str, str] = field(default_factory=library_versions)

    def to_json(self) -> str:
        """The record as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Score:
        """The record of a line that `to_json` wrote.

        Raises:
            GANError: If it is something else.
        """
        try:
            score = cls(**json.loads(line))
        except (TypeError, ValueError) as error:
            raise GANError(f"This is no record of a score ({error}): {line[:80]!r}.") from error
        if not isinstance(score.value, int | float) or not isinstance(score.metric, str):
            raise GANError(f"This is no record of a score: {line[:80]!r}.")
        return score

    def better_than(self, other: Score) -> bool:
        """Whether this score is the better one.

        Raises:
            GANError: If the two do not compare.
        """
        difference = compare(self, other)
        return difference > 0 if self.higher_is_better else difference < 0


def compare(score: Score, other: Score) -> float:
    """How much greater one score is than another of the same protocol.

    The seed, the model, how long it was trained, and the libraries' versions may differ; what is unknown of one of
    them (the truncation of a folder of images) contradicts nothing.

    Raises:
        GANError: If their protocols differ; it names each difference.
    """
    if differences := unlike(score, other):
        raise GANError(f"These scores do not compare, for they differ in {', '.join(differences)}: score both alike.")
    return score.value - other.value


def unlike(score: Score, other: Score) -> list[str]:
    """Where the protocols of two scores differ, each with both sides."""
    pairs = {name: (getattr(score, name), getattr(other, name)) for name in PROTOCOL}
    return [f"{name} ({a} and {b})" for name, (a, b) in pairs.items() if a != b and a is not None and b is not None]


class Spread(NamedTuple):
    """Mean and standard deviation of `n` scores: that of a sample; `None` of a single score, NaN if one is infinite."""

    mean: float
    std: float | None
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.4g}" if self.std is None else f"{self.mean:.4g} ± {self.std:.2g}"


def spread(scores: Sequence[Score]) -> Spread:
    """Mean ± standard deviation over seeds or runs.

    Raises:
        GANError: If there are no scores, or two of them do not compare.
    """
    if not scores:
        raise GANError("There is no score to take a mean of.")
    for score in scores[1:]:
        compare(scores[0], score)
    values = [score.value for score in scores]
    std = None
    if len(values) > 1:
        std = statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan
    return Spread(statistics.fmean(values), std, len(values))


def best(scores: Iterable[Score]) -> Score:
    """The best of comparable scores, the earliest of equals; one that is not a number is never best.

    Raises:
        GANError: If there are none, or two do not compare.
    """
    found, *others = _some(scores)
    for score in others:
        if score.better_than(found) or (math.isnan(found.value) and not math.isnan(score.value)):
            found = score
    return found


def last(scores: Iterable[Score]) -> Score:
    """The score of the longest training.

    Raises:
        GANError: If there are none.
    """
    return max(_some(scores), key=lambda score: score.round or 0)


def _some(scores: Iterable[Score]) -> list[Score]:
    listed = list(scores)
    if not listed:
        raise GANError("There are no scores to choose from.")
    return listed


def append(path: Path, scores: Iterable[Score]) -> None:
    """Add records to a file of JSON lines in one write, so that a kill cuts at most the newest line.

    Raises:
        GANError: If the file cannot be written.
    """
    lines = "".join(f"{score.to_json()}\n" for score in scores).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+", buffering=0) as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                lines = lines if file.read(1) == b"\n" else b"\n" + lines  # after a line that was cut short
            if file.write(lines) < len(lines):
                raise OSError("the disk is full")
    except OSError as error:
        reason = error.strerror or error
        raise GANError(f"'{path}' could not be written ({reason}): make room or choose another place.") from error


def read(path: Path) -> list[Score]:
    """The records of a file; lines that a kill cut short are left out.

    Raises:
        GANError: If there is no such file, or a whole line is something else.
    """
    if not path.is_file():
        raise GANError(f"There are no scores at '{path}': check the path.")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [Score.from_json(line) for line in lines if _is_whole(line)]


def _is_whole(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
