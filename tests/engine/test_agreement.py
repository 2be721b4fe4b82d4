"""Model and data that disagree are refused before the first step, with the argument to pass."""

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, TensorDataset

from datamodules import DigitsDataModule, ImageDataModule, ToyDataModule
from datamodules.in_memory import InMemory
from gan_modules import CGAN, DCGAN, WGAN, GANError, VanillaGAN


class Unlabelled(ImageDataModule):
    image_shape = (1, 4, 4)
    num_classes = 0

    def load(self):
        images = InMemory(torch.zeros(64, 1, 4, 4, dtype=torch.uint8))
        return images, images, images


@pytest.fixture
def trainer(tmp_path):
    return Trainer(
        accelerator="cpu",
        max_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        limit_val_batches=1,
    )


def small(**arguments):
    return {"image_shape": (1, 4, 4), "latent_dim": 2, "hidden_dim": 4} | arguments


@pytest.mark.parametrize(
    ("model", "data", "words"),
    [
        (
            lambda: DCGAN(base_channels=2),
            DigitsDataModule(),
            r"DCGAN was built for image_shape=\(3, 64, 64\), but DigitsDataModule gives \(1, 16, 16\): "
            r"pass image_shape=\(1, 16, 16\) to the model",
        ),
        (
            lambda: WGAN((1, 16, 16), base_channels=2),
            ToyDataModule(),
            r"WGAN was built for image_shape=\(1, 16, 16\), but ToyDataModule has point_shape=\(2,\): pass point_shape",
        ),
        (
            lambda: CGAN(**small(num_classes=10)),
            Unlabelled(),
            r"CGAN was built for num_classes=10, but Unlabelled has no labels: choose data with labels\.",
        ),
        (
            lambda: CGAN((1, 16, 16), num_classes=4, hidden_dim=4),
            DigitsDataModule(),
            r"built for num_classes=4, but DigitsDataModule has 10: pass num_classes=10 to the model\.",
        ),
    ],
)
@pytest.mark.parametrize("verb", ["fit", "validate"])
def test_datamodules(model, data, words, verb, trainer):
    with pytest.raises(GANError, match=words):
        getattr(trainer, verb)(model(), datamodule=data)
    assert trainer.global_step == 0


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.zeros(8, 3, 4, 4), r"image_shape=\(1, 4, 4\), .* of \(3, 4, 4\): pass image_shape=\(3, 4, 4\)"),
        (torch.zeros(8, 1, 4, 4, dtype=torch.uint8), r"holds torch\.uint8, not floats: scale the samples"),
    ],
)
def test_plain_loaders(images, words, trainer):
    with pytest.raises(GANError, match=words):
        trainer.fit(VanillaGAN(**small()), DataLoader(TensorDataset(images), batch_size=4))
    assert trainer.global_step == 0


def test_plain_loader_without_labels(trainer):
    with pytest.raises(GANError, match=r"CGAN needs \(samples, labels\) in each batch"):
        trainer.fit(CGAN(**small()), DataLoader(torch.zeros(8, 1, 4, 4), batch_size=4))


@pytest.mark.parametrize("dataset", [torch.zeros(8, 1, 4, 4), TensorDataset(torch.zeros(8, 1, 4, 4), torch.zeros(8))])
def test_what_agrees_is_played(dataset, trainer):
    """A plain loader of images alone, or of images and labels that nobody needs."""
    trainer.fit(VanillaGAN(**small()), DataLoader(dataset, batch_size=4))
    assert trainer.global_step == 1


def test_labels_that_nobody_needs_are_left_alone(trainer):
    model = VanillaGAN((1, 16, 16), latent_dim=2, hidden_dim=4)
    trainer.fit(model, datamodule=DigitsDataModule())
    assert trainer.global_step == 1
