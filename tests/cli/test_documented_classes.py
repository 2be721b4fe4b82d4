"""The classes of docs/adding_a_model.md on the command line, on data with labels."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "adding_a_model.md").read_text("utf-8"), re.DOTALL)
START = [sys.executable, "-c", "import sys; from gan_modules.cli import main; main()"]
FEW = ["--trainer.max_steps=1", "--trainer.limit_val_batches=0", "--trainer.accelerator=cpu"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "labels"), [("LSGAN", 0), ("ACGAN", 10), ("BiGAN", 0)])
def test_from_fit_to_picture(name, labels, tmp_path):
    """A model takes the labels of its data only where it says so, and the printed command draws from it."""
    (tmp_path / "docmine.py").write_text("\n".join(BLOCKS), "utf-8")
    options = {"cwd": tmp_path, "env": os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}}
    options |= {"capture_output": True, "text": True}
    fit = subprocess.run([*START, "fit", f"--model=docmine.{name}", "--data=DigitsDataModule", *FEW], **options)
    assert fit.returncode == 0, fit.stderr
    (printed,) = [line for line in fit.stdout.splitlines() if line.startswith("gan-modules sample")]
    asked = ["--labels=3"] if labels else []
    done = subprocess.run([*START, *printed.split()[1:], *asked], **options)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "grid.png").is_file()
    if not labels:
        refused = subprocess.run([*START, *printed.split()[1:], "--labels=3"], **options)
        assert refused.returncode == 2
        assert "leave labels out" in refused.stderr
