"""Training and evaluation mode: what is trained trains, and averages never do, whatever the user has called."""

import copy
import warnings

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn

from gan_modules import CGAN, DCGAN, CycleGAN, VanillaGAN

SMALL = {"image_shape": (1, 8, 8), "latent_dim": 4, "base_channels": 2}


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def modes(network):
    return {module.training for module in network.modules()}


class Modes(Callback):
    """The modes during a batch, by network."""

    def on_train_batch_end(self, trainer, model, *_):
        self.seen = {name: modes(child) for name, child in model.named_children()}


HABITS = {
    "eval": lambda model: model.eval(),
    "generator": lambda model: model.generator.eval(),
    "freeze": lambda model: (model.freeze(), model.unfreeze(), model.eval()),
    "sampled": lambda model: model.eval().sample(2, seed=0),
    "averages": lambda model: model.generator_ema.train(),
}


@pytest.mark.parametrize("habit", HABITS)
def test_a_fit_is_the_same_whatever_mode_it_finds(fit, noise_batches, habit):
    torch.manual_seed(0)
    model = DCGAN(**SMALL)
    other = copy.deepcopy(model)
    HABITS[habit](other)
    for one in (model, other):
        fit(one, noise_batches(3, (1, 8, 8)), max_steps=3)
    assert all(torch.equal(tensor, weights(model)[name]) for name, tensor in weights(other).items())
    moved = {name for name in weights(model) if "running_mean" in name and weights(model)[name].any()}
    assert any(name.startswith("generator.") for name in moved)  # BatchNorm has seen the training
    assert not any(parameter.requires_grad for parameter in other.generator_ema.parameters())


def test_averages_stay_in_evaluation_mode():
    model = DCGAN(**SMALL)
    z = torch.randn(4, 4)
    before = model(z)
    model.train()
    assert modes(model.generator) == {True}
    assert modes(model.generator_ema) == {False}
    model.generator_ema.train()
    assert torch.equal(model(z), before)  # BatchNorm would take the batch's statistics, and note them


def test_each_network_in_a_container_is_put_into_training_mode(fit, noise_batches):
    torch.manual_seed(0)
    patches = {"image_shape": (3, 8, 8), "base_channels": 2, "discriminator_channels": 2, "patch_layers": 1}
    model = CycleGAN(**patches, generator="resnet_1", norm="batch", ema_half_life=10)
    model.generators["AtoB"].eval()
    a, b = noise_batches(2, (3, 8, 8))
    seen = Modes()
    fit(model, [(*a, *b)], seen, max_steps=1)
    assert seen.seen == {"generators": {True}, "generators_ema": {False}, "discriminators": {True}}


def test_a_part_that_is_kept_in_evaluation_mode_stays_so(fit, noise_batches):
    """As in fine-tuning with BatchNorm held still; the samples drawn meanwhile do not end it."""

    class Draws(Callback):
        def on_train_batch_start(self, trainer, model, *_):
            model.sample(2, seed=0, ema=False)

    model = DCGAN(**SMALL)
    held = [module for module in model.generator.modules() if isinstance(module, nn.BatchNorm2d)]
    assert held
    for module in held:
        module.eval()
    fit(model, noise_batches(2, (1, 8, 8)), Draws(), max_steps=2)
    assert not any(module.training or module.running_mean.any() for module in held)


def test_a_frozen_network_that_a_loss_asks_keeps_its_mode_and_an_augmentation_works(fit, noise_batches):
    class Asked(VanillaGAN):
        def __init__(self):
            super().__init__(image_shape=(1, 4, 4), latent_dim=3, hidden_dim=4, augment=nn.Dropout(0.5))
            self.teacher = nn.Linear(2, 2).requires_grad_(False).eval()

    model, seen = Asked().eval(), Modes()
    fit(model, noise_batches(1), seen, max_steps=1)
    assert seen.seen["teacher"] == {False}
    assert seen.seen["augment"] == {True}
    assert model.training


def test_a_healthy_fit_hears_no_warning_about_modes(fit, noise_batches):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(CGAN(image_shape=(1, 4, 4), num_classes=2, hidden_dim=4), noise_batches(1, num_classes=2), max_steps=1)
    said = [str(warning.message) for warning in caught if "eval mode" in str(warning.message)]
    assert not said
