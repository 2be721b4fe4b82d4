"""Images of any size, whole and in tiles."""

import pytest
import torch
from torch.nn import functional as F

from gan_modules import GANError, Pix2Pix
from gan_modules.tools.tiles import translate_any_size


def pix2pix(generator="resnet_1", cls=Pix2Pix, size=32, **options):
    torch.manual_seed(0)
    model = cls(
        (3, size, size), generator=generator, base_channels=3, discriminator_channels=2, patch_layers=1, **options
    )
    for parameter in model.generator.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def noise(height, width):
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize(("height", "width"), [(300, 210), (129, 128), (61, 700), (130, 257)])
def test_tiles_make_the_whole_image_where_the_network_sees_no_further(height, width):
    model, image = pix2pix(norm="batch"), noise(height, width)
    padded = F.pad(image[None], (0, -width % 4, 0, -height % 4), mode="reflect")
    expected = model.translate(padded)[0, :, :height, :width]
    assert (translate_any_size(model, image) - expected).abs().max() == 0
    torch.testing.assert_close(translate_any_size(model, image, tile=130), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (20, 50), (3, 5), (1, 1), (47, 64)])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_what_cannot_be_halved_is_mirrored(norm, height, width):
    model, image = pix2pix("unet_16", norm=norm), noise(height, width)
    sides = [-(-side // 16) * 16 for side in (height, width)]
    mirrored = image
    for axis, side in ((1, sides[0]), (2, sides[1])):
        back = mirrored.flip(axis)[:, 1:-1] if axis == 1 else mirrored.flip(axis)[:, :, 1:-1]
        mirrored = torch.cat([mirrored, back] * side, dim=axis).narrow(axis, 0, side)
    expected = model.translate(mirrored[None])[0, :, :height, :width]
    torch.testing.assert_close(translate_any_size(model, image), expected, rtol=0, atol=1e-6)


class Mean(Pix2Pix):
    """Answers every image by its mean: nothing could depend more on what else is in a tile."""

    def translate(self, images, *how, **more):
        return images.mean((1, 2, 3), keepdim=True).expand_as(images)


@pytest.mark.parametrize(("generator", "tile"), [("resnet_1", 128), ("unet_16", 16), ("unet_16", 33), ("resnet_1", 8)])
def test_tiles_pass_into_one_another(generator, tile):
    model = pix2pix(generator, cls=Mean)
    ramp = torch.linspace(-1, 1, 400)
    for image in (ramp.expand(3, 150, -1), ramp[:, None].expand(3, -1, 150)):
        made = translate_any_size(model, image, tile=tile)
        steps = [made.diff(dim=axis).abs().max().item() for axis in (1, 2)]
        # from one tile's mean to the next by a line over a quarter of the overlap, which is half a tile at least
        assert max(steps) <= (tile / 400 * 2) / (tile / 2 / 4) + 1e-5
        assert (made - image).abs().max() < 2 * tile / 400


class Larger(Pix2Pix):
    """Answers twice as high and three times as wide."""

    def translate(self, images, *how, **more):
        return images.repeat_interleave(2, -2).repeat_interleave(3, -1)


@pytest.mark.parametrize("tile", [32, 1024])
def test_a_model_that_changes_sizes_does_so_in_tiles(tile):
    image = noise(45, 70)
    expected = image.repeat_interleave(2, -2).repeat_interleave(3, -1)
    made = translate_any_size(pix2pix(cls=Larger), image, tile=tile)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-6)


def test_what_is_refused():
    with pytest.raises(GANError, match="tile=15 is less than the 16 pixels that the network needs"):
        translate_any_size(pix2pix("unet_16"), noise(40, 40), tile=15)

    class Fixed(torch.nn.Module):
        min_size = 1

        def __init__(self):
            super().__init__()
            self.line = torch.nn.Linear(3 * 32 * 32, 3 * 32 * 32)

        def forward(self, images):
            return self.line(images.flatten(1)).view_as(images)

    model = Pix2Pix((3, 32, 32), generator=Fixed(), discriminator_channels=2, patch_layers=1)
    with pytest.raises(GANError, match="Pix2Pix does not translate images of 40x30"):
        translate_any_size(model, noise(40, 30))
