"""One table of how fast this library is, beside loops written by hand, other libraries and torchvision.

    python -m examples.benchmarks.run                            # everything that the results do not have yet
    python -m examples.benchmarks.run dcgan torchgan --quick     # these two again, roughly
    python -m examples.benchmarks.run --list

Each comparison runs its sides in processes of their own, alternating, on the same networks, batches and settings. Most
run twice: freed memory is given back to the system, or kept, alike on all sides. Each result goes at once to a line of
table.jsonl in the folder of the results, so that an interrupted run goes on where it was; README.md beside it is made
from that file. The samples behind the medians go to the folder samples, which git ignores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import distributions, version
from pathlib import Path

import torch

from examples.benchmarks import pairs, peers, starting
from examples.benchmarks.pairs import Measured, middle
from examples.benchmarks.table import (
    AS_IS,
    KEPT,
    SECTIONS,
    START_UP,
    Section,
    page,
    read_table,
    summary,
    write_table,
)
from gan_modules.engine.checks import processor_in_words

PACKAGES = ("torch", "torchvision", "lightning", "numpy", "pillow")


def main() -> None:
    known = [name for section in SECTIONS for name in section.finds] + [START_UP]
    arguments = parse(known)
    os.environ[peers.FOLDER] = str(arguments.peers.resolve())
    samples = arguments.out / "samples"
    samples.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "table.jsonl"
    table = read_table(path)
    for name in arguments.names or known:
        section = next((section for section in SECTIONS if name in section.finds), None)
        for memory, measure in measurements(name, section, arguments).items():
            key = f"{name}, {memory}" if memory else name
            if key in table and not arguments.names:
                continue
            if section is not None and section.of_peers and not arguments.peers.is_dir():
                said(key, f"left out: there is no {arguments.peers}, see {peers.__file__}", "\n")
                continue
            measured = measure(said=partial(said, key))
            command = shlex.join(["python", "-m", "examples.benchmarks.run", *sys.argv[1:]])
            (samples / f"{key}.json").write_text(json.dumps(vars(measured)))
            found = None if section is None else section.finds[name]()
            table[key] = summary(
                measured, command, setting(arguments), name=name, memory=memory, section=section, comparison=found
            )
            write_table(table, path)
            (arguments.out / "README.md").write_text(page(table))
            figures = (f"{side} {middle(taken)[0]:.4g} s" for side, taken in measured.seconds.items())
            said(key, ", ".join(figures), "\n")


def parse(known: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="comparisons to make again; default: all still missing"
    )
    parser.add_argument("--pairs", type=int, default=40, help="blocks of steps that each side takes")
    parser.add_argument("--seconds", type=float, default=0.5, help="about how long a block lasts")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="that torch uses on each side")
    parser.add_argument("--peers", type=Path, default="build/peers", help="where the other libraries are installed")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder of the results")
    parser.add_argument("--quick", action="store_true", help="three pairs of short blocks: a try, not a measurement")
    parser.add_argument("--list", action="store_true", help="name the comparisons and stop")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(known))
        sys.exit()
    if unknown := [name for name in arguments.names if name not in known]:
        parser.error(f"there is no {unknown[0]}; there are {' '.join(known)}")
    if chosen := [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES", "GAN_MODULES_MALLOC"))]:
        parser.error(f"{chosen[0]} is set, and memory is to be as it is on some sides and kept on others: unset it")
    if arguments.quick:
        arguments.pairs, arguments.seconds = 3, 0.3
        arguments.out = Path(tempfile.mkdtemp(prefix="quick_"))  # a try is not to take the place of a measurement
        print(f"what comes of it is in {arguments.out}")
    return arguments


def measurements(
    name: str, section: Section | None, arguments: argparse.Namespace
) -> dict[str, Callable[..., Measured]]:
    """Return what there is to measure under a name, by what becomes of freed memory."""
    if section is None:
        return {"": partial(start_up, min(arguments.pairs, 5))}
    settings = {"pairs": arguments.pairs, "seconds": arguments.seconds, "threads": arguments.threads}
    return {
        memory: partial(pairs.measure, section.finds[name], keep=memory == KEPT, **settings)
        for memory in section.memory
        if memory == AS_IS or not torch.cuda.is_available()  # where there is a GPU, nothing is kept
    }


def start_up(runs: int, said: Callable[[str], None]) -> Measured:
    """See `starting`."""
    said(f"{runs + 1} runs of each command")
    done = subprocess.run([sys.executable, starting.__file__, str(runs)], stdout=subprocess.PIPE, check=True)
    return Measured(**json.loads(done.stdout))


def setting(arguments: argparse.Namespace) -> str:
    """The machine and the versions."""
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    else:
        with open("/proc/cpuinfo") as lines:
            device = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "a CPU")
        device = f"{device} ({processor_in_words()})"
    libraries = {name: version(name) for name in PACKAGES}
    libraries |= {found.name: found.version for found in distributions(path=[str(arguments.peers)])}
    listed = ", ".join(f"{name} {number}" for name, number in libraries.items())
    return (
        f"commit {commit()}, {device}, {os.cpu_count()} cores, {arguments.threads} threads, "
        f"{' '.join(platform.libc_ver())}, Python {platform.python_version()}, {listed}"
    )


def commit() -> str:
    """The commit that is measured, "-dirty" where anything but the results has been changed since."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], stdout=subprocess.PIPE, text=True).stdout.strip()

    results = Path(__file__).parent / "results"
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", f":(exclude){results}")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("-dirty" if changed else "")


def said(key: str, what: str, end: str = "") -> None:
    """Show how far it is, on one line."""
    print(f"\r\033[K{key}: {what}", end=end, flush=True)


if __name__ == "__main__":
    main()
