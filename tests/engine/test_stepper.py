"""A move is the same whether Lightning's hooks are called or left out, and they are called where somebody listens."""

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy

from datamodules import ToyDataModule
from gan_modules import WGANGP

torch.set_num_threads(1)
ROUNDS = 3


class Listener(Callback):
    """Notes each hook around a backward and a step."""

    def __init__(self):
        self.heard = []

    def on_before_backward(self, trainer, pl_module, loss):
        self.heard.append(("backward", loss.item()))

    def on_after_backward(self, trainer, pl_module):
        assert any(parameter.grad is not None for parameter in pl_module.parameters())

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.heard.append(("step", trainer.optimizers.index(optimizer)))


class Strategy(SingleDeviceStrategy):
    """Lightning's own, but of another class, as one with work of its own around a backward would be."""


def fit(cls=WGANGP, **options):
    torch.manual_seed(0)
    game = cls(image_shape=(2,), latent_dim=2, hidden_dim=4, n_critic=2, clip_norm=0.1)
    trainer = Trainer(
        accelerator="cpu",
        max_steps=ROUNDS,
        max_epochs=-1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(game, ToyDataModule(num_samples=200, batch_size=16))
    return game, trainer


def test_a_callback_that_listens_hears_every_move_and_changes_none():
    silent, _ = fit()
    listener = Listener()
    heard, trainer = fit(callbacks=[listener])
    assert trainer.global_step == ROUNDS
    players = [index for kind, index in listener.heard if kind == "step"]
    assert players == [0, 0, 1] * ROUNDS
    assert [kind for kind, _ in listener.heard] == ["backward", "step"] * 3 * ROUNDS
    for (name, a), b in zip(silent.state_dict().items(), heard.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("options", [{"profiler": "simple"}, {"strategy": Strategy(torch.device("cpu"))}])
def test_profilers_and_other_strategies_take_part(options):
    silent, _ = fit()
    played, trainer = fit(**options)
    if "profiler" in options:
        assert len(trainer.profiler.recorded_durations["[LightningModule]WGANGP.on_before_backward"]) == 3 * ROUNDS
        assert len(trainer.profiler.recorded_durations["optimizer_step"]) == ROUNDS
    for (name, a), b in zip(silent.state_dict().items(), played.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_a_models_own_hook_is_called():
    class Hooked(WGANGP):
        norms = ()

        def on_after_backward(self):
            gradients = [p.grad.flatten() for p in self.parameters() if p.grad is not None]
            self.norms = (*self.norms, torch.cat(gradients).norm())

    game, _ = fit(Hooked)
    assert len(game.norms) == 3 * ROUNDS
    assert all(norm > 0 for norm in game.norms)
