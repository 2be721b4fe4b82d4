import runpy
from pathlib import Path

import pytest
import torch

import gan_modules.metrics
from datamodules import DigitsDataModule
from gan_modules.errors import GANError
from gan_modules.metrics import ClassifierFeatures

SCRIPT = Path(__file__).parents[2] / "examples" / "train_classifier.py"


def test_the_script_trains_saves_and_repeats_itself(tmp_path, capsys):
    main = runpy.run_path(str(SCRIPT))["main"]
    for name in ("one", "two"):
        data = DigitsDataModule(image_size=8)
        main(data, tmp_path / f"{name}.safetensors", "tiny", widths=(16, 16), num_features=12, epochs=5)
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    features = ClassifierFeatures(tmp_path / "one.safetensors")
    images, labels = next(iter(DigitsDataModule(image_size=8, batch_size=359).val_dataloader()))
    accuracy = (features.classify(images).argmax(1) == labels).float().mean().item()
    assert features(images).shape == (359, 12)
    assert accuracy > 0.85
    assert f"held-out accuracy {accuracy:.2%} of 359" in capsys.readouterr().out
    assert torch.isfinite(features(images)).all()


def test_without_arguments_it_writes_to_the_working_directory(tmp_path, monkeypatch):
    """The bundled classifier stays what all scores by it were made with."""
    main = runpy.run_path(str(SCRIPT))["main"]
    bundled = Path(gan_modules.metrics.__file__).parent / "digits.safetensors"
    before = bundled.read_bytes()
    monkeypatch.chdir(tmp_path)
    main(epochs=1)
    assert bundled.read_bytes() == before
    written = Path("digits.safetensors").read_bytes()
    assert written != before
    with pytest.raises(GANError, match=r"'digits.safetensors' exists: name another file by --out"):
        main(epochs=1)
    assert Path("digits.safetensors").read_bytes() == written
