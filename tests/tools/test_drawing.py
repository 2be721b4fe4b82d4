"""One image a seed, whatever the company."""

import pytest
import torch

from gan_modules import GANError
from gan_modules.tools import draw, seed_latents


@pytest.mark.parametrize("name", ["dcgan", "cgan", "style", "classy_style"])
def test_an_image_is_its_seeds_own(name, request):
    model = request.getfixturevalue(name)
    images = draw(model, [7, 2, 7, 100], truncation=0.7)
    for image, seed in zip(images, [7, 2, 7, 100], strict=True):
        labels = seed % model.num_classes if model.num_classes else None
        assert torch.equal(image, model.sample(1, seed=seed, labels=labels, truncation=0.7)[0])
    assert torch.equal(images[0], images[2])
    assert not torch.allclose(images[0], images[1], atol=1e-3)
    assert torch.equal(draw(model, [100], truncation=0.7)[0], images[3])


def test_latents_are_those_of_single_samples(dcgan):
    z = seed_latents(dcgan, [4, 9])
    assert torch.equal(z[1:], torch.randn(1, 5, generator=torch.Generator().manual_seed(9)))
    torch.testing.assert_close(dcgan.sample(2, z=z), draw(dcgan, [4, 9]))


def test_classes_that_are_named(cgan):
    assert torch.equal(draw(cgan, [5, 6], labels=1)[0], cgan.sample(1, seed=5, labels=1)[0])
    assert torch.equal(draw(cgan, [5, 6], labels=[0, 2])[1], cgan.sample(1, seed=6, labels=2)[0])
    with pytest.raises(GANError, match="labels must be 2 class indices from 0 to 2"):
        draw(cgan, [5, 6], labels=3)


def test_what_cannot_be_drawn(dcgan):
    with pytest.raises(GANError, match="There are no seeds"):
        draw(dcgan, [])
    with pytest.raises(GANError, match="DCGAN was trained without classes"):
        draw(dcgan, [1], labels=0)


def test_the_average_or_the_generator_itself(style):
    style.generator_ema.mapping.w_avg.add_(1.0)
    averaged, own = draw(style, [1], truncation=0.5), draw(style, [1], truncation=0.5, ema=False)
    assert not torch.allclose(averaged, own, atol=1e-3)
    assert torch.equal(draw(style, [1]), draw(style, [1], ema=False))
