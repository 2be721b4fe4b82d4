"""Training from the command line on a folder of one's own, and what may be wrong with it."""

import pytest
from PIL import Image

QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for index in range(20):
        Image.new("RGB", (20, 16), (10 * index, 0, 0)).save(folder / f"{index:02d}.png")
    return folder


def from_folder(folder, model="DCGAN", workers=0):
    words = ["fit", f"--model={model}", "--data=ImageFolderDataModule", f"--data.folder={folder}", *QUIET]
    words += ["--data.image_size=8", "--data.batch_size=18", f"--data.num_workers={workers}", "--trainer.max_steps=2"]
    return [*words, "--trainer.limit_val_batches=0", "--model.latent_dim=4"]


def test_mistakes_with_a_folder(complaint, run, photographs, tmp_path):
    assert complaint(*from_folder("nowhere")) == "There is no folder nowhere: pass the folder of the images as folder=."
    (tmp_path / "empty").mkdir()
    assert complaint(*from_folder("empty")).startswith("'empty' holds no image: put some there (.png ")
    assert complaint(*from_folder(photographs, model="CGAN")) == (
        "CGAN needs at least one class, not num_classes=0: choose data with labels."
    )
    labelled = [*from_folder(photographs, model="CGAN"), "--data.num_classes=2"]
    assert "has 0 subfolders with images, not num_classes=2" in complaint(*labelled)
    assert "Played 2 steps" in run(*from_folder(photographs), "--model.base_channels=2")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named(workers, complaint, photographs):
    for index in range(3):  # of twenty, of which two are held out
        (photographs / f"{index:02d}.png").write_bytes(b"no picture")
    sentence = complaint(*from_folder(photographs, workers=workers), "--model.base_channels=2")
    assert sentence.startswith(f"Cannot read the image {photographs}/0")
    assert sentence.endswith("repair or remove it.")
