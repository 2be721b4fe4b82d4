"""Lightning callbacks that sample, draw, score and diagnose a model by its capabilities."""

from gan_modules.callbacks.diagnose import Diagnose
from gan_modules.callbacks.fid import FID
from gan_modules.callbacks.pair_scores import PairScores
from gan_modules.callbacks.progress import StepProgress
from gan_modules.callbacks.sample_grid import SampleGrid
from gan_modules.callbacks.scores import Scores
from gan_modules.callbacks.translation_fid import TranslationFID
from gan_modules.callbacks.translation_grid import TranslationGrid
from gan_modules.callbacks.warnings import Limits

__all__ = [
    "FID",
    "Diagnose",
    "Limits",
    "PairScores",
    "SampleGrid",
    "Scores",
    "StepProgress",
    "TranslationFID",
    "TranslationGrid",
]
