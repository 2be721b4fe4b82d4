"""Feature networks, and metrics of samples."""

from gan_modules.functional.modes import Modes, mode_coverage
from gan_modules.metrics.base import FeatureMetric, FeatureSetMetric
from gan_modules.metrics.classes import InceptionScore, StackedModes
from gan_modules.metrics.classifier import Classifier, ClassifierFeatures, DigitFeatures
from gan_modules.metrics.distances import FrechetDistance, KernelDistance, MemorizationInformedDistance
from gan_modules.metrics.features import ClassifyingNetwork, FeatureNetwork, ModuleFeatures
from gan_modules.metrics.inception import InceptionFeatures
from gan_modules.metrics.kinds import CoordinateFeatures, FrameFeatures, SpectrogramFeatures
from gan_modules.metrics.lpips import LPIPSFeatures
from gan_modules.metrics.modes import ModeCoverage
from gan_modules.metrics.neighbours import DensityCoverage, DuplicateRate, PrecisionRecall
from gan_modules.metrics.networks import feature_network, features_for
from gan_modules.metrics.transformers import CLIPFeatures, DINOv2Features
from gan_modules.metrics.variety import PerceptualDiversity, PerceptualPathLength

__all__ = [
    "CLIPFeatures",
    "Classifier",
    "ClassifierFeatures",
    "ClassifyingNetwork",
    "CoordinateFeatures",
    "DINOv2Features",
    "DensityCoverage",
    "DigitFeatures",
    "DuplicateRate",
    "FeatureMetric",
    "FeatureNetwork",
    "FeatureSetMetric",
    "FrameFeatures",
    "FrechetDistance",
    "InceptionFeatures",
    "InceptionScore",
    "KernelDistance",
    "LPIPSFeatures",
    "MemorizationInformedDistance",
    "ModeCoverage",
    "Modes",
    "ModuleFeatures",
    "PerceptualDiversity",
    "PerceptualPathLength",
    "PrecisionRecall",
    "SpectrogramFeatures",
    "StackedModes",
    "feature_network",
    "features_for",
    "mode_coverage",
]
