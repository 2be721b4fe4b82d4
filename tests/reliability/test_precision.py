"""Every number format gives float32's updates, and each player has a gradient scaler of its own."""

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins import MixedPrecision

from datamodules import DigitsDataModule, ToyDataModule
from gan_modules import WGANGP
from gan_modules.engine.checkpoint import read_checkpoint

torch.set_num_threads(1)


def plugins(precision, scale=2.0**10):
    """The Trainer's arguments: the scaler of "16-mixed" is a real one, which works on the CPU too."""
    if precision != "16-mixed":
        return {"precision": precision}
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=3)
    return {"plugins": MixedPrecision("16-mixed", "cpu", scaler=scaler)}


def trainer(folder, precision, steps, scale=2.0**10, **options):
    return Trainer(
        accelerator="cpu",
        max_steps=steps,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **plugins(precision, scale),
        **options,
    )


class Descending(WGANGP):
    """Plain gradient descent, since Adam's first step hides the gradient's size; keeps its losses."""

    def __init__(self, **options):
        super().__init__(image_shape=(1, 8, 8), latent_dim=8, base_channels=8, n_critic=1, **options)
        self.optimizer_g = self.optimizer_d = lambda parameters: torch.optim.SGD(parameters, lr=0.05, fused=True)
        self.seen = []

    def discriminator_losses(self, x):
        terms = super().discriminator_losses(x)
        self.seen.append((terms, self.discriminator(x.real).dtype))
        return terms


def update(precision, folder, **options):
    torch.manual_seed(3)
    game = Descending(**options)
    before = {name: p.detach().clone() for name, p in game.named_parameters() if p.requires_grad}
    torch.manual_seed(4)
    trainer(folder, precision, 1).fit(game, DigitsDataModule(image_size=8, batch_size=64))
    moved = {name: p.detach().float() - before[name] for name, p in game.named_parameters() if p.requires_grad}
    flat = {
        player: torch.cat([d.flatten() for name, d in moved.items() if name.startswith(player)])
        for player in ("generator.", "discriminator.")
    }
    return game, flat


@pytest.mark.parametrize("clip_norm", [None, 0.01], ids=["whole", "clipped"])
@pytest.mark.parametrize(
    ("precision", "logits"),
    [("bf16-mixed", torch.bfloat16), ("16-mixed", torch.float16), ("bf16-true", torch.bfloat16)],
)
def test_updates_have_float32s_direction(precision, logits, clip_norm, tmp_path):
    _, expected = update("32", tmp_path, clip_norm=clip_norm)
    game, got = update(precision, tmp_path, clip_norm=clip_norm)
    (terms, dtype) = game.seen[0]
    assert dtype == logits
    assert {value.dtype for value in terms.values()} == {torch.float32}
    for player, moved in expected.items():
        if precision == "bf16-true":  # whose weights have 8 bits, and most of so small a step is lost in them
            assert got[player].norm() > 0
            continue
        cosine = torch.cosine_similarity(moved, got[player], dim=0).item()
        print(f"{precision} {clip_norm=} {player} cosine {cosine:.5f}")
        assert cosine > 0.99
        assert got[player].norm().item() == pytest.approx(moved.norm().item(), rel=0.02)
        if clip_norm:
            assert moved.norm().item() == pytest.approx(0.05 * clip_norm, rel=1e-3)


def test_gradients_in_bfloat16_have_float32s_direction(tmp_path):
    """The gradients themselves, before they are added to weights of 8 bits."""
    gradients = {}

    class Noted(Descending):
        def on_before_optimizer_step(self, optimizer):
            player = "D" if optimizer is self.trainer.optimizers[0] else "G"
            grads = [p.grad.float().flatten() for p in optimizer.param_groups[0]["params"]]
            gradients.setdefault(player, []).append(torch.cat(grads))

    for precision in ("32", "bf16-true"):
        torch.manual_seed(3)
        game = Noted()
        torch.manual_seed(4)
        trainer(tmp_path, precision, 1).fit(game, DigitsDataModule(image_size=8, batch_size=64))
    for player, (exact, rounded) in gradients.items():
        cosine = torch.cosine_similarity(exact, rounded, dim=0).item()
        print(f"bf16-true {player} cosine {cosine:.5f}")
        assert cosine > 0.99


def test_an_overflow_of_one_player_leaves_the_others_scale_alone(tmp_path):
    seen = []

    class Game(WGANGP):
        def after_update(self, name):
            seen.append((name, self.loop.state_dict()["scalers"][name]["scale"], weight.detach().clone()))

    game = Game(point_shape=(2,), hidden_dim=8, n_critic=1, clip_norm=1.0)
    weight = next(game.discriminator.parameters())
    handle = weight.register_hook(lambda g: g * torch.inf if len(seen) == 2 else g)
    fit = trainer(tmp_path, "16-mixed", 4, scale=1024.0)
    fit.fit(game, ToyDataModule(num_samples=500, batch_size=32))
    handle.remove()
    scales = {player: [scale for name, scale, _ in seen if name == player] for player in ("discriminator", "generator")}
    assert scales == {"discriminator": [1024, 512, 512, 512], "generator": [1024, 1024, 2048, 2048]}
    weights = [w for name, _, w in seen if name == "discriminator"]
    assert torch.equal(weights[0], weights[1]), "the step that overflowed was not skipped"
    assert not torch.equal(weights[1], weights[2])
    fit.save_checkpoint(tmp_path / "last.ckpt")
    saved = read_checkpoint(tmp_path / "last.ckpt")["gan_modules"]["scalers"]
    assert (saved["discriminator"]["scale"], saved["generator"]["scale"]) == (512, 2048)
    assert saved["discriminator"]["_growth_tracker"] == 2


@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed", "bf16-true"])
def test_scalers_and_averages_are_continued_exactly(precision, tmp_path):
    def fit(steps, ckpt_path=None):
        torch.manual_seed(5)
        game = WGANGP(point_shape=(2,), hidden_dim=8, n_critic=2)
        fitted = trainer(tmp_path, precision, steps)
        fitted.fit(game, ToyDataModule(num_samples=500, batch_size=32), ckpt_path=ckpt_path)
        return game, fitted

    _, half = fit(4)
    half.save_checkpoint(tmp_path / "half.ckpt")
    whole, _ = fit(8)
    continued, _ = fit(8, tmp_path / "half.ckpt")
    scalers = [game.loop.state_dict()["scalers"] for game in (whole, continued)]
    assert scalers[0] == scalers[1]
    assert set(scalers[0]) == ({"discriminator", "generator"} if precision == "16-mixed" else set())
    for (name, a), b in zip(whole.state_dict().items(), continued.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
