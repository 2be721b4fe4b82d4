"""`sample`: repeatable, of the classes asked for, and without a trace in the training."""

import pytest
import torch

from gan_modules import CGAN, DCGAN, GANError, VanillaGAN


@pytest.fixture
def dcgan(play, noise_batches):
    """A DCGAN in the middle of its training, its average far from its generator."""
    model = DCGAN((1, 16, 16), latent_dim=3, base_channels=2, lr_g=0.02, ema_half_life=40)
    play(model, noise_batches(6, (1, 16, 16)), max_steps=6)
    return model.train()


@pytest.fixture
def cgan():
    torch.manual_seed(0)
    return CGAN((1, 4, 4), num_classes=3, latent_dim=3, hidden_dim=16)


def test_a_seed_repeats_the_draw(dcgan):
    assert torch.equal(dcgan.sample(5, seed=3), dcgan.sample(5, seed=3))
    assert not torch.allclose(dcgan.sample(5, seed=3), dcgan.sample(5, seed=4))
    assert not torch.allclose(dcgan.sample(5), dcgan.sample(5))
    torch.manual_seed(9)
    first = dcgan.sample(5)
    torch.manual_seed(9)
    assert torch.equal(dcgan.sample(5), first)


def test_seeded_latents_are_those_of_torchs_generator(dcgan):
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(3))
    assert torch.equal(dcgan.sample(5, seed=3), dcgan.sample(5, z=z))


@pytest.mark.parametrize("ema", [True, False])
def test_nothing_is_touched(dcgan, ema):
    state = {name: tensor.clone() for name, tensor in dcgan.state_dict().items()}
    modes = [module.training for module in dcgan.modules()]
    random = torch.get_rng_state()
    images = dcgan.sample(5, seed=0, ema=ema)
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in dcgan.modules()] == modes
    torch.testing.assert_close(dcgan.state_dict(), state, rtol=0, atol=0)
    assert not images.requires_grad
    assert images.dtype == torch.float32
    assert images.shape == (5, 1, 16, 16)
    assert images.abs().max() <= 1


@pytest.mark.parametrize("ema", [True, False])
def test_which_generator_draws(dcgan, ema):
    z = torch.randn(4, 3)
    network = dcgan.generator_ema if ema else dcgan.generator
    with torch.no_grad():
        expected = network.eval()(z)
    assert torch.equal(dcgan.sample(4, z=z, ema=ema), expected)
    assert not torch.allclose(dcgan.sample(4, z=z), dcgan.sample(4, z=z, ema=False), atol=1e-3)


@pytest.mark.parametrize("model", ["dcgan", "cgan"])
def test_many_images_are_one_big_forward(model, request):
    model = request.getfixturevalue(model)
    n = 2 * 64 + 5
    z = torch.randn(n, 3)
    condition = [torch.arange(n) % 3] if model.num_classes else []
    with torch.no_grad():
        expected = model.generator_ema.eval()(z, *condition)
    torch.testing.assert_close(model.sample(n, z=z), expected, rtol=0, atol=1e-5)


def test_truncation_scales_the_latents(dcgan):
    z = torch.randn(6, 3)
    assert torch.equal(dcgan.sample(6, z=z, truncation=0.5), dcgan.sample(6, z=z / 2))
    images = dcgan.sample(6, seed=0, truncation=0)
    assert torch.equal(images, images[:1].expand_as(images))
    assert torch.equal(images[0], dcgan.sample(1, z=torch.zeros(1, 3))[0])


def test_labels_run_through_the_classes_by_default(cgan):
    expected = cgan.sample(7, seed=1, labels=torch.tensor([0, 1, 2, 0, 1, 2, 0]))
    assert torch.equal(cgan.sample(7, seed=1), expected)
    assert torch.equal(cgan.sample(7, seed=1, labels=[0, 1, 2, 0, 1, 2, 0]), expected)
    assert torch.equal(cgan.sample(3, seed=1, labels=2), cgan.sample(3, seed=1, labels=[2, 2, 2]))
    assert not torch.allclose(cgan.sample(3, seed=1, labels=2), cgan.sample(3, seed=1, labels=1))


@pytest.mark.parametrize("labels", [3, -1, [0, 1], [0, 1, 2, 3], [[0], [1], [2]], torch.tensor(1)])
def test_labels_that_do_not_fit(cgan, labels):
    with pytest.raises(GANError, match="labels must be 3 class indices from 0 to 2"):
        cgan.sample(3, labels=labels)


def test_labels_where_there_are_no_classes(dcgan):
    with pytest.raises(GANError, match="DCGAN was trained without classes: leave labels out"):
        dcgan.sample(3, labels=1)


@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (3,), (3, 3, 1, 1)])
def test_latents_that_do_not_fit(dcgan, shape):
    with pytest.raises(GANError, match=r"z has shape .*, but sample\(3\) needs \(3, 3\)"):
        dcgan.sample(3, z=torch.zeros(shape))


def test_points_are_not_bounded():
    model = VanillaGAN((2,), latent_dim=2, hidden_dim=8)
    points = model.sample(500, z=100 * torch.randn(500, 2))
    assert points.shape == (500, 2)
    assert points.abs().max() > 1


def test_prediction_answers_a_batch_with_as_many_images_of_its_classes(cgan):
    labels = torch.tensor([2, 0, 1, 1])
    torch.manual_seed(4)
    predicted = cgan.predict_step((torch.zeros(4, 1, 4, 4), labels), 0)
    torch.manual_seed(4)
    assert torch.equal(predicted, cgan.sample(4, labels=labels))
