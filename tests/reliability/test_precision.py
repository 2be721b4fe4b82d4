"""Every number format gives the updates of float32, and an overflow of one player is no matter of the other's."""

import dataclasses

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins import MixedPrecision
from torch.utils.data import DataLoader, TensorDataset

from datamodules import DigitsDataModule, ToyDataModule
from gan_modules import CGAN, DCGAN, WGANGP, CycleGAN, Pix2Pix
from gan_modules.engine.checkpoint import read_checkpoint

torch.set_num_threads(1)


def plugins(precision, scale=2.0**10):
    """The Trainer's arguments: the scaler of "16-mixed" is a real one, told to work on the CPU."""
    if precision != "16-mixed":
        return {"precision": precision}
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=3)
    return {"plugins": MixedPrecision("16-mixed", "cpu", scaler=scaler)}


def trainer(folder, precision, rounds, scale=2.0**10, **options):
    return Trainer(
        accelerator="cpu",
        max_steps=rounds,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **plugins(precision, scale),
        **options,
    )


class Watched(WGANGP):
    """Plain gradient descent, fused, since Adam's first step hides the gradient's size; keeps what its losses were."""

    def __init__(self, **options):
        super().__init__(image_shape=(1, 8, 8), latent_dim=8, base_channels=8, n_critic=1, **options)
        self._optimizer_g = self._optimizer_d = lambda parameters: torch.optim.SGD(parameters, lr=0.05, fused=True)
        self.seen = []

    def discriminator_losses(self, real, fake):
        terms = super().discriminator_losses(real, fake)
        self.seen.append((terms, self.discriminator(real).dtype))
        return terms


def update(precision, folder, **options):
    torch.manual_seed(3)
    game = Watched(**options)
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

    class Noted(Watched):
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


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "bf16-true"])
def test_convolutions_and_points_train_in_every_precision(precision, tmp_path):
    games = [
        (DCGAN(image_shape=(1, 16, 16), base_channels=4, clip_norm=1.0), DigitsDataModule(batch_size=32)),
        (
            WGANGP(image_shape=(2,), hidden_dim=8, accumulate=2, n_critic=2),
            ToyDataModule(num_samples=500, batch_size=32),
        ),
    ]
    for game, data in games:
        before = {name: p.detach().clone() for name, p in game.named_parameters()}
        trainer(tmp_path, precision, 3).fit(game, data)
        assert all(p.isfinite().all() for p in game.parameters())
        assert any(
            not torch.equal(p, before[n]) for n, p in game.generator_ema.named_parameters(prefix="generator_ema")
        )
        assert {p.dtype for p in game.generator_ema.parameters()} == {torch.float32}, "half precision loses small steps"
        for ema in (True, False):
            images = game.sample(4, seed=0, ema=ema)
            assert images.dtype == torch.float32
            assert images.isfinite().all()


def test_an_overflow_of_one_player_leaves_the_others_scale_alone(tmp_path):
    seen = []

    class Game(WGANGP):
        def after_update(self, name):
            seen.append((name, self._scalers.state_dict()[name]["scale"], weight.detach().clone()))

    game = Game(image_shape=(2,), hidden_dim=8, n_critic=1, clip_norm=1.0)
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
    def fit(rounds, ckpt_path=None):
        torch.manual_seed(5)
        game = WGANGP(image_shape=(2,), hidden_dim=8, n_critic=2)
        fitted = trainer(tmp_path, precision, rounds)
        fitted.fit(game, ToyDataModule(num_samples=500, batch_size=32), ckpt_path=ckpt_path)
        return game, fitted

    _, half = fit(4)
    half.save_checkpoint(tmp_path / "half.ckpt")
    whole, _ = fit(8)
    continued, _ = fit(8, tmp_path / "half.ckpt")
    assert whole._scalers.state_dict() == continued._scalers.state_dict()
    assert (len(whole._scalers.state_dict()) == 2) == (precision == "16-mixed")
    for (name, a), b in zip(whole.state_dict().items(), continued.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def plain(cls):
    """The variant under gradient descent: Adam's first step hides the gradient's size."""

    class Plain(cls):
        def configure_players(self):
            return {
                name: dataclasses.replace(player, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.05))
                for name, player in super().configure_players().items()
            }

    return Plain


SIDES = {"image_shape": (3, 16, 16), "base_channels": 4, "discriminator_channels": 4, "patch_layers": 1}
FAMILIES = {
    "conditional": (CGAN, {"image_shape": (1, 8, 8), "latent_dim": 8, "hidden_dim": 16}),
    "pix2pix": (Pix2Pix, {**SIDES, "dropout": False}),
    "cyclegan": (CycleGAN, {**SIDES, "generator": "resnet_1", "pool_size": 0}),
}


# CycleGAN's images pass two generators, and the L1 distance hands back signs, which 8 bits of precision turn
@pytest.mark.parametrize(("precision", "least"), [("bf16-mixed", 0.94), ("16-mixed", 0.99)])
@pytest.mark.parametrize("family", FAMILIES)
def test_conditional_and_translation_games_move_as_in_float32(family, precision, least, tmp_path):
    cls, arguments = FAMILIES[family]
    source = torch.Generator().manual_seed(0)
    images = torch.rand(32, *arguments["image_shape"], generator=source) * 2 - 1
    others = torch.arange(32) % 10 if cls is CGAN else images.flip(3) * 0.5
    moved = {}
    for fmt in ("32", precision):
        torch.manual_seed(3)
        game = plain(cls)(**arguments)
        before = {name: p.detach().clone() for name, p in game.named_parameters() if p.requires_grad}
        torch.manual_seed(4)
        trainer(tmp_path, fmt, 1).fit(game, DataLoader(TensorDataset(images, others), batch_size=32))
        moved[fmt] = {name: p.detach() - before[name] for name, p in game.named_parameters() if p.requires_grad}
        assert all(p.isfinite().all() for p in game.parameters())
    for player in ("generator", "discriminator"):
        exact, rounded = (
            torch.cat([d.flatten() for name, d in moved[fmt].items() if name.startswith(player)])
            for fmt in ("32", precision)
        )
        cosine = torch.cosine_similarity(exact, rounded, dim=0).item()
        print(f"{family} {precision} {player} cosine {cosine:.5f}")
        assert cosine > least
        assert rounded.norm().item() == pytest.approx(exact.norm().item(), rel=0.05)
