"""What each paper asks for: its figures as defaults, its constraint on the critic, its objectives."""

import inspect
import math

import pytest
import torch
from lightning.pytorch import Callback

from gan_modules import CGAN, DCGAN, WGAN, WGANGP, GANError, VanillaGAN
from gan_modules.engine.inputs import Inputs

# Goodfellow et al. train by SGD with momentum and name no rate: VanillaGAN takes over DCGAN's, and says so.
PAPERS = [
    # Radford et al. 2016, Sec. 4: "learning rate of 0.0002", "β1 to 0.5", "batch size 128", "zero-centered Normal
    # distribution with standard deviation 0.02", "slope of the leak was set to 0.2"; Fig. 1: Z of 100, 1024 channels.
    (DCGAN, {"lr_g": 2e-4, "lr_d": 2e-4, "betas": (0.5, 0.999), "latent_dim": 100, "base_channels": 128}),
    # Goodfellow et al. 2014, Algorithm 1: "we used k = 1".
    (VanillaGAN, {"n_critic": 1, "lr_g": 2e-4, "lr_d": 2e-4, "betas": (0.5, 0.999)}),
    (CGAN, {"n_critic": 1, "lr_g": 2e-4, "lr_d": 2e-4, "betas": (0.5, 0.999), "latent_dim": 100}),
    # Arjovsky et al. 2017, Algorithm 1: "α = 0.00005, c = 0.01, m = 64, n_critic = 5", RMSProp.
    (WGAN, {"lr_g": 5e-5, "lr_d": 5e-5, "clip": 0.01, "n_critic": 5}),
    # Gulrajani et al. 2017, Algorithm 1: "λ = 10, n_critic = 5, α = 0.0001, β1 = 0, β2 = 0.9".
    (WGANGP, {"gp_weight": 10.0, "n_critic": 5, "lr_g": 1e-4, "lr_d": 1e-4, "betas": (0.0, 0.9), "latent_dim": 128}),
]


def inputs(real=None, fake=None, *condition):
    """What an objective is given of these reals, fakes and labels."""
    return Inputs(real, condition, generate=lambda x: fake)


@pytest.mark.parametrize(("cls", "figures"), PAPERS)
def test_defaults_are_the_papers(cls, figures):
    defaults = {name: parameter.default for name, parameter in inspect.signature(cls).parameters.items()}
    assert {name: defaults[name] for name in figures} == figures


@pytest.mark.parametrize("cls", [VanillaGAN, DCGAN, WGAN, WGANGP, CGAN])
def test_each_player_has_the_papers_optimizer_at_its_own_rate(cls):
    size = {"image_shape": (1, 8, 8), "latent_dim": 2}
    betas = {} if cls is WGAN else {"betas": (0.25, 0.75)}
    model = cls(**size, lr_g=0.1, lr_d=0.2, **betas)
    (critic, maker), _ = model.configure_optimizers()
    assert type(critic) is type(maker) is (torch.optim.RMSprop if cls is WGAN else torch.optim.Adam)
    for optimizer, network, rate in ((critic, model.discriminator, 0.2), (maker, model.generator, 0.1)):
        (group,) = optimizer.param_groups
        assert group["lr"] == rate
        assert [id(p) for p in group["params"]] == [id(p) for p in network.parameters()]
        if cls is WGAN:  # torch's own, as the published code leaves them
            assert (group["alpha"], group["eps"], group["momentum"], group["centered"]) == (0.99, 1e-8, 0, False)
        else:
            assert group["betas"] == (0.25, 0.75)


def test_dcgans_first_feature_map_is_the_papers():
    """Fig. 1: from 100 numbers to 1024 channels of 4×4, and 128 before the image of 3×64×64."""
    generator = DCGAN().generator
    assert generator.layers[0].weight.shape == (100, 1024, 4, 4)
    assert generator.layers[-2].weight.shape == (128, 3, 4, 4)


class AfterSteps(Callback):
    def __init__(self, look):
        self.look = look

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx):
        self.look(model, batch_idx)


@pytest.mark.parametrize("shape", [{"point_shape": (2,)}, {"image_shape": (1, 16, 16)}])
def test_wgans_weights_are_within_the_clip_after_every_update(shape, fit, noise_batches):
    model = WGAN(**shape, latent_dim=2, base_channels=2, hidden_dim=8, clip=0.03, lr_d=0.01, lr_g=0.01, n_critic=3)
    largest = []

    def look(model, batch_idx):
        largest.append(
            [max(p.abs().max().item() for p in n.parameters()) for n in (model.discriminator, model.generator)]
        )

    fit(model, noise_batches(6, model.sample_shape), AfterSteps(look), max_steps=2)
    assert len(largest) == 6
    assert [critic for critic, _ in largest] == [pytest.approx(0.03)] * 6  # reached, since the steps are large
    assert all(generator > 0.1 for _, generator in largest)  # and the generator is left alone


@pytest.mark.parametrize("clip", [0, -0.01])
def test_wgan_needs_a_clip(clip):
    with pytest.raises(GANError, match=f"clip={clip} must be above 0"):
        WGAN(point_shape=(2,), clip=clip)


@pytest.mark.parametrize("saturating", [True, False])
def test_generators_gradient_is_the_closed_form(saturating):
    """With D = σ(logit): ∂ log(1 - D) = -D and ∂ -log D = -(1 - D), per logit and over the batch's mean (Sec. 3)."""
    model = VanillaGAN(point_shape=(2,), latent_dim=2, hidden_dim=4, saturating=saturating)
    logits = torch.tensor([[-9.0], [-1.0], [0.0], [2.0], [7.0]], requires_grad=True)
    model.discriminator.register_forward_hook(lambda *_: logits)
    (loss,) = model.generator_losses(inputs(fake=torch.zeros(5, 2))).values()
    (gradient,) = torch.autograd.grad(loss, logits)
    likely = [1 / (1 + math.exp(-logit)) for logit in logits.flatten().tolist()]
    expected = [-d / 5 if saturating else -(1 - d) / 5 for d in likely]
    assert gradient.flatten().tolist() == pytest.approx(expected, rel=1e-5)
    value = [math.log(1 - d) if saturating else -math.log(d) for d in likely]
    assert loss.item() == pytest.approx(sum(value) / 5, rel=1e-5)


def test_gradient_penalty_on_points_is_that_of_a_plane(fit):
    """A linear critic slopes alike everywhere: the penalty is λ (‖w‖ - 1)², whatever the points."""
    model = WGANGP(point_shape=(2,), latent_dim=2, hidden_dim=4, gp_weight=3.0)
    model.discriminator = torch.nn.Linear(2, 1)
    with torch.no_grad():
        model.discriminator.weight.copy_(torch.tensor([[3.0, 4.0]]))
        model.discriminator.bias.fill_(7.0)
    real, fake = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    terms = model.discriminator_losses(inputs(real, fake))
    assert terms["critic"].item() == pytest.approx((0 + 7) / 2 - (3 + 4) / 2)
    assert terms["gradient_penalty"].item() == pytest.approx(3.0 * (5 - 1) ** 2)
    assert model.generator_losses(inputs(real, fake))["critic"].item() == pytest.approx(-(7 + 14) / 2)


def test_wgan_gp_learns_where_the_points_are(fit):
    """A point cloud around (1, -1): the Wasserstein game finds it."""
    torch.manual_seed(0)
    model = WGANGP(point_shape=(2,), latent_dim=2, hidden_dim=32, lr_g=3e-3, lr_d=3e-3, n_critic=3, ema_half_life=0)
    batches = [(torch.tensor([1.0, -1.0]) + 0.1 * torch.randn(64, 2),) for _ in range(30)]
    fit(model, batches, max_steps=250)
    centre = model.sample(1000, seed=0).mean(0)
    assert torch.linalg.vector_norm(centre - torch.tensor([1.0, -1.0])) < 0.2


def test_wgan_gp_needs_steps_to_decay_over():
    with pytest.raises(GANError, match="decay_steps=0 must be at least 1"):
        WGANGP(point_shape=(2,), decay_steps=0)


def test_cgan_learns_what_the_label_says(fit):
    """Class 0 is black and class 1 white: only the label can tell."""
    torch.manual_seed(0)
    model = CGAN((1, 2, 2), num_classes=2, latent_dim=2, hidden_dim=32, lr_g=2e-3, lr_d=2e-3, ema_half_life=0)
    batches = []
    for _ in range(20):
        labels = torch.randint(2, (64,))
        shade = 1.6 * labels.float() - 0.8
        batches.append((shade.view(-1, 1, 1, 1) + 0.1 * torch.randn(64, 1, 2, 2), labels))
    fit(model, batches, max_steps=200)
    assert model.sample(50, labels=0, seed=0).mean() < -0.5
    assert model.sample(50, labels=1, seed=0).mean() > 0.5


def test_cgans_players_both_see_the_label():
    model = CGAN((1, 2, 2), num_classes=2, latent_dim=2, hidden_dim=8)
    real, fake, labels = torch.rand(6, 1, 2, 2), torch.rand(6, 1, 2, 2), torch.tensor([0, 1, 0, 1, 1, 0])
    with torch.no_grad():
        logits_real, logits_fake = model.discriminator(real, labels), model.discriminator(fake, labels)
        expected_d = -(logits_real.sigmoid().log().mean() + (1 - logits_fake.sigmoid()).log().mean())
        expected_g = -logits_fake.sigmoid().log().mean()
        assert model.discriminator_losses(inputs(real, fake, labels))["minimax"].item() == pytest.approx(
            expected_d.item()
        )
        assert model.generator_losses(inputs(real, fake, labels))["adversarial"].item() == pytest.approx(
            expected_g.item()
        )
        other = model.discriminator_losses(inputs(real, fake, 1 - labels))["minimax"].item()
    assert other != pytest.approx(expected_d.item(), rel=1e-3)


def test_cgan_needs_classes():
    with pytest.raises(GANError, match="CGAN needs at least one class, not num_classes=0: choose data with labels"):
        CGAN(num_classes=0)
