"""An image that the generator has made is found again, and how far apart two images are."""

from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from gan_modules import GANError
from gan_modules.tools import project
from gan_modules.tools.distances import LPIPS, PixelsAndFeatures, best_distance


def in_pixels(images, others):
    return (images - others).square().flatten(1).mean(1)


@pytest.mark.parametrize("distance", ["pixels", "features"])
def test_a_generated_image_is_found_again(style, distance):
    truth = style.generator_ema.mapping(style.draw_latents(1, 3))[0]
    target = style.sample(1, seed=3)[0]
    distance = in_pixels if distance == "pixels" else PixelsAndFeatures(style.discriminator)
    found = project(style, target, steps=250, distance=distance)
    mean = style.generator_ema.mapping(torch.randn(5000, 8, generator=torch.Generator().manual_seed(1))).mean(0)
    assert (found.ws - truth).norm() < (mean - truth).norm() / 10
    assert in_pixels(found.image[None], target[None]) < in_pixels(found.way[0][1][None], target[None]) / 100
    assert found.distances[-1] < found.distances[0] / 100
    with torch.no_grad():
        made = style.generator_ema.synthesis(found.ws[None], noise="const").clamp(-1, 1)[0]
    torch.testing.assert_close(made, found.image)
    assert (found.ws == found.ws[:1]).all()


def test_more_is_reached_in_w_plus(style):
    unlike = -style.sample(1, seed=3)[0]
    errors = []
    for w_plus in (False, True):
        found = project(style, unlike, steps=100, w_plus=w_plus, distance=in_pixels)
        assert (found.ws == found.ws[:1]).all() is not w_plus or w_plus
        errors.append(float(in_pixels(found.image[None], unlike[None])))
    assert errors[1] < 0.9 * errors[0]


def test_the_class_is_minded(classy_style):
    target = classy_style.sample(1, seed=3, labels=2)[0]
    distance = PixelsAndFeatures(classy_style.discriminator, (torch.tensor([2]),))
    found = project(classy_style, target, steps=60, label=2, distance=distance)
    with torch.no_grad():
        labels = torch.full((5000,), 2)
        z = torch.randn(5000, 8, generator=torch.Generator().manual_seed(1))
        mean = classy_style.generator_ema.mapping(z, labels).mean(0)
        start = classy_style.generator_ema.synthesis(mean[None], noise="const").clamp(-1, 1)[0]
    assert (start - found.way[0][1]).abs().mean() < 0.05 * start.std()
    assert in_pixels(found.image[None], target[None]) < in_pixels(start[None], target[None]) / 10


def test_the_search_repeats_itself_and_leaves_the_model_alone(style):
    style.train()
    target = style.sample(1, seed=1)[0]
    torch.manual_seed(8)
    random = torch.get_rng_state()
    first, second = (
        project(style, target, steps=5, distance=PixelsAndFeatures(style.discriminator), ema=False) for _ in range(2)
    )
    assert torch.equal(first.ws, second.ws)
    assert torch.equal(torch.get_rng_state(), random)
    assert style.generator.training
    assert all(parameter.grad is None for parameter in style.parameters())
    other = project(style, target, steps=5, distance=PixelsAndFeatures(style.discriminator), ema=False, seed=1)
    assert not torch.equal(other.ws, first.ws)


def test_what_is_written(classy_style, tmp_path):
    target = classy_style.sample(1, seed=3, labels=0)[0].clamp(-1, 1)
    found = project(classy_style, target, steps=16, distance=in_pixels)
    found.save(tmp_path / "deep" / "folder")
    folder = tmp_path / "deep" / "folder"
    assert torch.equal(load_file(folder / "w.safetensors")["ws"], found.ws)
    for name, image in (("projected", found.image), ("target", target)):
        pixels = np.asarray(Image.open(folder / f"{name}.png")).transpose(2, 0, 1)
        assert np.abs(pixels - np.clip((image.numpy() + 1) * 127.5, 0, 255)).max() < 0.51
    assert [step for step, _ in found.way] == [0, 2, 4, 6, 8, 10, 12, 14, 16]
    strip = np.asarray(Image.open(folder / "strip.png"))
    shown = [
        strip[-96 - 2 : -2, x - 98 * 10 : x - 98 * 10 + 96][6::12, 6::12]
        for x in range(strip.shape[1], strip.shape[1] + 980, 98)
    ]
    for pixels, image in zip(shown, [target, *(image for _, image in found.way)], strict=True):
        assert np.abs(pixels.transpose(2, 0, 1) - np.clip((image.numpy() + 1) * 127.5, 0, 255)).max() < 0.51


def test_what_cannot_be_projected(style, dcgan):
    with pytest.raises(GANError, match=r"The image is \(1, 8, 8\), but the model makes \(1, 16, 16\): resize it"):
        project(style, torch.zeros(1, 8, 8))
    with pytest.raises(GANError, match="steps=0 must be at least 1"):
        project(style, torch.zeros(1, 16, 16), steps=0)
    with pytest.raises(GANError, match="project needs a model with styles, such as StyleGAN, and DCGAN is none"):
        project(dcgan, torch.zeros(1, 16, 16))
    with pytest.raises(GANError, match="StyleGAN2 was trained without classes"):
        project(style, torch.zeros(1, 16, 16), label=1)


def test_features_are_the_last_map_of_each_size():
    torch.manual_seed(0)
    first, second = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 2, 2, stride=2)
    judge = nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.Flatten(), nn.Linear(8, 1))
    images, others = torch.rand(2, 3, 1, 4, 4)
    with torch.no_grad():
        distances = PixelsAndFeatures(judge)(images, others)
        expected = []
        for pair in zip(images, others, strict=True):
            wide = [np.where((x := first(image).numpy()) > 0, x, 0.2 * x) for image in pair]
            deep = [second(torch.from_numpy(x)).numpy() for x in wide]
            parts = [
                np.mean([np.sum((u - v) ** 2) for u, v in zip(*map(unit_vectors, maps), strict=True)])
                for maps in (wide, deep)
            ]
            expected.append(np.mean((pair[0] - pair[1]).numpy() ** 2) + np.mean(parts))
    np.testing.assert_allclose(distances.numpy(), expected, rtol=1e-5)
    assert not judge[0]._forward_hooks


def unit_vectors(features):
    """A unit vector of channels for each place of a map (C, H, W)."""
    places = features.reshape(len(features), -1).T
    return places / np.linalg.norm(places, axis=1, keepdims=True)


def test_without_the_weights_of_lpips(style, monkeypatch, tmp_path):
    def offline(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(GANError, match=r"put torchvision's vgg16-397923af.pth into .*checkpoints"):
        LPIPS()
    with pytest.warns(UserWarning, match="compared by pixels and the discriminator's features instead"):
        assert isinstance(best_distance(style.discriminator), PixelsAndFeatures)


def test_with_the_weights_of_lpips(monkeypatch, tmp_path):
    """VGG16's own layers, of random weights; those of its classifier, which LPIPS does not read, are left at zero."""
    import torchvision

    with torch.device("meta"):
        shapes = {key: tensor.shape for key, tensor in torchvision.models.vgg16().state_dict().items()}
    torch.manual_seed(0)
    state = {
        key: torch.randn(shape) / shape[1:].numel() ** 0.5
        if key.startswith("features")
        else torch.zeros(1).expand(shape)
        for key, shape in shapes.items()
    }
    (tmp_path / "checkpoints").mkdir()
    torch.save(state, tmp_path / "checkpoints" / "vgg16-397923af.pth")
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path))
    distance = LPIPS()
    images, others = 3 * torch.randn(2, 2, 1, 16, 16)  # also out of range, as a generator's may be
    distances = distance(images.requires_grad_(), others)
    assert distances.shape == (2,)
    assert (torch.autograd.grad(distances.sum(), images)[0].flatten(1).norm(dim=1) > 0).all()
    torch.testing.assert_close(distance(images, images), torch.zeros(2))
    rgb = [tensor.detach().expand(-1, 3, -1, -1) for tensor in (images, others)]
    torch.testing.assert_close(distance(*rgb), distances.detach())
    large = [tensor.repeat_interleave(32, -1).repeat_interleave(32, -2) for tensor in rgb]  # 512², seen at 256²
    half = [tensor.repeat_interleave(16, -1).repeat_interleave(16, -2) for tensor in rgb]
    torch.testing.assert_close(distance(large[0][:1], large[1][:1]), distance(half[0][:1], half[1][:1]))
