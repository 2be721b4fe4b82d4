"""All comparisons by name, the table of their results, and the page that shows it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from examples.benchmarks import ablations, games, loading, peers
from examples.benchmarks.pairs import Comparison, Measured, middle, ratios

Spread = tuple[float, float, float]  # the median, and the ends of the middle half

AS_IS, KEPT = "as it is", "kept"  # what becomes of freed memory on all sides; see gan_modules/engine/allocator.py
START_UP = "start_up"
DIGITS = 8  # significant ones that the table keeps


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
        "The ratio is of images a second. A step is one pass over the images.",
        {"data": loading.without_workers, "data_workers": loading.with_workers},
    ),
]


@dataclass(frozen=True)
class Result:
    """A line of the table: what is kept of one comparison.

    Attributes:
        name: Of the comparison.
        memory: What became of freed memory.
        section: Title of its section.
        about: What both sides do, and what differs.
        against: For each side but the first, the name of the one that it is measured by.
        units: How many of what is counted (images, say) a step is worth.
        pairs: Blocks of steps that each side was timed for.
        seconds: Of a step, by side.
        ratios: Of each side to the one that it is measured by, pair by pair.
        megabytes: The most memory that each side's process has held.
        command: That measured it.
        setting: Commit, machine and versions.
    """

    name: str
    memory: str
    section: str
    about: str
    against: Mapping[str, str]
    units: float
    pairs: int
    seconds: Mapping[str, Spread]
    ratios: Mapping[str, Spread]
    megabytes: Mapping[str, float]
    command: str
    setting: str

    @property
    def key(self) -> str:
        """The comparison with its way with freed memory."""
        return f"{self.name}, {self.memory}" if self.memory else self.name


def summary(
    measured: Measured,
    command: str,
    setting: str,
    *,
    name: str,
    memory: str = "",
    section: Section | None = None,
    comparison: Comparison | None = None,
) -> Result:
    """Return what the table keeps of a measurement: medians and quartiles instead of the samples."""
    against = {} if comparison is None else comparison.against
    faster = section is None or section.speed
    ratio_of = {
        side: ratios(measured, other, side) if faster else ratios(measured, side, other)
        for side, other in against.items()
    }
    return Result(
        name=name,
        memory=memory,
        section="" if section is None else section.title,
        about="" if comparison is None else comparison.about,
        against=against,
        units=0.0 if comparison is None else comparison.units,
        pairs=len(next(iter(measured.seconds.values()))),
        seconds={side: _rounded(middle(taken)) for side, taken in measured.seconds.items()},
        ratios={side: _rounded(middle(values)) for side, values in ratio_of.items()},
        megabytes={side: round(value, 3) for side, value in measured.megabytes.items()},
        command=command,
        setting=setting,
    )


def read_table(path: Path) -> dict[str, Result]:
    """Return the results by key; none where there is no file."""
    if not path.exists():
        return {}
    results = [Result(**json.loads(line)) for line in path.read_text().splitlines()]
    return {result.key: result for result in results}


def write_table(table: Mapping[str, Result], path: Path) -> None:
    """Write one line a result."""
    partial_path = path.with_suffix(".partial")
    partial_path.write_text("".join(json.dumps(asdict(result)) + "\n" for result in table.values()))
    partial_path.replace(path)


def page(table: Mapping[str, Result]) -> str:
    """Return the page of all that has been measured."""
    lines = ["# Measured", "", "Medians over alternating pairs of blocks of steps, in brackets the middle half. MB is"]
    lines += ["the most memory that a side's process held. Made by"]
    lines += ["", "```bash", *dict.fromkeys(result.command for result in table.values()), "```", "", "on", ""]
    lines += [f"- {setting}" for setting in dict.fromkeys(result.setting for result in table.values())]
    for section in SECTIONS:
        results = [result for result in table.values() if result.section == section.title]
        if results:
            lines += ["", f"## {section.title}", "", section.reads, ""]
            lines += ["| | | freed memory | ratio | ms a step | MB |", "|---|---|---|---|---|---|"]
            lines += [row for result in results for row in _rows(result)]
            lines += ["", *dict.fromkeys(f"- `{result.name}`: {result.about}." for result in results)]
    if START_UP in table:
        result = table[START_UP]
        lines += ["", "## Start-up", "", "| | seconds | MB |", "|---|---|---|"]
        lines += [
            f"| {name} | {_shown(taken)} | {result.megabytes[name]:.0f} |" for name, taken in result.seconds.items()
        ]
    return "\n".join(lines) + "\n"


def _rows(result: Result) -> Iterator[str]:
    for side, against in result.against.items():
        pair = (side, against)
        times = [f"{result.seconds[one][0] * 1000:.4g}" for one in pair]
        if result.units:
            rates = [result.units / result.seconds[one][0] for one in pair]
            times = [f"{time} ({rate:,.0f} images/s)" for time, rate in zip(times, rates, strict=True)]
        megabytes = [f"{result.megabytes[one]:.0f}" for one in pair]
        cells = [f"`{result.name}`", " / ".join(pair), result.memory, _shown(result.ratios[side])]
        yield f"| {' | '.join([*cells, ' / '.join(times), ' / '.join(megabytes)])} |"


def _rounded(spread: Spread) -> Spread:
    median, low, high = (float(f"{value:.{DIGITS}g}") for value in spread)
    return median, low, high


def _shown(spread: Spread) -> str:
    median, low, high = spread
    return f"**{median:.3f}** ({low:.3f} to {high:.3f})"
