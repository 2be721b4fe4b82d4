"""Handwritten digits."""

from torchvision.datasets import MNIST

from .torchvision_sets import TorchvisionDataModule, TorchvisionSet


class MNISTDataModule(TorchvisionDataModule):
    """MNIST: 60,000 training and 10,000 test images of digits in grey, resized from 28×28 so that powers of two fit.

    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-Based Learning Applied to Document Recognition, 1998.
    Arguments and errors: see ``TorchvisionDataModule``.
    """

    published = TorchvisionSet(
        MNIST, "MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte", channels=1, classes=tuple("0123456789")
    )
