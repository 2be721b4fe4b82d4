# The public names: lazy_loader reads this list when the package is imported, type checkers always.
from .base import DataError as DataError
from .base import GANDataModule as GANDataModule
from .base import ImageDataModule as ImageDataModule
from .celeba import CelebADataModule as CelebADataModule
from .cifar10 import CIFAR10DataModule as CIFAR10DataModule
from .digits import DigitsDataModule as DigitsDataModule
from .fashion_mnist import FashionMNISTDataModule as FashionMNISTDataModule
from .image_folder import ImageFolderDataModule as ImageFolderDataModule
from .mnist import MNISTDataModule as MNISTDataModule
from .paired import PairedImagesDataModule as PairedImagesDataModule
from .stacked_mnist import StackedMNISTDataModule as StackedMNISTDataModule
from .streaming import StreamingDataModule as StreamingDataModule
from .toy import ToyDataModule as ToyDataModule
from .unpaired import UnpairedImagesDataModule as UnpairedImagesDataModule

__all__: list[str]
