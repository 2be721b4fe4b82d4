"""Sets too small to be scored are refused before the first step, whatever loads them."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from datamodules import ImageFolderDataModule, PairedImagesDataModule, UnpairedImagesDataModule
from gan_modules import CycleGAN, GANError, Pix2Pix, VanillaGAN
from gan_modules.callbacks import FID, TranslationFID
from gan_modules.metrics import DigitFeatures

TINY = {"base_channels": 2, "discriminator_channels": 2, "patch_layers": 1}
SMALL = {"image_size": 32, "num_workers": 0, "batch_size": 1}


class Steps(Callback):
    """Counts the batches of a fit."""

    played = 0

    def on_train_batch_end(self, *_):
        self.played += 1


def fit(model, callback, data, folder, **arguments):
    steps = Steps()
    options = {"num_sanity_val_steps": 0, "max_steps": 2, "logger": False, "enable_checkpointing": False} | arguments
    trainer = Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback, steps],
        **options,
    )
    try:
        trainer.fit(model, *data)
    finally:
        model.steps_played = steps.played


def make(folder, count):
    folder.mkdir(parents=True)
    for number in range(count):
        picture = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(picture).save(folder / f"{number}.png")


@pytest.mark.parametrize("arguments", [{}, {"num_sanity_val_steps": 2}, {"check_val_every_n_epoch": 2}])
@pytest.mark.parametrize(("of_a", "of_b", "refused"), [(1, 1, True), (3, 1, True), (1, 3, True), (2, 2, False)])
def test_unpaired_sets(tmp_path, of_a, of_b, refused, arguments):
    for name, count in (("trainA", 2), ("trainB", 2), ("testA", of_a), ("testB", of_b)):
        make(tmp_path / name, count)
    model = CycleGAN((3, 32, 32), generator="resnet_0", **TINY)
    data = UnpairedImagesDataModule(str(tmp_path), **SMALL)
    if refused:
        with pytest.raises(GANError, match="at least two validation images of each domain: hold out more"):
            fit(model, TranslationFID(DigitFeatures()), [data], tmp_path, **arguments)
    else:
        fit(model, TranslationFID(DigitFeatures()), [data], tmp_path, **arguments)
    assert model.steps_played == (0 if refused else 2)


@pytest.mark.parametrize(("limit", "refused"), [(1, True), (2, False), (0, False)])
def test_pairs_under_a_limit_of_batches(tmp_path, limit, refused):
    make(tmp_path / "a", 10)
    make(tmp_path / "b", 10)
    model = Pix2Pix((3, 32, 32), generator="unet_32", **TINY)
    data = PairedImagesDataModule(str(tmp_path / "a"), str(tmp_path / "b"), val_fraction=0.5, **SMALL)
    if refused:
        with pytest.raises(GANError, match="at least two validation images"):
            fit(model, TranslationFID(DigitFeatures()), [data], tmp_path, limit_val_batches=limit)
    else:
        fit(model, TranslationFID(DigitFeatures()), [data], tmp_path, limit_val_batches=limit)
    assert model.steps_played == (0 if refused else 2)


def test_samples_with_one_real(tmp_path):
    make(tmp_path / "set", 8)
    model = VanillaGAN(image_shape=(3, 32, 32))
    with pytest.raises(GANError, match="FID needs at least two real samples to validate on"):
        fit(model, FID(DigitFeatures()), [ImageFolderDataModule(str(tmp_path / "set"), **SMALL)], tmp_path)
    assert model.steps_played == 0


def test_counting_draws_none_of_the_trainings_noise(tmp_path):
    class Noise(Callback):
        def on_train_batch_start(self, *_):
            self.state = torch.get_rng_state()

    states = []
    for scored in (False, True):
        images = torch.rand(8, 3, 32, 32) * 2 - 1
        loaders = [DataLoader(TensorDataset(images), 4, shuffle=True), DataLoader(TensorDataset(images), 1)]
        model, noise = VanillaGAN(image_shape=(3, 32, 32)), Noise()
        torch.manual_seed(3)
        trainer = Trainer(
            accelerator="cpu",
            default_root_dir=tmp_path,
            callbacks=[noise, *([FID(DigitFeatures())] if scored else [])],
            max_steps=1,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            logger=False,
        )
        trainer.fit(model, *loaders)
        states.append(noise.state)
    assert torch.equal(*states)
