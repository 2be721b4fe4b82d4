"""What a score is made of: feature extractors, and measures of samples."""

from gan_modules.metrics.features import Classifier, ClassifierFeatures, DigitFeatures
from gan_modules.metrics.modes import ModeCoverage, mode_coverage

__all__ = ["Classifier", "ClassifierFeatures", "DigitFeatures", "ModeCoverage", "mode_coverage"]
