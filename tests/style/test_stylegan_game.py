"""StyleGAN's game: growth by images seen, reals as coarse as the fakes, and each step against a loop by hand."""

import copy

import pytest
import torch
from lightning.pytorch import Callback
from torch.nn.functional import softplus

from gan_modules import GANError, StyleGAN

SMALL = {"image_shape": (1, 32, 32), "latent_dim": 3, "style_dim": 4, "channel_max": 4, "mapping_layers": 2}


class Lods(Callback):
    """The lod of each network in each step."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, model, *_):
        assert model.generator.lod == model.discriminator.lod == model.generator_ema.lod
        self.seen.append(model.generator.lod)


def test_growth_at_1024_is_the_published_schedule():
    """600 kimg at each size from 8×8 and 600 kimg of fading between, so that 1024×1024 is reached after 9.0 Mimg."""
    with torch.device("meta"):
        model = StyleGAN(channel_max=1)
    rates = {}
    for kimg in range(0, 25_000, 100):
        model.images_seen = kimg * 1000
        phase, within = divmod(kimg, 1200)
        assert model.lod == pytest.approx(max(0, 7 - phase - max(0, (within - 600) / 600)), abs=1 / 8192)
        rates.setdefault(1024 >> int(model.lod), set()).add(model.rate(0))
    assert rates == {8: {1}, 16: {1}, 32: {1}, 64: {1}, 128: {1.5}, 256: {2}, 512: {3}, 1024: {3}}
    model.images_seen = 8_399_000
    assert model.lod > 0
    model.images_seen = 8_400_000
    assert model.lod == 0


def test_networks_grow_with_the_images_seen(fit, noise_batches):
    lods = Lods()
    model = StyleGAN(**SMALL, lod_training_images=12, lod_transition_images=24)
    assert model.generator.lod == 2
    fit(model, noise_batches(14, (1, 32, 32)), lods, max_steps=14)  # of 6 images
    exact = [2, 2, 2, 1.75, 1.5, 1.25, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0]
    assert lods.seen == exact


def test_moments_are_forgotten_when_layers_come_and_go(fit, noise_batches):
    """Published code: the optimizers' state is reset when a fade begins and when it ends."""
    steps = []

    class Notes(Callback):
        def on_train_batch_end(self, trainer, model, *_):
            for optimizer in trainer.optimizers:
                (count,) = {state["step"].item() for state in optimizer.state.values() if state}
            steps.append((count, sum(bool(state) for state in trainer.optimizers[0].state.values())))

    model = StyleGAN(**SMALL, lod_training_images=12, lod_transition_images=24)
    fit(model, noise_batches(13, (1, 32, 32)), Notes(), max_steps=13)
    counts = [count for count, _ in steps]
    assert counts == [1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1]
    layers = [layers for _, layers in steps]
    assert layers[0] == layers[2] < layers[3] == layers[5]  # those of 16×16 are there
    assert layers[6] == layers[3] - 2  # the way from images at 8×8 is gone


def test_learning_rates_rise_with_the_size(fit, noise_batches):
    seen = []

    class Rates(Callback):
        def on_train_batch_start(self, trainer, model, *_):
            seen.append([o.param_groups[0]["lr"] for o in trainer.optimizers])

    model = StyleGAN(
        (1, 128, 128),
        latent_dim=3,
        style_dim=4,
        mapping_layers=2,
        channel_max=2,
        first_size=64,
        lod_training_images=4,
        lod_transition_images=4,
    )
    fit(model, noise_batches(4, (1, 128, 128), size=2), Rates(), max_steps=4)
    assert seen == [pytest.approx([rate, rate]) for rate in (1e-3, 1e-3, 1e-3, 1.5e-3)]


def pixelated(images, squares):
    n, c, height, width = images.shape
    cells = images.view(n, c, height // squares, squares, width // squares, squares)
    return cells.mean((3, 5), keepdim=True).expand_as(cells).reshape(images.shape)


def test_trainer_plays_the_game_written_by_hand(fit, noise_batches):
    """At 8×8, half-way to 16×16, and there: reals faded too, R1 in every step, new latents for each update."""
    model = StyleGAN(
        **SMALL, lod_training_images=12, lod_transition_images=12, lr_g=0.01, lr_d=0.02, betas=(0.3, 0.9), r1_weight=8.0
    ).double()
    with torch.no_grad():  # else the first maps are constant, and their gradients nothing but rounding errors
        model.generator.const.normal_()
    batches = noise_batches(5, (1, 32, 32))
    generator, discriminator = copy.deepcopy(model.generator), copy.deepcopy(model.discriminator)
    lods = Lods()
    fit(model, batches, lods, seed=5, precision="64-true", max_steps=5)
    assert lods.seen == [2, 2, 2, 1.5, 1]

    torch.manual_seed(5)

    def optimizer(network, lr):
        return torch.optim.Adam(network.parameters(), lr=lr, betas=(0.3, 0.9), eps=1e-8)

    def images(layers):
        ws = generator.mapping(torch.randn(6, 3, dtype=torch.float64))
        if torch.rand((), dtype=torch.float64) < 0.9:
            other = generator.mapping(torch.randn(6, 3, dtype=torch.float64))
            cutoff = torch.randint(1, layers, ()).item()
            ws = torch.stack([(ws if layer < cutoff else other)[:, layer] for layer in range(8)], dim=1)
        return generator.synthesis(ws)

    step_g, step_d = optimizer(generator, 0.01), optimizer(discriminator, 0.02)
    for (real,), lod in zip(batches, lods.seen, strict=True):
        real = real.double()
        if lod in (1.5, 1):  # layers come, and go
            step_g, step_d = optimizer(generator, 0.01), optimizer(discriminator, 0.02)
        generator.lod = discriminator.lod = lod
        real = {
            2: pixelated(real, 4),
            1.5: (pixelated(real, 2) + pixelated(real, 4)) / 2,
            1: pixelated(real, 2),
        }[lod].requires_grad_()
        layers = 4 if lod == 2 else 6

        with torch.no_grad():
            fake = images(layers)
        step_d.zero_grad()
        on_real = discriminator(real)
        (slope,) = torch.autograd.grad(on_real.sum(), real, create_graph=True)
        penalty = 8.0 / 2 * slope.square().sum((1, 2, 3))
        (softplus(-on_real).mean() + softplus(discriminator(fake)).mean() + penalty.mean()).backward()
        step_d.step()

        step_g.zero_grad()
        softplus(-discriminator(images(layers))).mean().backward()
        step_g.step()

    for ours, theirs in ((model.generator, generator), (model.discriminator, discriminator)):
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=1e-8)


@pytest.mark.parametrize("first", [2, 4, 6])
def test_a_continued_run_ends_in_the_same_bits(first, fit_digits, tmp_path, bits):
    """Stopped before a fade, within it, and right at its end."""
    options = {"num_classes": 10, "lod_training_images": 12, "lod_transition_images": 24}

    def start():
        torch.manual_seed(1)
        return StyleGAN(**SMALL, **options)

    model, lods = start(), Lods()
    expected = bits(model, fit_digits(model, 32, 11, lods))
    fit_digits(start(), 32, first).save_checkpoint(tmp_path / "first.ckpt")
    model, continued = start(), Lods()
    trainer = fit_digits(model, 32, 11, continued, seed=99, ckpt_path=tmp_path / "first.ckpt")
    torch.testing.assert_close(bits(model, trainer), expected, rtol=0, atol=0)
    assert continued.seen == lods.seen[first:]


def test_files_keep_the_lod(fit, noise_batches, tmp_path):
    model = StyleGAN(**SMALL, lod_training_images=12, lod_transition_images=24)
    trainer = fit(model, noise_batches(5, (1, 32, 32)), max_steps=5)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    model.save_pretrained(tmp_path)
    images = model.sample(3, seed=0)
    assert torch.equal(images[..., ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3), images)  # in squares
    for again in (StyleGAN.load_from_checkpoint(tmp_path / "last.ckpt"), StyleGAN.from_pretrained(tmp_path)):
        assert again.generator_ema.lod == 1.5
        assert again.lod == 1.25  # of the next step
        assert torch.equal(again.sample(3, seed=0), images)


def test_sample_has_the_full_size_from_the_first_step():
    images = StyleGAN(**SMALL).sample(2, seed=0)
    assert images.shape == (2, 1, 32, 32)
    torch.testing.assert_close(pixelated(images, 4), images)


def test_the_level_is_logged(fit, noise_batches):
    model = StyleGAN(**SMALL, lod_training_images=0, lod_transition_images=24)
    fit(model, noise_batches(2, (1, 32, 32)), max_steps=2)
    assert model.extra_metrics() == {"lod": 1.5}


@pytest.mark.parametrize(
    "wrong",
    [
        {"first_size": 64},
        {"first_size": 12},
        {"lod_training_images": -1},
        {"lod_training_images": 0, "lod_transition_images": 0},
    ],
)
def test_senseless_growth_is_refused(wrong):
    with pytest.raises(GANError, match=next(iter(wrong))):
        StyleGAN(**SMALL, **wrong)
