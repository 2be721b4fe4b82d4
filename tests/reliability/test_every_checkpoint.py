"""Each checkpoint of a run, continued, ends in the same bits as the run itself."""

import random

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import Checkpoint
from PIL import Image

from datamodules import DigitsDataModule, ImageFolderDataModule
from gan_modules import CGAN, WGANGP

torch.set_num_threads(1)


class DrawsNumbers(Callback):
    """Draws from all global generators between the batches, as a user's callback may, and notes what it drew."""

    def __init__(self):
        self.drawn = []

    def on_train_batch_end(self, trainer, *_):
        self.drawn.append((torch.rand(()).item(), np.random.rand(), random.random()))


class SaveEverywhere(Checkpoint):
    """Saves wherever ModelCheckpoint can: after a batch, in the middle of a step too, a validation, an epoch."""

    def __init__(self, folder):
        self.folder = folder

    def save(self, trainer, hook):
        if not trainer.sanity_checking:
            trainer.save_checkpoint(self.folder / f"{trainer.fit_loop.epoch_loop.total_batch_idx:02d}_{hook}.ckpt")

    def on_train_batch_end(self, trainer, *_):
        self.save(trainer, "batch")

    def on_validation_end(self, trainer, *_):
        self.save(trainer, "validation")

    def on_train_epoch_end(self, trainer, *_):
        self.save(trainer, "epoch")


def build(name):
    if name == "CGAN":
        return CGAN(image_shape=(1, 8, 8), latent_dim=4, hidden_dim=8, ema_half_life=100)
    options = {"n_critic": 2, "decay_steps": 20, "accumulate": 2, "clip_norm": 1.0}
    return WGANGP(image_shape=(1, 8, 8), latent_dim=4, base_channels=4, **options)


def fit(name, folder, *, ckpt_path=None, workers=0, **limits):
    seed_everything(7 if ckpt_path is None else 1234)  # what a continued run draws at its start must not matter
    torch.rand(3)
    callback, game = DrawsNumbers(), build(name)
    trainer = Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0 if ckpt_path is None else 1,
        callbacks=[callback, SaveEverywhere(folder)],
        **limits,
    )
    # 5 batches an epoch: with two batches a step, steps straddle the epochs
    data = DigitsDataModule(image_size=8, batch_size=251, val_fraction=0.3, num_workers=workers)
    trainer.fit(game, data, ckpt_path=ckpt_path, weights_only=True)
    return game, trainer, callback


def bits(game, trainer):
    optimizers = [optimizer.state_dict()["state"] for optimizer in trainer.optimizers]
    return [
        game.images_seen,
        trainer.global_step,
        *game.state_dict().values(),
        *(value for state in optimizers for moments in state.values() for value in moments.values()),
        *(optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers),
        game.sample(10, seed=0),
    ]


LIMITS = {
    "epochs": {"max_epochs": 2},
    "steps": {"max_steps": 7},
    "steps, validated in between": {"max_steps": 7, "val_check_interval": 2},
}


@pytest.mark.parametrize(
    ("name", "limits", "workers"),
    [
        ("CGAN", "epochs", 0),
        ("CGAN", "steps", 2),
        ("CGAN", "steps, validated in between", 0),
        ("WGANGP", "steps", 0),
    ],
)
def test_every_checkpoint_leads_to_the_same_bits(name, limits, workers, tmp_path):
    game, trainer, callback = fit(name, tmp_path / "whole", workers=workers, **LIMITS[limits])
    expected = bits(game, trainer)
    checkpoints = sorted((tmp_path / "whole").rglob("*.ckpt"))
    assert len(checkpoints) > trainer.global_step
    for path in checkpoints[:: 1 if name == "CGAN" and not workers else 3]:
        game, trainer, later = fit(name, tmp_path / "continued", ckpt_path=path, **LIMITS[limits])
        assert later.drawn == callback.drawn[len(callback.drawn) - len(later.drawn) :], path.name
        torch.testing.assert_close(
            bits(game, trainer), expected, rtol=0, atol=0, msg=lambda m, name=path.name: f"{name}: {m}"
        )


def test_random_crops_and_flips_depend_on_the_batch_alone(tmp_path):
    for index in range(12):
        Image.fromarray(np.random.default_rng(index).integers(0, 256, (9, 14), np.uint8)).save(
            tmp_path / f"{index}.png"
        )

    def loader(workers, skip=0):
        data = ImageFolderDataModule(
            str(tmp_path),
            image_size=8,
            channels=1,
            crop="random",
            horizontal_flip=True,
            batch_size=3,
            num_workers=workers,
        )
        loader = data.train_dataloader()
        loader.sampler.set_epoch(1)
        if skip:
            loader.load_state_dict({"epoch": 1, "batches": skip})
        return loader

    before = torch.get_rng_state()
    whole = [images for (images,) in loader(0)]
    assert torch.equal(torch.get_rng_state(), before)
    assert len(whole) == 3
    for workers, skip in ((0, 1), (2, 0), (2, 2)):
        part = [images for (images,) in loader(workers, skip)]
        assert len(part) == 3 - skip
        assert all(torch.equal(a, b) for a, b in zip(whole[skip:], part, strict=True))


def test_a_finished_run_can_be_made_longer(tmp_path):
    fit("CGAN", tmp_path / "short", max_steps=3)  # of five steps an epoch
    expected = bits(*fit("CGAN", tmp_path / "whole", max_steps=7)[:2])
    for path in sorted((tmp_path / "short").glob("02_*.ckpt")):
        continued = fit("CGAN", tmp_path / "long", ckpt_path=path, max_steps=7)
        torch.testing.assert_close(bits(*continued[:2]), expected, rtol=0, atol=0)


class Pool:
    """The smallest image pool: the first numbers of the last three batches."""

    def __init__(self):
        self.last = []

    def state_dict(self):
        return {"last": list(self.last)}

    def load_state_dict(self, state):
        self.last = list(state["last"])


def test_extra_state_is_continued(tmp_path):
    class Remembers(CGAN):
        def __init__(self, **options):
            super().__init__(**options)
            self.extra_state["pool"] = Pool()

        def training_step(self, batch, batch_idx):
            pool = self.extra_state["pool"].last
            pool.append(torch.rand(()).item())
            del pool[:-3]
            super().training_step([batch[0] * (1 + 0.1 * sum(pool)), batch[1]], batch_idx)

    def fit_for(steps, ckpt_path=None):
        torch.manual_seed(2)
        game = Remembers(image_shape=(1, 8, 8), latent_dim=4, hidden_dim=8)
        options = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
        trainer = Trainer(accelerator="cpu", max_steps=steps, logger=False, default_root_dir=tmp_path, **options)
        trainer.fit(game, DigitsDataModule(image_size=8), ckpt_path=ckpt_path)
        trainer.save_checkpoint(tmp_path / f"{steps}.ckpt")
        return game

    whole = fit_for(9)
    fit_for(5)
    continued = fit_for(9, tmp_path / "5.ckpt")
    assert len(whole.extra_state["pool"].last) == 3
    assert continued.extra_state["pool"].last == whole.extra_state["pool"].last
    assert all(
        torch.equal(a, b) for a, b in zip(whole.state_dict().values(), continued.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("limits", [({"max_steps": 5}, {"max_steps": 8}), ({"max_epochs": 1}, {"max_epochs": 2})])
def test_a_checkpoint_saved_after_a_fit_that_ended_with_its_epoch_loses_no_batch(limits, tmp_path):
    first, whole = limits
    _, stopped, _ = fit("CGAN", tmp_path / "stopped", **first)
    stopped.save_checkpoint(tmp_path / "after.ckpt")
    game, trainer, callback = fit("CGAN", tmp_path / "whole", **whole)
    continued, later_trainer, later = fit("CGAN", tmp_path / "continued", ckpt_path=tmp_path / "after.ckpt", **whole)
    assert trainer.global_step == later_trainer.global_step > 5
    assert later.drawn == callback.drawn[-len(later.drawn) :]
    for a, b in zip(bits(game, trainer), bits(continued, later_trainer), strict=True):
        assert torch.equal(torch.as_tensor(a), torch.as_tensor(b))
