"""Names of classes: from the data to the model, through every file, back to samples of a name."""

import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

from datamodules import FashionMNISTDataModule, ImageFolderDataModule
from gan_modules import CGAN, DCGAN, GAN, GANError


def animals(folder, names):
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (8, 8), number).save(folder / name / f"{number}.png")
    size = {"image_size": 8, "channels": 1, "batch_size": 4, "num_workers": 0}
    return ImageFolderDataModule(str(folder), num_classes=len(names), **size)


def model():
    return CGAN(image_shape=(1, 8, 8), num_classes=3, latent_dim=4, hidden_dim=8)


def trainer(folder, **options):
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    return Trainer(accelerator="cpu", default_root_dir=folder, **({"max_steps": 1} | quiet | options))


@pytest.fixture
def trained(tmp_path):
    run, game = trainer(tmp_path), model()
    run.fit(game, animals(tmp_path / "animals", ["cat 10", "cat 2", "dog"]))
    run.save_checkpoint(tmp_path / "last.ckpt")
    game.save_pretrained(tmp_path / "pretrained")
    return game


def test_names_come_through_every_file(trained, tmp_path):
    for game in (
        trained,
        GAN.load_from_checkpoint(tmp_path / "last.ckpt"),
        GAN.from_pretrained(tmp_path / "pretrained"),
    ):
        assert game.classes == ("cat 2", "cat 10", "dog")
        numbers = game.sample(2, labels=[2, 1], seed=0)
        assert torch.equal(game.sample(2, labels=["dog", "cat 10"], seed=0), numbers)
        assert torch.equal(game.sample(2, labels="dog, cat 10", seed=0), numbers)
        assert torch.equal(game.sample(2, labels="2,1", seed=0), numbers)
        assert torch.equal(game.sample(2, labels="dog", seed=0), game.sample(2, labels=2, seed=0))
        with pytest.raises(GANError, match="There is no class 'dgo', did you mean 'dog'"):
            game.sample(1, labels="dgo")


def test_other_classes_are_refused_on_every_way_back(trained, tmp_path):
    others = animals(tmp_path / "others", ["ant", "bee", "cat"])
    with pytest.raises(GANError, match=r"classes are cat 2, cat 10, dog, and those of ImageFolder.* are ant, bee, cat"):
        trainer(tmp_path).fit(trained, others)
    with pytest.raises(GANError, match="classes are ant, bee, cat, and those of the checkpoint are cat 2, cat 10, dog"):
        trainer(tmp_path, max_steps=2).fit(model(), others, ckpt_path=tmp_path / "last.ckpt")
    trained.classes = ()
    trainer(tmp_path).fit(trained, others)
    assert trained.classes == ("ant", "bee", "cat")


def test_old_files_and_data_without_names(trained, tmp_path):
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    del checkpoint["gan_modules"]["classes"]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    game = GAN.load_from_checkpoint(tmp_path / "old.ckpt")
    assert game.classes == ()
    with pytest.raises(GANError, match="There is no class 'dog': the model's classes have no names"):
        game.sample(1, labels="dog")
    with pytest.raises(GANError, match="leave labels out"):
        DCGAN((1, 8, 8), latent_dim=4, base_channels=2).sample(1, labels="dog")


def test_published_sets_name_their_classes():
    assert FashionMNISTDataModule().classes[7] == "Sneaker"
