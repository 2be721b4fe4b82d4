"""Whatever the configuration or the damage: two finite steps, or one clear sentence before them."""

import logging
import random
import re
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.plugins import MixedPrecision
from PIL import Image

from datamodules import DataError, DigitsDataModule, ImageFolderDataModule
from gan_modules import CGAN, DCGAN, GAN, WGAN, WGANGP, GANError, VanillaGAN

torch.set_num_threads(1)
SETTINGS = settings(
    max_examples=40,
    deadline=20_000,  # milliseconds: an example that hangs fails
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # a failing example is reported as it is found
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(autouse=True)
def quiet():
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Steps(Callback):
    begun = False

    def on_before_optimizer_step(self, *_):
        self.begun = True


def is_one_sentence(error):
    said = str(error)
    return type(error) in (GANError, DataError, ValueError) and 20 < len(said) < 400 and "\n" not in said


def mostly(valid, other):
    """What works, but for one draw in ten."""
    return st.integers(0, 9).flatmap(lambda draw: other if draw == 9 else valid)


@settings(SETTINGS, max_examples=120)
@given(
    cls=st.sampled_from([VanillaGAN, CGAN, DCGAN, WGAN, WGANGP]),
    size=mostly(st.sampled_from([8, 16]), st.integers(0, 40)),
    channels=mostly(st.just(1), st.integers(0, 5)),
    latent_dim=mostly(st.integers(1, 9), st.integers(-1, 1)),
    width=mostly(st.integers(1, 9), st.integers(-1, 1)),
    batch_size=mostly(st.integers(4, 9), st.integers(-1, 3) | st.sampled_from([1300, 5000])),
    n_critic=mostly(st.integers(1, 3), st.integers(-1, 0)),
    accumulate=mostly(st.integers(1, 4), st.integers(-1, 12)),
    clip_norm=mostly(st.none() | st.floats(1e-3, 10), st.sampled_from([0.0, -1.0, float("nan"), float("inf")])),
    half_life=mostly(st.floats(0, 1e6), st.sampled_from([-1.0, float("nan"), float("inf")])),
    lr=mostly(st.floats(0, 1e-2), st.sampled_from([-1.0, float("nan"), float("inf")])),
    precision=st.sampled_from(["32", "bf16-mixed", "16-mixed", "bf16-true"]),
)
def test_a_configuration_trains_or_is_refused_in_a_sentence(
    cls, size, channels, latent_dim, width, batch_size, n_critic, accumulate, clip_norm, half_life, lr, precision
):
    steps = Steps()
    try:
        model = cls(
            image_shape=(channels, size, size),
            latent_dim=latent_dim,
            **{"hidden_dim" if cls in (VanillaGAN, CGAN) else "base_channels": width},
            n_critic=n_critic,
            accumulate=accumulate,
            clip_norm=clip_norm,
            ema_half_life=half_life,
            lr_g=lr,
            lr_d=lr,
        )
        data = DigitsDataModule(image_size=size, batch_size=batch_size)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        plugin = {"plugins": MixedPrecision("16-mixed", "cpu", scaler=scaler)}
        trainer = Trainer(
            accelerator="cpu",
            max_steps=2,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            log_every_n_steps=1,
            callbacks=steps,
            **(plugin if precision == "16-mixed" else {"precision": precision}),
        )
        trainer.fit(model, data)
    except Exception as error:
        assert is_one_sentence(error), repr(error)
        event(f"refused: {str(error)[:40]}")
        assert not steps.begun, f"refused only after the first step had begun: {error}"
        return
    event("trained")
    assert trainer.global_step == 2
    assert all(value.isfinite() for value in trainer.callback_metrics.values())
    assert model.sample(3, seed=0).isfinite().all()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A checkpoint's bytes and its model's weights."""
    path = tmp_path_factory.mktemp("whole") / "model.ckpt"
    model = CGAN(image_shape=(1, 8, 8), latent_dim=2, hidden_dim=2)
    trainer = Trainer(
        accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(model, DigitsDataModule(image_size=8, batch_size=8))
    trainer.save_checkpoint(path)
    return path.read_bytes(), model.state_dict()


def damages(size):
    place = st.integers(0, size - 1)
    flips = st.lists(st.tuples(place, st.integers(1, 255)), min_size=1, max_size=4)
    cut = st.integers(0, size - 1)
    return st.one_of(flips, cut, st.binary(max_size=200))


def damage(content, how):
    if isinstance(how, bytes):
        return how
    if isinstance(how, int):
        return content[:how]
    changed = bytearray(content)
    for place, mask in how:
        changed[place] ^= mask
    return bytes(changed)


@SETTINGS
@given(data=st.data())
def test_a_damaged_checkpoint_is_refused_or_harmless(data, whole):
    content, state = whole
    broken = damage(content, data.draw(damages(len(content))))
    assume(broken != content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.ckpt"
        path.write_bytes(broken)
        try:
            model = GAN.load_from_checkpoint(path)
        except GANError as error:
            assert re.search(r"cannot be read as a checkpoint|not written by|do not fit", str(error))
            return
    # the damage lay between the parts of the file, where nothing is
    assert type(model) is CGAN
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def pictures():
    """One file of each format."""
    noise = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
    found = {}
    for suffix in ("png", "jpg", "bmp", "gif", "tiff", "webp"):
        with tempfile.TemporaryDirectory() as folder:
            Image.fromarray(noise).save(Path(folder) / f"0.{suffix}")
            found[suffix] = (Path(folder) / f"0.{suffix}").read_bytes()
    return found


PICTURES = pictures()


@SETTINGS
@given(suffix=st.sampled_from(sorted(PICTURES)), data=st.data())
def test_a_damaged_image_is_named_or_gives_an_image(suffix, data):
    broken = damage(PICTURES[suffix], data.draw(damages(len(PICTURES[suffix]))))
    with tempfile.TemporaryDirectory() as folder:
        for index in range(4):
            (Path(folder) / f"{index}.{suffix}").write_bytes(PICTURES[suffix])
        bad = Path(folder) / f"{random.Random(len(broken)).randrange(4)}.{suffix}"
        bad.write_bytes(broken)
        datamodule = ImageFolderDataModule(folder, image_size=8, batch_size=3, num_workers=0)
        for loader in (datamodule.train_dataloader(), datamodule.val_dataloader()):
            try:
                for images in loader:
                    assert images[0].shape[1:] == (3, 8, 8)
            except DataError as error:
                assert str(bad) in str(error)
