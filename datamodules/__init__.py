"""Data for GANs as LightningDataModules: each knows its own shape, and serves images in [-1, 1]."""

from .base import DataError, ImageDataModule
from .celeba import CelebADataModule
from .cifar10 import CIFAR10DataModule
from .digits import DigitsDataModule
from .fashion_mnist import FashionMNISTDataModule
from .image_folder import ImageFolderDataModule
from .mnist import MNISTDataModule
from .paired import PairedImagesDataModule
from .stacked_mnist import StackedMNISTDataModule
from .streaming import StreamingDataModule
from .toy import ToyDataModule
from .unpaired import UnpairedImagesDataModule

__all__ = [
    "CIFAR10DataModule",
    "CelebADataModule",
    "DataError",
    "DigitsDataModule",
    "FashionMNISTDataModule",
    "ImageDataModule",
    "ImageFolderDataModule",
    "MNISTDataModule",
    "PairedImagesDataModule",
    "StackedMNISTDataModule",
    "StreamingDataModule",
    "ToyDataModule",
    "UnpairedImagesDataModule",
]
