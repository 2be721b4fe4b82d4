"""The averaged generator against the closed form on the generators recorded after each step."""

import copy
from functools import partial

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn

from gan_modules import DCGAN, WGANGP, VanillaGAN
from gan_modules.families.latent import LatentGAN


class Recorded(Callback):
    """The generator after each of its updates, and the images seen by then."""

    def __init__(self):
        self.generators = []
        self.images = []
        self._steps = 0

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx):
        if trainer.global_step > self._steps:
            self._steps = trainer.global_step
            self.generators.append({name: t.clone() for name, t in model.generator.state_dict().items()})
            self.images.append(model.images_seen)


def weights_in_closed_form(images, half_life):
    """Each recorded generator's share, and that of the first weights: products of the decays that came after."""
    decays = []
    for now, before in zip(images, [0, *images], strict=False):
        decays.append(2.0 ** (-(now - before) / min(half_life, 0.05 * now)))
    shares = []
    for index, decay in enumerate(decays):
        later = torch.tensor(decays[index + 1 :], dtype=torch.float64).prod().item()
        shares.append((1 - decay) * later)
    return torch.tensor(decays, dtype=torch.float64).prod().item(), shares


@pytest.mark.parametrize("n_critic", [1, 5])
@pytest.mark.parametrize("half_life", [20, 10_000])
def test_average_is_the_closed_form(n_critic, half_life, fit, noise_batches):
    """Half-life in images, at most a twentieth of the images seen (arXiv:2006.06676, Appendix: 5 % ramp-up)."""
    model = DCGAN((1, 16, 16), latent_dim=3, base_channels=2, n_critic=n_critic, lr_g=0.05, ema_half_life=half_life)
    first = copy.deepcopy(model.generator.state_dict())
    recorded = Recorded()
    fit(model, noise_batches(12 * n_critic, (1, 16, 16), size=40 // n_critic), recorded, max_steps=12)
    assert recorded.images == [40 * step for step in range(1, 13)]
    start, shares = weights_in_closed_form(recorded.images, half_life)
    for name, average in model.generator_ema.state_dict().items():
        if not average.is_floating_point():
            continue
        expected = start * first[name].double()
        for share, generator in zip(shares, recorded.generators, strict=True):
            expected += share * generator[name].double()
        torch.testing.assert_close(average.double(), expected, rtol=1e-4, atol=1e-5)
    weight = "layers.0.weight"
    assert not torch.allclose(model.generator_ema.state_dict()[weight], model.generator.state_dict()[weight], atol=1e-3)


def test_batch_statistics_are_averaged_too(fit, noise_batches):
    model = DCGAN((1, 16, 16), latent_dim=3, base_channels=2)
    buffers = {name for name, _ in model.generator_ema.named_buffers() if name.endswith(("mean", "var"))}
    first = {name: tensor.clone() for name, tensor in model.generator_ema.named_buffers()}
    fit(model, noise_batches(3, (1, 16, 16)), max_steps=3)
    assert len(buffers) == 4
    for name in buffers:
        assert not torch.equal(dict(model.generator_ema.named_buffers())[name], first[name])


def test_average_is_frozen_still_and_no_players(fit, noise_batches):
    model = DCGAN((1, 16, 16), latent_dim=3, base_channels=2)
    moved = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer, module, *_):
            ours = {id(p) for o in trainer.optimizers for group in o.param_groups for p in group["params"]}
            moved.append(any(id(p) in ours for p in module.generator_ema.parameters()))

    fit(model, noise_batches(2, (1, 16, 16)), Watch(), max_steps=2)
    assert moved == [False, False]
    assert not any(p.requires_grad for p in model.generator_ema.parameters())
    assert all(p.grad is None for p in model.generator_ema.parameters())


def test_no_half_life_no_average(fit, noise_batches):
    model = VanillaGAN((1, 4, 4), latent_dim=3, hidden_dim=8, ema_half_life=0)
    fit(model, noise_batches(2), max_steps=2)
    assert model.generator_ema is None
    assert not any("ema" in name for name in model.state_dict())
    z = torch.randn(4, 3)
    with torch.no_grad():
        raw = model.generator.eval()(z)
    assert torch.equal(model.sample(4, z=z), raw)
    assert torch.equal(model.sample(4, z=z, ema=False), raw)
    assert torch.equal(model(z), raw)


def test_average_goes_on_after_a_resume(fit, noise_batches, tmp_path):
    def model():
        torch.manual_seed(0)
        return WGANGP(point_shape=(2,), latent_dim=2, hidden_dim=4, n_critic=2, lr_g=0.05, ema_half_life=30)

    batches = noise_batches(8, (2,))  # four steps an epoch
    reseed = Reseed()
    whole = model()
    fit(whole, batches, reseed, max_epochs=2)
    fit(model(), batches, reseed, max_epochs=1).save_checkpoint(tmp_path / "half.ckpt")
    resumed = model()
    fit(resumed, batches, reseed, max_epochs=2, ckpt_path=tmp_path / "half.ckpt")
    torch.testing.assert_close(resumed.generator_ema.state_dict(), whole.generator_ema.state_dict(), rtol=0, atol=0)


class Reseed(Callback):
    """Noise that depends on the epoch alone, as a stand-in for a saved random state."""

    def on_train_epoch_start(self, trainer, model):
        torch.manual_seed(100 + trainer.current_epoch)


class Mine(nn.Module):
    def __init__(self, units):
        super().__init__()
        self.hidden, self.out = nn.Linear(3, units), nn.Linear(units, 16)

    def forward(self, z):
        return self.out(self.hidden(z).relu()).tanh().view(-1, 1, 4, 4)


@pytest.mark.parametrize("units", [8, 5])
def test_a_generator_put_in_place_of_the_first_is_averaged(units, fit, noise_batches):
    model = VanillaGAN((1, 4, 4), latent_dim=3, hidden_dim=8, lr_g=0.05, ema_half_life=20)
    model.generator = Mine(units)
    z = torch.randn(4, 3)
    with torch.no_grad():
        own = model.generator(z)
    assert torch.equal(model.sample(4, z=z), own)  # there is no average of it yet
    first = copy.deepcopy(model.generator.state_dict())
    recorded = Recorded()
    fit(model, noise_batches(5, size=40), recorded, max_steps=5)
    start, shares = weights_in_closed_form(recorded.images, 20)
    for name, average in model.generator_ema.state_dict().items():
        states = [generator[name].double() for generator in recorded.generators]
        expected = start * first[name].double() + sum(s * g for s, g in zip(shares, states, strict=True))
        torch.testing.assert_close(average.double(), expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        averaged = model.generator_ema(z)
    assert torch.equal(model.sample(4, z=z), averaged)
    assert not torch.allclose(averaged, model.sample(4, z=z, ema=False), atol=1e-3)


class Spectral(LatentGAN):
    """A small hinge game whose generator has spectral normalization too."""

    def __init__(self, normalized):
        torch.manual_seed(0)
        generator = nn.Sequential(normalized(nn.Linear(8, 16)), nn.ReLU(), normalized(nn.Linear(16, 2)))
        critic = nn.Sequential(normalized(nn.Linear(2, 16)), nn.LeakyReLU(0.2), normalized(nn.Linear(16, 1)))
        adam = partial(torch.optim.Adam, lr=0.02, betas=(0.0, 0.9))
        sizes = {"point_shape": (2,), "latent_dim": 8, "ema_half_life": 2000}
        super().__init__(generator, critic, optimizer_g=adam, optimizer_d=adam, **sizes)

    def discriminator_losses(self, x):
        return {"hinge": (1 - self.logits(x.real)).relu().mean() + (1 + self.logits(x.fake)).relu().mean()}

    def generator_losses(self, x):
        return {"hinge": -self.logits(x.fake).mean()}


@pytest.mark.filterwarnings("ignore:.*torch.nn.utils.weight_norm.*")
@pytest.mark.parametrize("normalized", [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm])
def test_the_average_of_a_spectrally_normalized_network_is_one(normalized, fit, noise_batches):
    model = Spectral(normalized)
    fit(model, noise_batches(40, (2,), size=32), max_steps=300)
    z = torch.eye(8)
    layers = [model.generator_ema[0], model.generator_ema[2]]
    with torch.no_grad():
        model.generator_ema(z)  # a hook computes its weight in the forward pass
        values = [torch.linalg.matrix_norm(layer.weight, 2).item() for layer in layers]
    assert max(values) <= 1.05
    assert min(values) > 0.5
    vectors = {name for name, _ in model.generator.named_buffers() if name.endswith(("_u", "_v"))}
    assert len(vectors) == 4
    for name, own in model.generator.named_buffers():
        assert torch.equal(dict(model.generator_ema.named_buffers())[name], own)
    weights = dict(model.generator.named_parameters())
    assert any(not torch.equal(own, weights[name]) for name, own in model.generator_ema.named_parameters())


def test_one_step_after_from_pretrained_does_not_forget_the_average(fit, noise_batches, tmp_path):
    """A half-life of 2,000 images and a batch of 6: the average keeps 99.8 % of what it was."""
    model = VanillaGAN((1, 4, 4), latent_dim=3, hidden_dim=8, lr_g=0.05, ema_half_life=2000)
    fit(model, noise_batches(5), max_steps=5)
    model.images_seen = 100_000  # as after a long training
    model.save_pretrained(tmp_path)
    again = VanillaGAN.from_pretrained(tmp_path)
    first = copy.deepcopy(again.generator_ema.state_dict())
    assert again.images_seen == 100_000
    fit(again, noise_batches(1), max_steps=1)
    share = 2.0 ** (-6 / 2000)
    for name, average in again.generator_ema.state_dict().items():
        expected = share * first[name] + (1 - share) * again.generator.state_dict()[name]
        torch.testing.assert_close(average, expected, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(average, again.generator.state_dict()[name], atol=1e-3)
