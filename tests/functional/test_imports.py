"""The pure packages load without Lightning."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("package", ["gan_modules.functional", "gan_modules.networks"])
def test_import_leaves_lightning_alone(package):
    code = f"import sys, {package}; print(*[name for name in sys.modules if 'lightning' in name])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
