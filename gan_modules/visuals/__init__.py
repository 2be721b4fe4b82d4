"""Pictures and files of samples of every kind, and their way to the loggers.

>>> import torch
>>> from gan_modules.visuals import draw_samples
>>> draw_samples(torch.rand(4, 1, 16, 8, 8), "video").dtype
torch.uint8
"""

from gan_modules.visuals.files import save_samples
from gan_modules.visuals.publish import publish
from gan_modules.visuals.samples import draw_samples

__all__ = ["draw_samples", "publish", "save_samples"]
