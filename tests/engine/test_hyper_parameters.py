"""The arguments of any class of one's own are saved by the base, once, whatever its constructor does with them."""

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import nn

from gan_modules import GAN, GANError, VanillaGAN
from gan_modules.networks import MLPGenerator

SMALL = {"image_shape": (1, 4, 4), "latent_dim": 3, "hidden_dim": 4}


class Mine(VanillaGAN):
    """Saves nothing by itself; its argument is none of its base's."""

    def __init__(self, width=3, **options):
        super().__init__(image_shape=(1, 4, 4), latent_dim=2, hidden_dim=2 * width, **options)
        self.width = width
        width = "another thing by now"


class Positional(VanillaGAN):
    def __init__(self, first, second=2, /, third=3, *, fourth=4):
        super().__init__((1, 4, 4), first, second, lr_g=third, lr_d=fourth)


@pytest.fixture(params=["checkpoint", "folder"])
def again(request, fit, noise_batches, tmp_path):
    """What comes back of a model out of a file of either kind."""

    def again(model, **overrides):
        if request.param == "checkpoint":
            fit(model, noise_batches(1, (1, 4, 4)), max_steps=1).save_checkpoint(tmp_path / "mine.ckpt")
            return GAN.load_from_checkpoint(tmp_path / "mine.ckpt", **overrides)
        model.save_pretrained(tmp_path / "mine")
        return type(model).from_pretrained(tmp_path / "mine", **overrides)

    return again


def assert_same(found, model):
    assert type(found) is type(model)
    torch.testing.assert_close(found.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_a_class_that_saves_nothing_comes_back_with_its_arguments(again):
    model = Mine(5, ema_half_life=7.0, clip_norm=2.0)
    assert dict(model.hparams) == {"width": 5, "ema_half_life": 7.0, "clip_norm": 2.0}
    found = again(model)
    assert_same(found, model)
    assert dict(found.hparams) == dict(model.hparams)
    assert (found.width, found.clip_norm, found.hparams.ema_half_life) == (5, 2.0, 7.0)


def test_defaults_are_noted_and_can_be_replaced(again):
    model = Mine()
    assert dict(model.hparams) == {"width": 3}
    found = again(model, clip_norm=1.0)
    assert dict(found.hparams) == {"width": 3, "clip_norm": 1.0}
    assert found.clip_norm == 1.0


def test_positional_arguments_are_noted_by_name(again):
    model = VanillaGAN((1, 4, 4), 3, 4)
    assert {name: model.hparams[name] for name in SMALL} == SMALL
    assert_same(again(model), model)


def test_what_can_only_be_passed_by_place_is_noted_too():
    model = Positional(3, 4, fourth=0.5)
    assert dict(model.hparams) == {"first": 3, "second": 4, "third": 3, "fourth": 0.5}


def test_a_network_is_noted_by_its_class(fit, noise_batches, tmp_path):
    model = VanillaGAN(**SMALL, generator=MLPGenerator((1, 4, 4), 3, 7))
    noted = {"class_path": "gan_modules.networks.mlp.MLPGenerator"}
    assert model.hparams.generator == noted
    trainer = fit(model, noise_batches(1, (1, 4, 4)), max_steps=1)
    trainer.save_checkpoint(tmp_path / "mine.ckpt")
    saved = torch.load(tmp_path / "mine.ckpt", weights_only=True)
    assert saved["hyper_parameters"]["generator"] == noted
    found = VanillaGAN.load_from_checkpoint(tmp_path / "mine.ckpt", generator=MLPGenerator((1, 4, 4), 3, 7))
    assert_same(found, model)
    with pytest.raises(GANError):  # no code is saved: the network has to be passed again
        VanillaGAN.load_from_checkpoint(tmp_path / "mine.ckpt")


def test_another_module_that_holds_a_game_keeps_its_own_arguments():
    class Outer(LightningModule):
        def __init__(self, rate=0.1):
            super().__init__()
            self.game = VanillaGAN(**SMALL, lr_g=0.5)
            self.save_hyperparameters()

    outer = Outer(0.3)
    assert dict(outer.hparams) == {"rate": 0.3}
    assert outer.game.hparams.lr_g == 0.5
    assert "rate" not in outer.game.hparams


def test_a_game_within_a_game_keeps_its_own_arguments():
    class Outer(VanillaGAN):
        def __init__(self, depth, **options):
            teacher = VanillaGAN(**SMALL, lr_g=0.5)
            super().__init__(**SMALL | options)
            self.teacher = teacher

    model = Outer(2, lr_g=0.25)
    assert dict(model.hparams) == {"depth": 2, "lr_g": 0.25}
    assert model.teacher.hparams.lr_g == 0.5


def test_a_call_that_does_not_fit_is_pythons_own_error():
    with pytest.raises(TypeError, match="unexpected keyword argument 'unheard_of'"):
        VanillaGAN(unheard_of=1)
    with pytest.raises(TypeError, match="multiple values"):
        VanillaGAN((1, 4, 4), image_shape=(1, 4, 4))
    assert isinstance(VanillaGAN(**SMALL).generator, nn.Module)
