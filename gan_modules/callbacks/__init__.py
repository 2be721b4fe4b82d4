"""Lightning callbacks that look at a GAN through `sample` and the batches alone."""

from gan_modules.callbacks.fid import FID
from gan_modules.callbacks.sample_grid import SampleGrid

__all__ = ["FID", "SampleGrid"]
