"""Models train in float64 on our datamodules, whose images are bytes until they are on the device."""

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from datamodules import DigitsDataModule
from gan_modules import CGAN, WGANGP, StyleGAN, StyleGAN2
from gan_modules.callbacks import SampleGrid

SHAPE = {"image_shape": (1, 16, 16), "latent_dim": 4}
STYLES = {**SHAPE, "style_dim": 4, "channel_base": 32, "channel_max": 4, "mapping_layers": 2}
GAMES = {
    CGAN: {**SHAPE, "num_classes": 10, "hidden_dim": 8},
    WGANGP: {**SHAPE, "base_channels": 4, "n_critic": 1},
    StyleGAN: {**STYLES, "num_classes": 10, "first_size": 8, "lod_training_images": 2, "lod_transition_images": 16},
    StyleGAN2: {**STYLES, "r1_interval": 1, "path_length_interval": 1, "ada_target": 0.6},
}


class Reals(Callback):
    """The reals of training and of validation."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx):
        self.seen.append(batch[0])

    def on_validation_batch_end(self, trainer, model, outputs, batch, batch_idx, dataloader_idx=0):
        self.seen.append(batch[0])


@pytest.mark.parametrize("game", GAMES)
def test_a_game_is_played_in_float64(game, tmp_path):
    reals = Reals()
    trainer = Trainer(
        accelerator="cpu",
        precision="64-true",
        max_steps=2,
        limit_val_batches=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=[reals, SampleGrid(num_samples=4)],
    )
    torch.manual_seed(0)
    model = game(**GAMES[game])
    trainer.fit(model, DigitsDataModule(batch_size=4))
    assert len(reals.seen) == 4  # one of the sanity check, two of training, one of the validation at the end
    assert {real.dtype for real in reals.seen} == {torch.float64}
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    pixels = torch.cat(reals.seen)
    assert torch.equal(((pixels + 1) * 127.5).round() / 127.5 - 1, pixels)
    moments = [state["exp_avg"] for optimizer in trainer.optimizers for state in optimizer.state.values()]
    assert {moment.dtype for moment in moments} == {torch.float64}
