"""A module of the user's that is called like this library's data."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def python(folder, *words):
    """Run Python in a folder, whose modules come first, then this library's."""
    paths = f"{folder}:{ROOT}"
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={"PYTHONPATH": paths, "HOME": str(folder)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("mine", ["datamodules/__init__.py", "datamodules.py"])
def test_what_hides_the_data_is_named_with_both_places(tmp_path, mine):
    (tmp_path / mine).parent.mkdir(exist_ok=True)
    (tmp_path / mine).write_text("class MyData: pass\n")
    hiding = tmp_path / ("datamodules" if "/" in mine else "datamodules.py")
    (tmp_path / "train.py").write_text("import gan_modules\nfrom datamodules import CelebADataModule\n")
    said = python(tmp_path, "train.py").stderr
    assert f"Python finds '{hiding}' as datamodules, which hides this library's own in '{ROOT / 'datamodules'}'" in said
    assert "another name" in said
    assert "ImportError" in said  # Python's own, after ours
    done = python(tmp_path, "-m", "gan_modules", "sample", "--ckpt_path", "x.ckpt")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"error: Python finds '{hiding}' as datamodules")


def test_nothing_is_said_where_ours_is_found(tmp_path):
    (tmp_path / "datamodules").mkdir()  # a folder without __init__.py gives way to a package
    done = python(tmp_path, "-W", "error", "-c", "import gan_modules, datamodules; print(datamodules.__file__)")
    assert done.stderr == ""
    assert done.stdout.strip() == str(ROOT / "datamodules" / "__init__.py")
