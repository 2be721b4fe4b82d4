"""StyleGAN2's game: four kinds of updates in their order and at their pace, against a loop written by hand."""

import copy
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from lightning.pytorch import Callback
from torch.nn.functional import softplus

from gan_modules import GANError, StyleGAN2

SMALL = {"image_shape": (1, 8, 8), "latent_dim": 3, "style_dim": 4, "channel_max": 4, "mapping_layers": 2}


class Noted(StyleGAN2):
    """Notes in which step each phase has losses."""

    def __init__(self, **options):
        super().__init__(**options)
        self.updates = []

    def phases(self):
        return [replace(phase, objective=partial(self.note, phase)) for phase in super().phases()]

    def note(self, phase, x):
        terms = phase.objective(x)
        if terms:
            self.updates.append((self.trainer.global_step, f"{phase.player}/{phase.name}".rstrip("/")))
        return terms


def play_by_hand(generator, discriminator, batches, steps, r1_every, path_every):
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

    for step in range(steps):
        (real,) = batches[step]
        real = real.double()

        step_g.zero_grad()
        softplus(-discriminator(generator.synthesis(styles(6)))).mean().backward()
        step_g.step()

        if step % path_every == 0:
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

        if step % r1_every == 0:
            step_d.zero_grad()
            image = real.clone().requires_grad_()
            (slope,) = torch.autograd.grad(discriminator(image).sum(), image, create_graph=True)
            (slope.square().sum((1, 2, 3)) * (10.0 / 2) * r1_every).mean().backward()
            step_d.step()
    return mean_length


def test_trainer_plays_the_published_loop(fit, noise_batches):
    rates = {"lr_g": 0.01, "lr_d": 0.02, "betas": (0.3, 0.99)}
    model = StyleGAN2(**SMALL, **rates, r1_interval=3, path_length_interval=2).double()
    batches = noise_batches(7, (1, 8, 8))
    generator, discriminator = copy.deepcopy(model.generator), copy.deepcopy(model.discriminator)
    first = copy.deepcopy(model.state_dict())

    fit(model, batches, seed=5, precision="64-true", max_steps=7)
    torch.manual_seed(5)
    mean_length = play_by_hand(generator, discriminator, batches, 7, r1_every=3, path_every=2)

    for ours, theirs in ((model.generator, generator), (model.discriminator, discriminator)):
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=1e-8)
    torch.testing.assert_close(model.path_length, mean_length, rtol=1e-9, atol=0)
    assert mean_length > 0
    moved = {name: (value - first[name]).abs().max() for name, value in model.state_dict().items()}
    assert min(value for name, value in moved.items() if name.startswith("discriminator")) > 1e-4


def test_regularizers_are_due_when_the_paper_says(fit, noise_batches):
    model = Noted(**SMALL)
    trainer = fit(model, noise_batches(8, (1, 8, 8), size=2), max_steps=40)
    assert trainer.global_step == 40
    assert model.images_seen == 80
    steps = {name: [step for step, updated in model.updates if updated == name] for _, name in model.updates}
    assert steps == {
        "generator": list(range(40)),
        "generator/path_length": [0, 4, 8, 12, 16, 20, 24, 28, 32, 36],
        "discriminator": list(range(40)),
        "discriminator/r1": [0, 16, 32],
    }
    first = [name for step, name in model.updates if step == 0]
    assert first == ["generator", "generator/path_length", "discriminator", "discriminator/r1"]


def test_a_continued_run_keeps_the_pace(fit, noise_batches, tmp_path):
    batches = noise_batches(40, (1, 8, 8), size=2)
    fit(Noted(**SMALL), batches, max_steps=18).save_checkpoint(tmp_path / "18.ckpt")
    model = Noted(**SMALL)
    fit(model, batches, max_steps=34, ckpt_path=tmp_path / "18.ckpt")
    steps = {name: [step for step, updated in model.updates if updated == name] for _, name in model.updates}
    assert steps["generator/path_length"] == [20, 24, 28, 32]
    assert steps["discriminator/r1"] == [32]
    assert steps["generator"] == steps["discriminator"] == list(range(18, 34))


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


def test_updates_on_a_regularizer_take_no_reals_of_their_own(fit, noise_batches):
    model = StyleGAN2(**SMALL)
    fit(model, noise_batches(5, (1, 8, 8), size=2), max_steps=5)
    assert model.images_seen == 10


def test_steps_are_smaller_by_what_regularizers_add(fit, noise_batches):
    """Appendix B: rate and decays for k + 1 steps in the place of k."""
    model = StyleGAN2(**SMALL, lr_g=0.02, lr_d=0.03, betas=(0.5, 0.99), path_length_interval=4, r1_interval=16)
    (critic, maker), _ = model.configure_optimizers()
    for optimizer, rate, share in ((maker, 0.02, 4 / 5), (critic, 0.03, 16 / 17)):
        (group,) = optimizer.param_groups
        assert group["lr"] == pytest.approx(rate * share)
        assert group["betas"] == pytest.approx((0.5**share, 0.99**share))
        assert group["eps"] == 1e-8
    (_, maker), _ = StyleGAN2(**SMALL, lr_g=0.02, path_length_interval=0).configure_optimizers()
    assert maker.param_groups[0]["lr"] == 0.02


def test_losses_are_logged_under_their_player(fit, noise_batches):
    trainer = fit(StyleGAN2(**SMALL), noise_batches(2, (1, 8, 8)), max_steps=2, log_every_n_steps=1)
    assert set(trainer.callback_metrics) == {
        "generator/loss",
        "generator/path_length",
        "discriminator/loss",
        "discriminator/r1",
    }


def test_an_infinite_gradient_is_cut(fit, noise_batches):
    """The published code's nan_to_num: 0 for NaN, ±1e5 for ±∞, before Adam sees them."""
    seen = []

    class Spoil(Callback):
        """Lightning calls it before the model's own hook."""

        def on_before_optimizer_step(self, trainer, model, optimizer):
            if optimizer is trainer.optimizers[1]:
                gradient = model.generator.synthesis.const.grad
                gradient.view(-1)[:3] = torch.tensor([math.nan, math.inf, -math.inf])

        def on_train_batch_end(self, trainer, model, *_):
            moments = trainer.optimizers[1].state[model.generator.synthesis.const]
            seen.append(moments["exp_avg"].view(-1)[:3].tolist())

    model = StyleGAN2(**SMALL, betas=(0.0, 0.99), path_length_weight=0.0, r1_weight=0.0)
    fit(model, noise_batches(1, (1, 8, 8)), Spoil(), max_steps=1)
    assert seen == [[0.0, pytest.approx(1e5), pytest.approx(-1e5)]]


def test_augmentation_follows_overfitting_up_and_down(fit, noise_batches):
    """By the batch every four steps (2006.06676, Sec. 3.1), here of a discriminator that does not learn."""
    model = StyleGAN2(**SMALL, ada_target=0.6, ada_images=100, lr_g=0.0, lr_d=0.0)
    seen = []

    class Notes(Callback):
        def on_train_batch_end(self, trainer, model, *_):
            seen.append(model.augment.p.item())

    bias = model.discriminator.epilogue.out.bias
    for opinion in (100.0, -100.0):  # of reals and fakes alike
        torch.nn.init.constant_(bias, opinion)
        fit(model, noise_batches(13, (1, 8, 8), size=2), Notes(), max_steps=13)
    up = [0.0] * 4 + [0.08] * 4 + [0.16] * 4 + [0.24]
    down = [0.26] * 4 + [0.18] * 4 + [0.10] * 4 + [0.02]  # the 13th of the surely real batches counts first
    assert seen == pytest.approx(up + down)
    fit(model, noise_batches(13, (1, 8, 8), size=2), max_steps=13)
    assert model.augment.p == 0  # and never below


def test_augmentation_reaches_all_that_the_discriminator_sees(fit, noise_batches):
    model = StyleGAN2(**SMALL, ada_target=0.6)
    model.augment.augment = lambda images, p: images * 0
    seen = []
    model.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].abs().max().item()))
    trainer = fit(model, noise_batches(1, (1, 8, 8)), max_steps=1, log_every_n_steps=1)
    assert seen == [0.0] * 4  # in the generator's update, on reals, on fakes, and for R1
    assert trainer.callback_metrics["discriminator/r1"] == 0  # whose gradient goes through it


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_half_precision(precision, fit, noise_batches):
    """With penalties and augmentation, which has no parameters to say its precision."""
    model = StyleGAN2(**SMALL, num_classes=3, ada_target=-0.5, ada_images=100)
    first = copy.deepcopy(model.discriminator.state_dict())
    batches = noise_batches(6, (1, 8, 8), size=4, num_classes=3)
    trainer = fit(model, batches, max_steps=6, max_epochs=1, precision=precision)
    assert trainer.global_step == 6
    assert model.augment.p == pytest.approx(0.16)
    weights = [name for name in first if name.endswith("weight") and "mapping" not in name]
    change = [(model.discriminator.state_dict()[name].float() - first[name]).abs().max() for name in weights]
    assert all(1e-3 < difference < 0.1 for difference in change)


def test_freeze_d(fit, noise_batches):
    model = StyleGAN2((1, 16, 16), latent_dim=3, style_dim=4, mapping_layers=2, channel_max=4, freeze_d=1)
    first = copy.deepcopy(model.state_dict())
    fit(model, noise_batches(2, (1, 16, 16)), max_steps=2)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, first[name])}
    critic = {name for name in first if name.startswith("discriminator.")}
    assert {name for name in critic if ".b16." in name} == critic - moved


@pytest.mark.parametrize(
    "wrong", [{"r1_interval": -1}, {"style_mixing_prob": 1.5}, {"path_length_interval": -4}, {"ada_images": 0}]
)
def test_senseless_figures_are_refused(wrong):
    with pytest.raises(GANError, match=next(iter(wrong))):
        StyleGAN2(**SMALL, **wrong)
