"""Articles of clothing."""

from torchvision.datasets import FashionMNIST

from .torchvision_sets import TorchvisionDataModule, TorchvisionSet


class FashionMNISTDataModule(TorchvisionDataModule):
    """FashionMNIST: 60,000 training and 10,000 test images of ten kinds of clothing in grey, resized from 28×28.

    H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms,
    2017, arXiv:1708.07747. Arguments and errors: see ``TorchvisionDataModule``.
    """

    published = TorchvisionSet(
        FashionMNIST,
        "FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte",
        channels=1,
        classes=tuple(FashionMNIST.classes),
    )
