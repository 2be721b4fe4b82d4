"""A fit that is longer than its schedule of learning rates is said before the first step."""

import warnings

import pytest
import torch
from torch.utils.data import IterableDataset

from gan_modules import WGANGP, CycleGAN, Pix2Pix, VanillaGAN
from gan_modules.engine.players import Player
from gan_modules.engine.schedules import idle_from

PATCHES = {"image_shape": (3, 8, 8), "base_channels": 2, "discriminator_channels": 2, "patch_layers": 1}
SMALL = {"image_shape": (1, 4, 4), "latent_dim": 3, "hidden_dim": 4}


@pytest.fixture
def said(fit):
    """What a fit says about its schedules before its first step, on batches of two images."""

    def said(model, batches, **options):
        class StoppedError(Exception):
            """Nothing is trained."""

        def stop(batch):
            raise StoppedError

        model.loop.step = stop
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with pytest.raises(StoppedError):
                fit(model, batches, **options)
        return [str(warning.message) for warning in caught if "learning rate" in str(warning.message)]

    return said


def pairs(count):
    return [(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8))] * count


@pytest.mark.parametrize(
    "options", [{"max_epochs": None}, {"max_epochs": 1000}, {"max_epochs": -1}, {"max_steps": 403}]
)
def test_epochs_beyond_the_decay_are_said(said, options):
    (sentence,) = said(Pix2Pix(**PATCHES), pairs(2), **options)
    assert "100 + 100 epochs" in sentence
    assert "Trainer(max_epochs=200)" in sentence
    length = {None: "1000 epochs", 1000: "1000 epochs", -1: "no end"}
    assert (length[options["max_epochs"]] if "max_epochs" in options else "202 epochs") in sentence


def test_the_rates_are_0_when_they_are_said_to_be(fit):
    rates = []

    class Watched(CycleGAN):
        def after_step(self):
            rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
            super().after_step()

    model = Watched(**PATCHES, generator="resnet_1", epochs_constant=1, epochs_decay=2)
    with pytest.warns(UserWarning, match=r"after epochs_constant \+ epochs_decay = 1 \+ 2 epochs"):
        fit(model, pairs(2), max_epochs=5)
    by_epoch = [rates[2 * epoch] for epoch in range(5)]  # the first step of each; the rates of the step after it
    assert [rate == 0 for rate in by_epoch] == [False, False, False, True, True]


@pytest.mark.parametrize("options", [{"max_epochs": 200}, {"max_epochs": 7}, {"max_steps": 400}])
def test_a_fit_within_the_schedule_hears_nothing(said, options):
    assert said(Pix2Pix(**PATCHES), pairs(2), **options) == []


def test_without_a_decay_nothing_is_said(said):
    assert said(Pix2Pix(**PATCHES, epochs_decay=None), pairs(2), max_epochs=1000) == []


def test_an_endless_loader_has_no_epochs_to_fall_by(said):
    class Endless(IterableDataset):
        def __iter__(self):
            while True:
                yield pairs(1)[0]

    (sentence,) = said(CycleGAN(**PATCHES, generator="resnet_1"), Endless(), max_steps=1000)
    assert "limit_train_batches" in sentence
    options = {"max_steps": 400, "limit_train_batches": 2}
    assert said(CycleGAN(**PATCHES, generator="resnet_1"), Endless(), **options) == []


def test_steps_beyond_the_decay_are_said(said, noise_batches):
    model = {"image_shape": (1, 8, 8), "base_channels": 2, "n_critic": 2, "decay_steps": 10}
    discriminators, generators = said(WGANGP(**model), noise_batches(1, (1, 8, 8)), max_steps=30)
    assert "discriminator's learning rate is 0 from step 10 on, and this fit has 30" in discriminators
    assert "generator's" in generators
    assert len(said(WGANGP(**model), noise_batches(2, (1, 8, 8)), max_epochs=12)) == 2  # 12 steps
    assert said(WGANGP(**model), noise_batches(2, (1, 8, 8)), max_epochs=10) == []
    assert said(WGANGP(**model), noise_batches(1, (1, 8, 8)), max_steps=10) == []
    assert "no end" in said(WGANGP(**model), noise_batches(1, (1, 8, 8)))[0]


@pytest.mark.parametrize("first", [0, 1, 7, 97, 98])
def test_the_first_idle_step_is_found(first):
    assert idle_from(lambda step: float(step < first), 100) == first
    assert idle_from(lambda step: 1.0, 100) is None
    assert idle_from(lambda step: float(step < 99), 100) is None


def test_a_schedule_of_ones_own_is_looked_at_too(said, noise_batches):
    class Mine(VanillaGAN):
        def players(self):
            players = super().players()
            own = Player(self.generator, self.optimizer_g, lambda step: float(step < 5))
            return players | {"generator": own}

    (sentence,) = said(Mine(**SMALL), noise_batches(1), max_steps=9)
    assert "The generator's learning rate is 0 from step 5 on, and this fit has 9" in sentence
