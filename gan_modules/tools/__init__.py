"""What a trained generator can be asked for: images by seed, movies between them, mixtures, projections.

>>> from gan_modules import VanillaGAN
>>> from gan_modules.tools import interpolate, save_movie
>>> model = VanillaGAN(image_shape=(1, 8, 8), hidden_dim=8)
>>> frames = list(interpolate(model, seeds=[3, 4], steps=5))
>>> len(frames), frames[0].shape
(10, torch.Size([1, 1, 8, 8]))
"""

from gan_modules.tools.drawing import draw, seed_latents
from gan_modules.tools.interpolation import interpolate
from gan_modules.tools.mixing import mix
from gan_modules.tools.projection import Projection, project
from gan_modules.visuals.movies import save_movie

__all__ = ["Projection", "draw", "interpolate", "mix", "project", "save_movie", "seed_latents"]
