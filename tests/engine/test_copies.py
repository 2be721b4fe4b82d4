"""A model is copied and pickled like any module, before a fit and after it."""

import copy
import io
import pickle

import pytest
import torch

from gan_modules import WGANGP, CycleGAN, StyleGAN2, VanillaGAN

STYLES = {"image_shape": (1, 8, 8), "latent_dim": 3, "style_dim": 4, "channel_max": 4, "mapping_layers": 2}
SIDES = {"base_channels": 2, "discriminator_channels": 2, "patch_layers": 1, "generator": "resnet_1"}
GAMES = {
    "vanilla": lambda: VanillaGAN((1, 8, 8), latent_dim=3, hidden_dim=4, clip_norm=1.0),
    "wgan_gp": lambda: WGANGP((1, 8, 8), latent_dim=3, base_channels=4, n_critic=2, decay_steps=9),
    "stylegan2": lambda: StyleGAN2(**STYLES, ada_target=0.6, r1_interval=2),
    "cyclegan": lambda: CycleGAN((1, 16, 16), **SIDES, pool_size=2, ema_half_life=100.0),
}


def pickled(model):
    return pickle.loads(pickle.dumps(model))


def saved_whole(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled, saved_whole])
@pytest.mark.parametrize("game", GAMES)
def test_a_copy_goes_on_as_its_original_would(game, copied, fit, noise_batches):
    torch.manual_seed(0)
    model = GAMES[game]()
    images = noise_batches(6, model.image_shape, size=4)
    batches = [(image, image.flip(3)) for (image,) in images] if game == "cyclegan" else images
    fit(model, batches, max_steps=2)
    other = copied(model)
    torch.testing.assert_close(other.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert other.images_seen == model.images_seen
    before = copy.deepcopy(model.state_dict())
    fit(other, batches, max_steps=2)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)  # they share nothing
    fit(model, batches, max_steps=2)
    torch.testing.assert_close(other.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert any(not torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items() if "_ema" in name)


def test_a_model_is_copied_in_the_middle_of_its_fit(fit, noise_batches):
    copies = []

    class Copying(VanillaGAN):
        def after_update(self, player):
            copies.append(copy.deepcopy(self))

    fit(Copying((1, 4, 4), latent_dim=3, hidden_dim=4), noise_batches(2), max_steps=2)
    assert len(copies) == 4
    assert not torch.equal(copies[0].discriminator.layers[0].weight, copies[-1].discriminator.layers[0].weight)
    copies[0].sample(2, seed=0)
