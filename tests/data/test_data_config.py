"""Constructor arguments are plain values: a configuration goes to YAML and comes back the same."""

import pickle

import pytest
from jsonargparse import ArgumentParser
from lightning.pytorch import LightningDataModule

import datamodules

ARGUMENTS = {
    "DigitsDataModule": {"image_size": 8},
    "ToyDataModule": {"distribution": "25gaussians"},
    "MNISTDataModule": {"root": "elsewhere", "download": False},
    "FashionMNISTDataModule": {"image_size": 64},
    "CIFAR10DataModule": {"seed": 3},
    "CelebADataModule": {"batch_size": 5},
    "StackedMNISTDataModule": {"source": "digits", "num_samples": 500},
    "PairedImagesDataModule": {"folder": "a", "target_folder": "b", "load_size": (300, 280), "direction": "BtoA"},
    "StreamingDataModule": {"folder": "s3://bucket/faces", "image_size": 32, "num_classes": 2},
    "UnpairedImagesDataModule": {"dataset": "maps", "target_size": (32, 48), "target_channels": 1},
    "ImageFolderDataModule": {"folder": "photographs", "image_size": (48, 64), "crop": "stretch", "num_classes": 2},
}


def test_every_public_datamodule_is_here():
    assert set(ARGUMENTS) == {n for n in datamodules.__all__ if n.endswith("DataModule")} - {
        "GANDataModule",
        "ImageDataModule",
    }


@pytest.mark.parametrize("name", ARGUMENTS)
def test_configuration_round_trips(name):
    parser = ArgumentParser()
    parser.add_subclass_arguments(LightningDataModule, "data")
    given = {"class_path": f"datamodules.{name}", "init_args": ARGUMENTS[name]}
    config = parser.parse_object({"data": given})
    again = parser.parse_string(parser.dump(config))
    first, second = (parser.instantiate(c).data for c in (config, again))
    direct = getattr(datamodules, name)(**ARGUMENTS[name])
    assert vars(first) == vars(second) == vars(direct)
    assert first.spec == direct.spec


def test_a_loaded_datamodule_survives_pickling_for_spawned_processes():
    datamodule = datamodules.ToyDataModule(num_samples=1000)
    datamodule.setup("fit")
    copy = pickle.loads(pickle.dumps(datamodule))
    points, _ = next(iter(copy.train_dataloader()))
    assert (points == next(iter(datamodule.train_dataloader()))[0]).all()
