"""How long it takes to begin: imports, the command line, the first step; and how much memory each takes.

It runs as a small process of its own, since Linux counts the memory of the process that starts another as the other's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
FIT = "fit --config examples/configs/dcgan_digits.yaml --trainer.max_steps 1 --trainer.limit_val_batches 0"
COMMANDS = {
    "import torch": ["-c", "import torch"],
    "import lightning.pytorch": ["-c", "import lightning.pytorch"],
    "import gan_modules": ["-c", "import gan_modules"],
    "from gan_modules import DCGAN": ["-c", "from gan_modules import DCGAN"],
    "gan-modules --help": ["-m", "gan_modules", "--help"],
    "gan-modules fit, one step of DCGAN on digits, checkpoint": ["-m", "gan_modules", *FIT.split()],
}


def main(runs: int) -> None:
    """Run each command some times, in turn, and print the seconds and the most megabytes of each."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    megabytes = dict.fromkeys(COMMANDS, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        for run in range(runs + 1):
            for name, command in COMMANDS.items():
                place = ["--trainer.logger.save_dir", folder] if "fit" in command else []
                began = time.perf_counter()
                process = subprocess.Popen(
                    [sys.executable, *command, *place],
                    cwd=ROOT,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                _, status, used = os.wait4(process.pid, 0)
                taken = time.perf_counter() - began
                process.returncode = os.waitstatus_to_exitcode(status)
                if process.returncode:
                    raise RuntimeError(f"'{name}' ended with status {process.returncode}.")
                if run:  # after the first, all files are in the system's memory
                    seconds[name].append(taken)
                megabytes[name] = max(megabytes[name], used.ru_maxrss / 1024)
    print(json.dumps({"seconds": seconds, "megabytes": megabytes}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
