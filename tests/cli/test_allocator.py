import ctypes
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = (64 << 20) // resource.getpagesize()  # in a block
# The command line's own start, then 20 blocks of 64 MiB, each written to and freed before the next
USE = """
import ctypes, json, resource, sys
import torch
from gan_modules.cli import main

class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]

mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Mallinfo2
sys.argv = ["gan-modules", "configs"]
main()
mapped = mallinfo2().hblks
held = torch.ones(64 << 20, dtype=torch.uint8)
mapped = mallinfo2().hblks - mapped
del held
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(64 << 20, dtype=torch.uint8)
print(json.dumps([mapped, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults]))
"""


def blocks_mapped_and_faults(**variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", USE], cwd=ROOT, env=environment | variables, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="the C library is not glibc 2.33 or newer")
def test_the_command_line_keeps_freed_memory():
    mapped, faults = blocks_mapped_and_faults()
    assert mapped == 0
    assert faults < 3 * PAGES  # each place of memory at its first use


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="the C library is not glibc 2.33 or newer")
@pytest.mark.parametrize("variables", [{"GAN_MODULES_MALLOC": "default"}, {"MALLOC_ARENA_MAX": "4"}])
def test_but_not_where_the_environment_says_otherwise(variables):
    mapped, faults = blocks_mapped_and_faults(**variables)
    assert mapped == 1
    assert faults > 15 * PAGES
