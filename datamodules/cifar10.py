"""Small colour photographs of ten kinds of things."""

from torchvision.datasets import CIFAR10

from .torchvision_sets import TorchvisionDataModule, TorchvisionSet


class CIFAR10DataModule(TorchvisionDataModule):
    """CIFAR-10: 50,000 training and 10,000 test photographs, 32×32 in colour.

    A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    Arguments and errors: see ``TorchvisionDataModule``.
    """

    published = TorchvisionSet(
        CIFAR10,
        "cifar-10-batches-py (the unpacked cifar-10-python.tar.gz)",
        channels=3,
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    )
