"""Lightning callbacks that look at a GAN through `sample` or `translate` and the batches alone."""

from gan_modules.callbacks.fid import FID
from gan_modules.callbacks.pair_scores import PairScores
from gan_modules.callbacks.sample_grid import SampleGrid
from gan_modules.callbacks.translation_fid import TranslationFID
from gan_modules.callbacks.translation_grid import TranslationGrid

__all__ = ["FID", "PairScores", "SampleGrid", "TranslationFID", "TranslationGrid"]
