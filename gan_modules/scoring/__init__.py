"""Scores that say what they mean: records, the features of reals on the disk, and what scores images and models."""

from gan_modules.scoring.evaluate import Evaluator, score
from gan_modules.scoring.record import Score, best, compare, last, spread

__all__ = ["Evaluator", "Score", "best", "compare", "last", "score", "spread"]
