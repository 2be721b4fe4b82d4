"""Movies through latent space: they come by their seeds, and go the way that the formula says."""

from itertools import islice

import numpy as np
import pytest
import torch

from gan_modules import GANError, VanillaGAN
from gan_modules.functional.latents import slerp
from gan_modules.tools import draw, interpolate, mix, seed_latents


class OnlyJudged(VanillaGAN):
    """Its labels are for the discriminator alone."""

    generator_is_conditional = False

    def __init__(self, image_shape, num_classes, hidden_dim):
        super().__init__(image_shape, hidden_dim=hidden_dim)
        self.num_classes = num_classes


def test_in_z_each_cell_comes_by_its_seeds_and_back(dcgan):
    frames = list(interpolate(dcgan, [3, 4, 5, 6, 7, 8], cells=2, steps=4))
    assert [frame.shape for frame in frames] == [(2, 1, 16, 16)] * 12
    for key in range(3):
        torch.testing.assert_close(frames[4 * key], draw(dcgan, [3 + key, 6 + key]))
    steps = [float((a - b).abs().mean()) for a, b in zip(frames, [*frames[1:], frames[0]], strict=True)]
    assert max(steps) < 5 * np.median(steps)  # no jump, not even at the end


@pytest.mark.parametrize("name", ["dcgan", "style"])
def test_in_z_the_way_is_an_arc(name, request):
    model = request.getfixturevalue(name)
    a, b = seed_latents(model, [3, 4]).double().numpy()
    angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    t = 0.25
    arc = (np.sin((1 - t) * angle) * a / np.linalg.norm(a) + np.sin(t * angle) * b / np.linalg.norm(b)) / np.sin(angle)
    z = torch.from_numpy(((1 - t) * np.linalg.norm(a) + t * np.linalg.norm(b)) * arc).float()
    (frame,) = islice(interpolate(model, [3, 4], steps=4, space="z", truncation=0.7), 1, 2)
    torch.testing.assert_close(frame, model.sample(1, z=z[None], truncation=0.7))


def test_in_w_the_way_is_a_line(style):
    frames = list(interpolate(style, [3, 4, 5], steps=4, truncation=0.7))
    network = style.generator_ema.eval()
    with torch.no_grad():
        b, c = (network.mapping(style.draw_latents(1, seed), truncation=0.7) for seed in (4, 5))
        expected = network.synthesis(0.25 * b + 0.75 * c, noise="const").clamp(-1, 1)
    torch.testing.assert_close(frames[4 + 3], expected)
    for key, seed in enumerate((3, 4, 5)):
        torch.testing.assert_close(frames[4 * key], style.sample(1, seed=seed, truncation=0.7))
    in_z = list(interpolate(style, [3, 4, 5], steps=4, truncation=0.7, space="z"))
    assert not torch.allclose(frames[2], in_z[2], atol=1e-3)


def test_in_w_the_way_leads_from_class_to_class(classy_style):
    frames = list(interpolate(classy_style, [3, 3], steps=2, labels=[0, 2]))
    torch.testing.assert_close(frames[0], classy_style.sample(1, seed=3, labels=0))
    torch.testing.assert_close(frames[2], classy_style.sample(1, seed=3, labels=2))
    assert not torch.allclose(frames[0], frames[1], atol=1e-3)


def test_a_seed_is_the_same_picture_in_every_tool(cgan, classy_style):
    for model in (cgan, classy_style):
        frames = list(interpolate(model, [4, 5, 6, 8], cells=2, steps=2))
        for key, seeds in enumerate(([4, 6], [5, 8])):
            expected = [model.sample(1, seed=seed, labels=seed % 3)[0] for seed in seeds]
            torch.testing.assert_close(frames[2 * key], torch.stack(expected))
            torch.testing.assert_close(frames[2 * key], draw(model, seeds))
    torch.testing.assert_close(mix(classy_style, [4, 6], [5]).rows, draw(classy_style, [4, 6]))
    frames = list(interpolate(cgan, [0, 1], steps=2, labels=2))
    torch.testing.assert_close(frames[2], cgan.sample(1, seed=1, labels=2))


def test_in_z_one_class_fades_into_the_next(cgan):
    start, end = (cgan.draw_latents(1, seed) for seed in (1, 2))
    frames = list(interpolate(cgan, [1, 2], steps=4))
    z = slerp(start, end, 0.75)
    expected = 0.25 * cgan.sample(1, z=z, labels=1) + 0.75 * cgan.sample(1, z=z, labels=2)
    torch.testing.assert_close(frames[3], expected)
    z = slerp(end, start, 0.25)  # and back
    expected = 0.75 * cgan.sample(1, z=z, labels=2) + 0.25 * cgan.sample(1, z=z, labels=1)
    torch.testing.assert_close(frames[5], expected)


def test_classes_that_only_the_discriminator_sees():
    model = OnlyJudged((1, 8, 8), num_classes=3, hidden_dim=4)
    torch.testing.assert_close(draw(model, [4, 5])[1:], model.sample(1, seed=5))
    torch.testing.assert_close(next(interpolate(model, [4, 5])), model.sample(1, seed=4))


def test_frames_are_made_as_they_are_asked_for_and_leave_the_model_alone(style):
    style.train()
    torch.manual_seed(5)
    random = torch.get_rng_state()
    frames = interpolate(style, [0, 1], steps=10**6, ema=False)
    assert next(frames).shape == (1, 1, 16, 16)
    assert torch.is_grad_enabled()
    assert style.generator.training
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize(
    ("seeds", "options", "sentence"),
    [
        ([1], {}, "1 seeds cannot move 1 cells"),
        ([1, 2, 3], {"cells": 2}, "3 seeds cannot move 2 cells: each needs as many, and at least two"),
        ([1, 2], {"cells": 2}, "2 seeds cannot move 2 cells"),
        ([1, 2], {"steps": 0}, "steps=0 and cells=1 must be at least 1"),
        ([1, 2], {"space": "w"}, "space='w' needs a model with styles, such as StyleGAN, and DCGAN is none"),
        ([1, 2], {"labels": 1}, "DCGAN was trained without classes"),
    ],
)
def test_ways_that_cannot_be_gone(dcgan, seeds, options, sentence):
    with pytest.raises(GANError, match=sentence):
        interpolate(dcgan, seeds, **options)


def test_points_do_not_move():
    with pytest.raises(GANError, match="interpolate works on images, and VanillaGAN makes samples of kind 'point'"):
        interpolate(VanillaGAN(point_shape=(2,), hidden_dim=4), [1, 2])
