"""What goes wrong outside the mathematics ends in a sentence, and costs no checkpoint."""

import os
import resource
import shutil
import signal
import time
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from commands import TINY_WGANGP, start
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.environments import SLURMEnvironment
from PIL import Image

from datamodules import DataError, DigitsDataModule, ImageFolderDataModule
from gan_modules import CGAN, WGANGP, GANError
from gan_modules.engine.checkpoint import read_checkpoint

torch.set_num_threads(1)


def trainer(folder, **options):
    return Trainer(
        **{
            "accelerator": "cpu",
            "max_steps": 6,
            "default_root_dir": folder,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }
        | options
    )


def tiny(cls=CGAN):
    return cls(image_shape=(1, 8, 8), latent_dim=4, hidden_dim=8)


def digits():
    return DigitsDataModule(image_size=8, batch_size=32)


def saving(folder, **options):
    return {
        "enable_checkpointing": True,
        "callbacks": [ModelCheckpoint(folder, every_n_train_steps=1, save_top_k=-1, filename="{step}", **options)],
    }


@pytest.mark.parametrize(("player", "term"), [("generator", "adversarial"), ("discriminator", "minimax")])
def test_not_a_number_is_named_and_the_last_good_checkpoint_kept(player, term, tmp_path):
    class BlowsUp(CGAN):
        def spoil(self, name, terms):
            factor = float("inf") if (name, self.trainer.global_step) == (player, 3) else 1.0
            return {key: value * factor for key, value in terms.items()}

        def generator_losses(self, x):
            return self.spoil("generator", super().generator_losses(x))

        def discriminator_losses(self, x):
            return self.spoil("discriminator", super().discriminator_losses(x))

    with pytest.raises(GANError, match=rf"{player}'s loss term '{term}' became inf in step 3"):
        trainer(tmp_path, **saving(tmp_path)).fit(tiny(BlowsUp), digits())
    newest = max(tmp_path.glob("*.ckpt"), key=lambda path: path.stat().st_mtime)
    assert newest.name == "step=3.ckpt"
    state = read_checkpoint(newest)["state_dict"]
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_a_gradient_that_is_not_a_number_never_reaches_a_checkpoint(tmp_path):
    model = tiny()
    weight = next(model.generator.parameters())
    weight.register_hook(lambda g: g * float("nan") if model.trainer.global_step == 2 else g)
    with pytest.raises(GANError, match=r"weights 'generator\.\S+' are no longer finite"):
        trainer(tmp_path, **saving(tmp_path)).fit(model, digits())
    assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == ["step=1.ckpt", "step=2.ckpt"]


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path):
    model, path = tiny(), tmp_path / "last.ckpt"
    fitted = trainer(tmp_path)
    fitted.fit(model, digits())
    fitted.save_checkpoint(path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(GANError, match=r"last.ckpt' could not be written \(File too large\).*untouched"):
            fitted.save_checkpoint(path)
        with pytest.raises(GANError, match="could not be written"):
            WGANGP(image_shape=(1, 32, 32), base_channels=64).save_pretrained(tmp_path / "shared")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["last.ckpt"], (
        "something half-written is left"
    )
    assert not list((tmp_path / "shared").iterdir())


def test_a_truncated_last_checkpoint_is_named_and_the_one_before_offered(tmp_path):
    trainer(tmp_path, max_steps=3, **saving(tmp_path)).fit(tiny(), digits())
    last, before = tmp_path / "step=3.ckpt", tmp_path / "step=2.ckpt"
    os.utime(tmp_path / "step=1.ckpt", (1, 1))
    os.truncate(last, last.stat().st_size - 1000)
    with pytest.raises(GANError, match=r"step=3.ckpt' cannot be read.*the one before it, '.*step=2.ckpt', is whole"):
        trainer(tmp_path).fit(tiny(), digits(), ckpt_path=last)
    damaged = bytearray(before.read_bytes())
    damaged[len(damaged) // 2] ^= 1  # a single bit of some weight
    before.write_bytes(damaged)
    with pytest.raises(GANError, match=r"step=1.ckpt', is whole"):
        CGAN.load_from_checkpoint(last)
    (tmp_path / "step=1.ckpt").unlink()
    with pytest.raises(GANError, match="there is no other beside it"):
        CGAN.load_from_checkpoint(last)


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    for index in range(24):
        (folder / "ab"[index % 2]).mkdir(parents=True, exist_ok=True)
        grey = np.full((8, 8), 100 * (index % 2) + index, np.uint8)
        Image.fromarray(grey).save(folder / "ab"[index % 2] / f"{index:02d}.png")
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_becomes_unreadable_is_named_or_skipped_and_counted(photographs, workers, tmp_path, capsys):
    options = {"image_size": 8, "channels": 1, "num_classes": 2, "batch_size": 5, "num_workers": workers}

    class Breaks(CGAN):
        """After its second step two images of class a are broken."""

        def training_step(self, batch, batch_idx):
            assert torch.equal((batch[0].mean((1, 2, 3)) > -0.4).long(), batch[1]), "an image has another's label"
            if self.trainer.global_step == 2:
                for name in ("a/02.png", "a/10.png"):
                    (photographs / name).write_bytes(b"\x89PNG")
            super().training_step(batch, batch_idx)

    def fit(**more):
        model = Breaks(image_shape=(1, 8, 8), num_classes=2, latent_dim=4, hidden_dim=8)
        data = ImageFolderDataModule(str(photographs), **options, **more)
        trainer(tmp_path, max_steps=-1, max_epochs=3).fit(model, data)
        return data

    with pytest.raises(DataError, match=r"Cannot read the image .*a/(02|10)\.png.*repair or remove it"):
        fit()
    with pytest.warns(UserWarning, match="The next image replaces it") if not workers else nullcontext():
        data = fit(skip_unreadable=True)
    assert [os.path.basename(path) for path in data.skipped] == ["02.png", "10.png"]
    assert "Skipped 2 unreadable images" in capsys.readouterr().out


def test_nothing_readable_is_no_endless_search(photographs):
    for path in photographs.rglob("*.png"):
        path.write_bytes(b"")
    data = ImageFolderDataModule(str(photographs), image_size=8, batch_size=4, num_workers=0, skip_unreadable=True)
    with (
        pytest.warns(UserWarning, match="replaces it"),
        pytest.raises(DataError, match="No image of the set can be read"),
    ):
        next(iter(data.train_dataloader()))


def test_too_small_a_set_is_named(tmp_path):
    with pytest.raises(DataError, match="1438 training samples, fewer than batch_size=2000"):
        trainer(tmp_path).fit(tiny(), DigitsDataModule(image_size=8, batch_size=2000))


@pytest.mark.slow
def test_control_c_saves_and_says_how_to_go_on(tmp_path):
    arguments = (
        f"fit {TINY_WGANGP} --trainer.callbacks.dirpath {tmp_path}/saved --trainer.callbacks.every_n_train_steps 5"
    )
    process = start(f"{arguments} --trainer.max_steps 100000", tmp_path)
    deadline = time.monotonic() + 100
    while not list((tmp_path / "saved").glob("*.ckpt")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    path = tmp_path / "saved" / "interrupted.ckpt"
    assert process.returncode == 1
    assert "Traceback" not in said
    assert f"--ckpt_path {path}" in said
    checkpoint = read_checkpoint(path)
    steps, batches = checkpoint["global_step"], checkpoint["gan_modules"]["batches_played"]
    assert checkpoint["gan_modules"]["images_seen"] == 64 * (2 * steps + batches)
    assert f"Stopped after {steps} steps" in said
    model = WGANGP(image_shape=(1, 8, 8), base_channels=4, latent_dim=4, n_critic=2)
    fitted = trainer(tmp_path, max_steps=steps + 2)
    fitted.fit(model, DigitsDataModule(image_size=8, batch_size=64), ckpt_path=path)
    assert model.images_seen == 64 * 2 * (steps + 2)
    shutil.rmtree(tmp_path / "saved")


def test_slurms_warning_waits_for_the_end_of_the_batch(tmp_path, monkeypatch):
    """SLURM's signal comes in the middle of an update; what Lightning then saves must be a whole batch's."""
    for name, value in {"JOB_ID": "1", "JOB_NAME": "gan", "NTASKS": "1", "PROCID": "0", "LOCALID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    commands = []
    monkeypatch.setattr("lightning.pytorch.trainer.connectors.signal_connector.call", lambda c: commands.append(c) or 0)

    class Warned(WGANGP):
        def generator_losses(self, x):
            if self.trainer.global_step == 2 and not commands:
                os.kill(os.getpid(), signal.SIGUSR1)
            return super().generator_losses(x)

    def fit():
        torch.manual_seed(1)
        model = Warned(image_shape=(1, 8, 8), base_channels=4, latent_dim=4, n_critic=2)
        plugins = [SLURMEnvironment(auto_requeue=True)]
        fitted = trainer(tmp_path, max_steps=5, plugins=plugins, **saving(tmp_path / "saved"))
        fitted.fit(model, digits())
        return model

    whole = fit()
    assert commands == [["scontrol", "requeue", "1"]]
    saved = read_checkpoint(tmp_path / "hpc_ckpt_1.ckpt")
    assert (saved["global_step"], saved["gan_modules"]["batches_played"]) == (3, 0)
    continued = fit()  # the job queued again finds it by itself
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, continued.state_dict()[name]), name
    assert continued.images_seen == whole.images_seen == 5 * 2 * 32
