"""A score is a record: what was measured, how, on what, and of which model; only records alike are compared."""

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
    """Return the versions of the libraries that compute scores."""
    return {"gan_modules": gan_modules.__version__} | {name: version(name) for name in ("torch", "torchmetrics")}


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number, and all that it takes to interpret it.

    Attributes:
        metric: Its name: ``fid``, ``precision``.
        value: The number.
        std: Standard deviation over the metric's own subsets or splits; `None` without them.
        higher_is_better: Whether a larger value means better samples.
        network: Name of the feature network; empty where the metric uses none.
        sha256: Hash of the network's weights.
        resizer: How images reached the network's size.
        settings: The metric's own parameters.
        reals: What the reals are, such as ``DigitsDataModule``; empty where the metric needs none.
        split: Their split: ``train``, ``val`` or ``test``; `None` where they have none.
        reals_digest: Hash of the reals, which does not depend on their order.
        n_real: Number of reals; 0 without them, or where statistics stand for them, which do not say it.
        n_fake: Number of samples that are scored.
        fakes: Where these come from: a checkpoint, a folder, a class.
        seed: Seed of their latents.
        weights: ``ema`` for samples of the averaged generator, ``raw`` for the trained one; `None` if unknown.
        truncation: Factor on the latents; `None` if unknown.
        step: Steps that the model was trained for; `None` if unknown.
        images_seen: Reals that the model has seen in training; `None` if unknown.
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
    step: int | None = None
    images_seen: int | None = None
    versions: Mapping[str, str] = field(default_factory=library_versions)

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Score:
        """Return the record of a line that `to_json` wrote.

        Raises:
            GANError: If the line is something else.
        """
        try:
            fields = json.loads(line)
            if "round" in fields:  # the name of `step` in records of the first edition
                fields["step"] = fields.pop("round")
            score = cls(**fields)
        except (AttributeError, TypeError, ValueError) as error:
            raise GANError(f"This is no record of a score ({error}): {line[:80]!r}.") from error
        if not isinstance(score.value, int | float) or not isinstance(score.metric, str):
            raise GANError(f"This is no record of a score: {line[:80]!r}.")
        return score

    def better_than(self, other: Score) -> bool:
        """Return whether this score is the better one.

        Raises:
            GANError: If the two do not compare.
        """
        difference = compare(self, other)
        return difference > 0 if self.higher_is_better else difference < 0


def compare(score: Score, other: Score) -> float:
    """Return the difference of two scores of the same protocol.

    The seed, the model, its training and the libraries' versions may differ. What is unknown of one score, such as the
    truncation of a folder of images, does not count as a difference.

    Raises:
        GANError: If their protocols differ; the message names each difference.
    """
    if differences := protocol_differences(score, other):
        raise GANError(f"These scores do not compare: they differ in {', '.join(differences)}; score both alike.")
    return score.value - other.value


def protocol_differences(score: Score, other: Score) -> list[str]:
    """Return the fields in which the protocols of two scores differ, each with both values."""
    pairs = {name: (getattr(score, name), getattr(other, name)) for name in PROTOCOL}
    return [f"{name} ({a} and {b})" for name, (a, b) in pairs.items() if a != b and a is not None and b is not None]


class Spread(NamedTuple):
    """Mean and sample standard deviation of `n` scores: `None` for a single score, NaN if one is infinite."""

    mean: float
    std: float | None
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.4g}" if self.std is None else f"{self.mean:.4g} ± {self.std:.2g}"


def spread(scores: Sequence[Score]) -> Spread:
    """Return mean ± standard deviation over seeds or runs.

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
    """Return the best of comparable scores, the earliest of equals; NaN only where there is nothing else.

    Raises:
        GANError: If there are none, or two do not compare.
    """
    found, *others = _some(scores)
    for score in others:
        if score.better_than(found) or (math.isnan(found.value) and not math.isnan(score.value)):
            found = score
    return found


def last(scores: Iterable[Score]) -> Score:
    """Return the score of the longest training.

    Raises:
        GANError: If there are none.
    """
    return max(_some(scores), key=lambda score: score.step or 0)


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
    """Return the records of a file, without lines that a kill cut short.

    Raises:
        GANError: If there is no such file, or a complete line is something else.
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
