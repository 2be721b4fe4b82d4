"""All comparisons by name, and the page that shows what came of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from examples.benchmarks import ablations, games, loading, peers
from examples.benchmarks.pairs import Comparison, Measured, middle, ratios

AS_IS, KEPT = "as it is", "kept"  # what becomes of freed memory on all sides; see gan_modules/engine/allocator.py
START_UP = "start_up"


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        title: Its heading.
        reads: What its ratios mean.
        finds: The comparisons by name.
        speed: Whether ratios are of speeds, so that more is better, or of times.
        memory: The ways with freed memory to measure in.
        of_peers: Whether other libraries have to be there.
    """

    title: str
    reads: str
    finds: dict[str, Callable[[], Comparison]]
    speed: bool = True
    memory: tuple[str, ...] = (AS_IS,)
    of_peers: bool = False


SECTIONS = [
    Section(
        "Trainer against a loop by hand",
        "The ratio is of times: 1.03 is three hundredths slower than the loop. The average is measured against Trainer "
        "without it.",
        {name: partial(games.game, name) for name in games.GAMES},
        speed=False,
        memory=(AS_IS, KEPT),
    ),
    Section(
        "Trainer against other libraries, on their networks",
        "The ratio is of speeds: 1.5 is half as fast again as they are. What differs is said in "
        "[peers.py](../peers.py).",
        {name: partial(peers.mimicry, name) for name in peers.MIMICRY}
        | {"torchgan": peers.torchgan, "stylegan2_pytorch": peers.stylegan2},
        memory=(AS_IS, KEPT),
        of_peers=True,
    ),
    Section(
        "What keeping freed memory gives, and costs",
        "The ratio is of speeds, Trainer's on both sides.",
        {f"memory_{name}": partial(games.allocator, name) for name in ("dcgan", "wgan_gp", "pix2pix", "cyclegan")},
    ),
    Section(
        "What each of the means gives",
        "The ratio is of speeds, Trainer's with the means and without it.",
        ablations.FINDS,
    ),
    Section(
        "Data",
        "The ratio is of images a second. A round is one pass over the images.",
        {"data": loading.without_workers, "data_workers": loading.with_workers},
    ),
]


def page(table: dict[str, Any]) -> str:
    """The page of all that has been measured."""
    lines = ["# Measured", "", "Medians over alternating pairs of blocks of rounds, in brackets the middle half. MB is"]
    lines += ["the most memory that a side's process held. Made by"]
    lines += ["", "```bash", *dict.fromkeys(entry["command"] for entry in table.values()), "```", "", "on", ""]
    lines += [f"- {setting}" for setting in dict.fromkeys(entry["setting"] for entry in table.values())]
    for section in SECTIONS:
        if rows := [row for name in section.finds for row in _rows(name, section, table)]:
            lines += ["", f"## {section.title}", "", section.reads, ""]
            lines += ["| | | freed memory | ratio | ms a round | MB |", "|---|---|---|---|---|---|", *rows, ""]
            lines += [f"- `{name}`: {find().about}." for name, find in section.finds.items()]
    if START_UP in table:
        entry = table[START_UP]
        lines += ["", "## Start-up", "", "| | seconds | MB |", "|---|---|---|"]
        lines += [
            f"| {name} | {_spread(taken)} | {entry['megabytes'][name]:.0f} |"
            for name, taken in entry["seconds"].items()
        ]
    return "\n".join(lines) + "\n"


def _rows(name: str, section: Section, table: dict[str, Any]) -> Iterator[str]:
    for memory in section.memory:
        if (entry := table.get(f"{name}, {memory}")) is None:
            continue
        comparison, measured = section.finds[name](), Measured(entry["seconds"], entry["megabytes"])
        for side, against in comparison.against.items():
            fast, slow = (against, side) if section.speed else (side, against)
            times = [f"{middle(measured.seconds[one])[0] * 1000:.4g}" for one in (side, against)]
            if comparison.units:
                rates = [comparison.units / middle(measured.seconds[one])[0] for one in (side, against)]
                times = [f"{time} ({rate:,.0f} images/s)" for time, rate in zip(times, rates, strict=True)]
            megabytes = [f"{measured.megabytes[one]:.0f}" for one in (side, against)]
            cells = [f"`{name}`", f"{side} / {against}", memory, _spread(ratios(measured, fast, slow))]
            yield f"| {' | '.join([*cells, ' / '.join(times), ' / '.join(megabytes)])} |"


def _spread(values: list[float]) -> str:
    median, low, high = middle(values)
    return f"**{median:.3f}** ({low:.3f} to {high:.3f})"
