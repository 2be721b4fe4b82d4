"""Scores as records, the cache of the reals' features, and the evaluation of models and images."""

from gan_modules.scoring.evaluate import Evaluator, score
from gan_modules.scoring.record import Score, best, compare, last, spread

__all__ = ["Evaluator", "Score", "best", "compare", "last", "score", "spread"]
