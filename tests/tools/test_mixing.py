"""Mixtures of styles, put together by hand."""

import numpy as np
import pytest
import torch

from gan_modules import GANError
from gan_modules.tools import draw, mix
from gan_modules.visuals.pictures import to_uint8


@pytest.mark.parametrize("styles", [[0, 1], [2, 5], [4]])
def test_the_named_layers_are_the_columns(style, styles):
    mixture = mix(style, [3, 4], [5, 6, 7], styles=styles, truncation=0.8)
    network = style.generator_ema.eval()
    with torch.no_grad():
        for row, below in enumerate((3, 4)):
            for column, above in enumerate((5, 6, 7)):
                ws = network.mapping(style.draw_latents(1, below), truncation=0.8)
                for layer in styles:
                    ws[0, layer] = network.mapping(style.draw_latents(1, above), truncation=0.8)[0, layer]
                torch.testing.assert_close(
                    mixture.images[row, column], network.synthesis(ws, noise="const").clamp(-1, 1)[0]
                )
    torch.testing.assert_close(mixture.rows, draw(style, [3, 4], truncation=0.8))
    torch.testing.assert_close(mixture.columns, draw(style, [5, 6, 7], truncation=0.8))


def test_all_layers_make_the_columns(style):
    mixture = mix(style, [3, 4], [5, 6], styles=range(6))
    torch.testing.assert_close(mixture.images, mixture.columns.expand(2, -1, -1, -1, -1))


def test_classes(classy_style):
    torch.testing.assert_close(mix(classy_style, [3], [4], labels=2).rows, classy_style.sample(1, seed=3, labels=2))
    torch.testing.assert_close(mix(classy_style, [3], [4]).columns, classy_style.sample(1, seed=4, labels=1))


def test_the_sheet_shows_them_where_they_belong(classy_style):
    mixture = mix(classy_style, [3, 4], [5, 6, 7])
    picture = np.asarray(mixture.picture())
    side = 96  # 8 pixels, each twelve times
    left, top = picture.shape[1] - 4 * (side + 2), picture.shape[0] - 3 * (side + 2)

    def cell(row, column):
        y, x = top + row * (side + 2), left + column * (side + 2)
        return picture[y : y + side, x : x + side]

    for row in range(3):
        for column in range(4):
            if row == column == 0:
                assert (cell(0, 0) == 255).all()
                continue
            image = mixture.images[row - 1, column - 1] if row and column else None
            if image is None:
                image = mixture.rows[row - 1] if row else mixture.columns[column - 1]
            expected = to_uint8(image).permute(1, 2, 0).numpy()
            assert (cell(row, column)[6::12, 6::12] == expected).all()
    dark = picture.min(axis=2) < 128
    assert dark[:top, left + side + 2 :].any()  # the columns' seeds
    assert all(dark[top + row * (side + 2) :, :left].any() for row in range(3))  # the styles, and the rows' seeds


@pytest.mark.parametrize(("styles", "said"), [([6], "6"), ([4, 5, 6, 8], "4-6,8"), ([-1], "-1"), ([], "none")])
def test_layers_that_are_not_there(style, styles, said):
    with pytest.raises(GANError, match=f"There are no styles {said} in this StyleGAN2: it has 0-5"):
        mix(style, [1], [2], styles=styles)


def test_models_without_styles(dcgan):
    with pytest.raises(GANError, match="mix needs a model with styles, such as StyleGAN, and DCGAN is none"):
        mix(dcgan, [1], [2])


def test_no_seeds(style):
    with pytest.raises(GANError, match="There are no seeds"):
        mix(style, [1], [])
