"""DCGAN on CelebA, in three lines: the defaults agree on 3×64×64.

CelebA is downloaded to ``data/`` once (1.4 GB). For a first look without a download, use ``DigitsDataModule`` and
``DCGAN(image_shape=(1, 16, 16), base_channels=32)``.
"""

from lightning.pytorch import Trainer

from datamodules import CelebADataModule
from gan_modules import DCGAN
from gan_modules.callbacks import SampleGrid

if __name__ == "__main__":
    Trainer(max_steps=50_000, callbacks=[SampleGrid()]).fit(DCGAN(), CelebADataModule())
