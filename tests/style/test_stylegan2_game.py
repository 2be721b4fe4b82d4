"""StyleGAN2's game: four kinds of moves in their order and at their pace, against a loop written by hand."""

import copy
import math

import pytest
import torch
from lightning.pytorch import Callback
from torch.nn.functional import softplus

from gan_modules import GANError, StyleGAN2

SMALL = {"image_shape": (1, 8, 8), "latent_dim": 3, "style_dim": 4, "channel_max": 4, "mapping_layers": 2}


class Moves(Callback):
    """Which optimizer stepped in which round, and whether the gradient was that of a regularizer."""

    def __init__(self):
        self.names = []

    def on_train_start(self, trainer, model):
        enter = model._ledger.enter
        model._ledger.enter = lambda move: (self.names.append((move.round, move.name)), enter(move))


def play_by_hand(generator, discriminator, batches, rounds, r1_every, path_every):
    """The published loop for a batch of 6: phases G, Greg, D, Dreg, each with latents and styles of its own."""

    def corrected(parameters, lr, every):
        share = every / (every + 1)
        return torch.optim.Adam(parameters, lr=lr * share, betas=(0.3**share, 0.99**share), eps=1e-8)

    step_g = corrected(generator.parameters(), 0.01, path_every)
    step_d = corrected(discriminator.parameters(), 0.02, r1_every)
    mean_length = torch.zeros((), dtype=torch.float64)

    def styles(n):
        ws = generator.mapping(torch.randn(n, 3, dtype=torch.float64))
        if torch.rand((), dtype=torch.float64).item() < 0.9:
            other = generator.mapping(torch.randn(n, 3, dtype=torch.float64))
            cutoff = torch.randint(1, 4, ()).item()
            ws = torch.stack([(ws if layer < cutoff else other)[:, layer] for layer in range(4)], dim=1)
        return ws

    for round in range(rounds):
        (real,) = batches[round]
        real = real.double()

        step_g.zero_grad()
        softplus(-discriminator(generator.synthesis(styles(6)))).mean().backward()
        step_g.step()

        if round % path_every == 0:
            step_g.zero_grad()
            ws = styles(3)
            images = generator.synthesis(ws)
            (slope,) = torch.autograd.grad((images * torch.randn_like(images) / 8).sum(), ws, create_graph=True)
            lengths = slope.square().sum(2).mean(1).sqrt()
            mean = 0.99 * mean_length + 0.01 * lengths.mean()
            mean_length = mean.detach()
            (2.0 * path_every * (lengths - mean) ** 2).mean().backward()
            step_g.step()

        step_d.zero_grad()
        with torch.no_grad():
            fake = generator.synthesis(styles(6))
        (softplus(-discriminator(real)).mean() + softplus(discriminator(fake)).mean()).backward()
        step_d.step()

        if round % r1_every == 0:
            step_d.zero_grad()
            image = real.clone().requires_grad_()
            (slope,) = torch.autograd.grad(discriminator(image).sum(), image, create_graph=True)
            (slope.square().sum((1, 2, 3)) * (10.0 / 2) * r1_every).mean().backward()
            step_d.step()
    return mean_length


def test_trainer_plays_the_published_loop(play, noise_batches):
    rates = {"lr_g": 0.01, "lr_d": 0.02, "betas": (0.3, 0.99)}
    model = StyleGAN2(**SMALL, **rates, r1_interval=3, path_length_interval=2).double()
    batches = noise_batches(7, (1, 8, 8))
    generator, discriminator = copy.deepcopy(model.generator), copy.deepcopy(model.discriminator)
    first = copy.deepcopy(model.state_dict())

    play(model, batches, seed=5, precision="64-true", max_steps=7)
    torch.manual_seed(5)
    mean_length = play_by_hand(generator, discriminator, batches, 7, r1_every=3, path_every=2)

    for ours, theirs in ((model.generator, generator), (model.discriminator, discriminator)):
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=1e-8)
    torch.testing.assert_close(model.path_length, mean_length, rtol=1e-9, atol=0)
    assert mean_length > 0
    moved = {name: (value - first[name]).abs().max() for name, value in model.state_dict().items()}
    assert min(value for name, value in moved.items() if name.startswith("discriminator")) > 1e-4


def test_regularizers_are_due_when_the_paper_says(play, noise_batches):
    moves = Moves()
    model = StyleGAN2(**SMALL)
    trainer = play(model, noise_batches(8, (1, 8, 8), size=2), moves, max_steps=40)
    assert trainer.global_step == 40
    assert model.images_seen == 80
    rounds = {name: [round for round, moved in moves.names if moved == name] for _, name in moves.names}
    assert rounds == {
        "generator": list(range(40)),
        "generator/path_length": [0, 4, 8, 12, 16, 20, 24, 28, 32, 36],
        "discriminator": list(range(40)),
        "discriminator/r1": [0, 16, 32],
    }
    first = [name for round, name in moves.names if round == 0]
    assert first == ["generator", "generator/path_length", "discriminator", "discriminator/r1"]


def test_a_continued_run_keeps_the_pace(play, noise_batches, tmp_path):
    batches = noise_batches(40, (1, 8, 8), size=2)
    model = StyleGAN2(**SMALL)
    play(model, batches, max_steps=18).save_checkpoint(tmp_path / "18.ckpt")
    moves = Moves()
    play(StyleGAN2(**SMALL), batches, moves, max_steps=34, ckpt_path=tmp_path / "18.ckpt")
    rounds = {name: [round for round, moved in moves.names if moved == name] for _, name in moves.names}
    assert rounds["generator/path_length"] == [20, 24, 28, 32]
    assert rounds["discriminator/r1"] == [32]
    assert rounds["generator"] == rounds["discriminator"] == list(range(18, 34))


@pytest.mark.parametrize("first", [5, 6, 8])
def test_a_continued_run_ends_in_the_same_bits(first, fit_digits, tmp_path, bits):
    """In between two adjustments of the augmentation and right before one; with labels and mixed styles."""
    options = {"num_classes": 10, "ada_target": -0.5, "ada_images": 40, "r1_interval": 3, "path_length_interval": 2}

    def start():
        torch.manual_seed(1)
        return StyleGAN2(**SMALL, **options)

    model = start()
    expected = bits(model, fit_digits(model, 8, 11))
    assert model.augment.p > 0
    fit_digits(start(), 8, first).save_checkpoint(tmp_path / "first.ckpt")
    model = start()
    trainer = fit_digits(model, 8, 11, seed=99, ckpt_path=tmp_path / "first.ckpt")
    torch.testing.assert_close(bits(model, trainer), expected, rtol=0, atol=0)


def test_moves_on_a_regularizer_take_no_reals_of_their_own(play, noise_batches):
    model = StyleGAN2(**SMALL)
    play(model, noise_batches(5, (1, 8, 8), size=2), max_steps=5)
    assert model.images_seen == 10


def test_steps_are_smaller_by_what_regularizers_add(play, noise_batches):
    """Appendix B: rate and decays for k + 1 steps in the place of k."""
    model = StyleGAN2(**SMALL, lr_g=0.02, lr_d=0.03, betas=(0.5, 0.99), path_length_interval=4, r1_interval=16)
    (maker, judge), _ = model.configure_optimizers()
    for optimizer, rate, share in ((maker, 0.02, 4 / 5), (judge, 0.03, 16 / 17)):
        (group,) = optimizer.param_groups
        assert group["lr"] == pytest.approx(rate * share)
        assert group["betas"] == pytest.approx((0.5**share, 0.99**share))
        assert group["eps"] == 1e-8
    (maker, _), _ = StyleGAN2(**SMALL, lr_g=0.02, path_length_interval=0).configure_optimizers()
    assert maker.param_groups[0]["lr"] == 0.02


def test_losses_are_logged_under_their_player(play, noise_batches):
    trainer = play(StyleGAN2(**SMALL), noise_batches(2, (1, 8, 8)), max_steps=2, log_every_n_steps=1)
    assert set(trainer.callback_metrics) == {
        "generator/loss",
        "generator/path_length",
        "discriminator/loss",
        "discriminator/r1",
    }


def test_an_infinite_gradient_is_cut(play, noise_batches):
    """The published code's nan_to_num: 0 for NaN, ±1e5 for ±∞, before Adam sees them."""
    seen = []

    class Spoil(Callback):
        """Lightning calls it before the model's own hook."""

        def on_before_optimizer_step(self, trainer, model, optimizer):
            if optimizer is trainer.optimizers[0]:
                gradient = model.generator.synthesis.const.grad
                gradient.view(-1)[:3] = torch.tensor([math.nan, math.inf, -math.inf])

        def on_train_batch_end(self, trainer, model, *_):
            moments = trainer.optimizers[0].state[model.generator.synthesis.const]
            seen.append(moments["exp_avg"].view(-1)[:3].tolist())

    model = StyleGAN2(**SMALL, betas=(0.0, 0.99), path_length_weight=0.0, r1_weight=0.0)
    play(model, noise_batches(1, (1, 8, 8)), Spoil(), max_steps=1)
    assert seen == [[0.0, pytest.approx(1e5), pytest.approx(-1e5)]]


def test_augmentation_follows_overfitting_up_and_down(play, noise_batches):
    """By the batch every four rounds (2006.06676, Sec. 3.1), here of a discriminator that does not learn."""
    model = StyleGAN2(**SMALL, ada_target=0.6, ada_images=100, lr_g=0.0, lr_d=0.0)
    seen = []

    class Notes(Callback):
        def on_train_batch_end(self, trainer, model, *_):
            seen.append(model.augment.p.item())

    bias = model.discriminator.epilogue.out.bias
    for opinion in (100.0, -100.0):  # of reals and fakes alike
        torch.nn.init.constant_(bias, opinion)
        play(model, noise_batches(13, (1, 8, 8), size=2), Notes(), max_steps=13)
    up = [0.0] * 4 + [0.08] * 4 + [0.16] * 4 + [0.24]
    down = [0.26] * 4 + [0.18] * 4 + [0.10] * 4 + [0.02]  # the 13th of the surely real batches counts first
    assert seen == pytest.approx(up + down)
    play(model, noise_batches(13, (1, 8, 8), size=2), max_steps=13)
    assert model.augment.p == 0  # and never below


def test_augmentation_reaches_all_that_the_discriminator_sees(play, noise_batches):
    model = StyleGAN2(**SMALL, ada_target=0.6)
    model.augment.augment = lambda images, p: images * 0
    judged = []
    model.discriminator.register_forward_pre_hook(lambda _, inputs: judged.append(inputs[0].abs().max().item()))
    trainer = play(model, noise_batches(1, (1, 8, 8)), max_steps=1, log_every_n_steps=1)
    assert judged == [0.0] * 4  # in the generator's move, on reals, on fakes, and for R1
    assert trainer.callback_metrics["discriminator/r1"] == 0  # whose gradient goes through it


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_half_precision(precision, play, noise_batches):
    """With penalties and augmentation, which has no parameters to say its precision."""
    model = StyleGAN2(**SMALL, num_classes=3, ada_target=-0.5, ada_images=100)
    first = copy.deepcopy(model.discriminator.state_dict())
    batches = noise_batches(6, (1, 8, 8), size=4, num_classes=3)
    trainer = play(model, batches, max_steps=6, max_epochs=1, precision=precision)
    assert trainer.global_step == 6
    assert model.augment.p == pytest.approx(0.16)
    weights = [name for name in first if name.endswith("weight") and "mapping" not in name]
    change = [(model.discriminator.state_dict()[name].float() - first[name]).abs().max() for name in weights]
    assert all(1e-3 < difference < 0.1 for difference in change)


def test_freeze_d(play, noise_batches):
    model = StyleGAN2((1, 16, 16), latent_dim=3, style_dim=4, mapping_layers=2, channel_max=4, freeze_d=1)
    first = copy.deepcopy(model.state_dict())
    play(model, noise_batches(2, (1, 16, 16)), max_steps=2)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, first[name])}
    judge = {name for name in first if name.startswith("discriminator.")}
    assert {name for name in judge if ".b16." in name} == judge - moved


# 2006.06676, Table 5 and the published train.py
CONFIGS = {
    "auto 256": (lambda: StyleGAN2.auto((3, 256, 256), 32), (2, 16384, 4, 0.4096, 10_000, 2.5e-3, 2, 0.9, True)),
    "auto 1024": (lambda: StyleGAN2.auto((3, 1024, 1024), 32), (2, 32768, 4, 6.5536, 10_000, 2e-3, 2, 0.9, True)),
    "stylegan2": (StyleGAN2, (8, 32768, 4, 10, 10_000, 2e-3, 2, 0.9, True)),
    "paper256": (StyleGAN2.paper256, (8, 16384, 8, 1, 20_000, 2.5e-3, 2, 0.9, True)),
    "cifar": (StyleGAN2.cifar, (2, 32768, 32, 0.01, 500_000, 2.5e-3, 0, 0, False)),
}
FIGURES = ["mapping_layers", "channel_base", "stddev_group", "r1_weight", "ema_half_life", "lr_g"]
FIGURES += ["path_length_weight", "style_mixing", "residual"]


@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_are_the_published(name):
    make, expected = CONFIGS[name]
    with torch.device("meta"):
        arguments = {"ema_half_life": 10_000, **make().hparams}
    assert [arguments[figure] for figure in FIGURES] == pytest.approx(list(expected))
    assert arguments["lr_d"] == arguments["lr_g"]
    assert arguments["ada_target"] == (0.6 if name.startswith(("auto", "cifar")) else None)


def test_configurations_can_be_changed_and_reloaded(tmp_path):
    model = StyleGAN2.cifar(channel_max=4, latent_dim=4, style_dim=4, ada_target=None)
    assert model.augment is None
    model.save_pretrained(tmp_path)
    again = StyleGAN2.from_pretrained(tmp_path)
    assert torch.equal(again.sample(2, seed=0), model.sample(2, seed=0))
    assert again.hparams.r1_weight == 0.01


@pytest.mark.parametrize(
    "wrong", [{"r1_interval": -1}, {"style_mixing": 1.5}, {"path_length_interval": -4}, {"ada_images": 0}]
)
def test_senseless_figures_are_refused(wrong):
    with pytest.raises(GANError, match=next(iter(wrong))):
        StyleGAN2(**SMALL, **wrong)
