"""Scores as a table of plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gan_modules.scoring.record import Score, spread


@dataclass
class Row:
    """A row of the table: one checkpoint or set of images.

    Attributes:
        label: Its name.
        scores: Its scores by every metric and seed.
        group: Name of the rows to average, such as the last checkpoints of several runs; empty for none.
    """

    label: str
    scores: Sequence[Score]
    group: str = ""


def table(rows: Sequence[Row]) -> str:
    """Return mean ± standard deviation over seeds for each row and metric, and below, over the rows of each group."""
    metrics = list(dict.fromkeys(score.metric for row in rows for score in row.scores))
    groups = {row.group: [other for other in rows if other.group == row.group] for row in rows if row.group}
    means = [_mean_of(name, members) for name, members in groups.items() if len(members) > 1]
    lines = [["", *metrics]]
    for row in [*rows, *means]:
        lines.append([row.label, *(_cell([score for score in row.scores if score.metric == name]) for name in metrics)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [[line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines]
    return "\n".join("  ".join(cells).rstrip() for cells in aligned)


def _cell(scores: Sequence[Score]) -> str:
    return str(spread(scores)) if scores else ""


def _mean_of(name: str, rows: Sequence[Row]) -> Row:
    """Return a row with each run's mean over seeds as one score, so that the deviation is that of the runs."""
    scores = []
    for row in rows:
        for metric in dict.fromkeys(score.metric for score in row.scores):
            of_seeds = [score for score in row.scores if score.metric == metric]
            scores.append(replace(of_seeds[0], value=spread(of_seeds).mean))
    return Row(f"{name}, {len(rows)} runs", scores)
