"""The mechanism every datamodule shares, shown on the digits."""

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from datamodules import DataError, DigitsDataModule
from datamodules.base import ShuffleSampler
from datamodules.in_memory import InMemory


def rows(dataset: InMemory) -> set[bytes]:
    return {image.numpy().tobytes() for image in dataset.tensors[0]}


def order(datamodule: DigitsDataModule) -> torch.Tensor:
    return torch.cat([images for images, _ in datamodule.train_dataloader()])


def test_uint8_becomes_minus_one_to_one_and_back():
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    labels, floats = torch.tensor([255]), torch.tensor([300.0])
    scaled, same_labels, same_floats = DigitsDataModule().on_after_batch_transfer((images, labels, floats), 0)
    assert scaled.dtype == torch.float32
    assert (scaled.min(), scaled.max()) == (-1.0, 1.0)
    torch.testing.assert_close(scaled.diff(dim=-1), torch.full((1, 1, 16, 15), 2 / 255))
    assert torch.equal(((scaled + 1) * 127.5).round().to(torch.uint8), images)
    assert torch.equal(images.flatten(), torch.arange(256, dtype=torch.uint8)), "the input was changed in place"
    assert same_labels is labels
    assert same_floats is floats


def test_splits_are_disjoint_complete_and_of_the_seed_alone():
    torch.manual_seed(1)
    first = DigitsDataModule(seed=3).load()
    torch.manual_seed(2)
    again = DigitsDataModule(seed=3).load()
    other = DigitsDataModule(seed=4).load()
    everything = rows(InMemory(torch.cat([first[0].tensors[0], first[1].tensors[0]])))
    assert (len(first[0]), len(first[1])) == (1438, 359)  # a fifth of 1,797
    assert len(everything) == 1797  # no two digits are alike
    assert not rows(first[0]) & rows(first[1])
    assert all(torch.equal(a, b) for a, b in zip(first[0].tensors, again[0].tensors, strict=True))
    assert rows(first[1]) != rows(other[1])


def test_train_order_follows_seed_and_epoch_and_nothing_else():
    torch.manual_seed(1)
    first = order(DigitsDataModule(seed=0))
    torch.manual_seed(2)
    assert torch.equal(first, order(DigitsDataModule(seed=0)))
    later = DigitsDataModule(seed=0)
    loader = later.train_dataloader()
    loader.sampler.set_epoch(1)
    assert not torch.equal(first, torch.cat([images for images, _ in loader]))
    assert sorted(loader.sampler) == list(range(1438))


def test_loaders_are_full_in_training_and_whole_in_validation():
    datamodule = DigitsDataModule(batch_size=100)
    train, val = datamodule.train_dataloader(), datamodule.val_dataloader()
    for loader in (val, datamodule.test_dataloader(), datamodule.predict_dataloader()):
        assert type(loader) is DataLoader
    assert [len(labels) for _, labels in train] == [100] * 14
    assert [len(labels) for _, labels in val] == [100, 100, 100, 59]
    images, labels = next(iter(train))
    assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
    assert isinstance(next(iter(train)), tuple)


def test_workers_serve_the_same_batches_in_the_same_order():
    plain = order(DigitsDataModule(batch_size=200))
    assert torch.equal(plain, order(DigitsDataModule(batch_size=200, num_workers=2)))


def test_one_item_is_the_row_of_the_batch():
    dataset = InMemory(torch.arange(6).reshape(3, 2), torch.tensor([7, 8, 9]))
    point, label = dataset[1]
    assert (point.tolist(), label.item()) == ([2, 3], 8)


class Recorder(LightningModule):
    """Notes the labels of every training batch and the range of its images."""

    def __init__(self) -> None:
        super().__init__()
        self.layer_ = torch.nn.Linear(1, 1)
        self.automatic_optimization = False
        self.seen: list[list[int]] = []

    def training_step(self, batch):
        images, labels = batch
        assert images.dtype == torch.float32
        assert images.min() == -1
        assert images.max() <= 1
        self.seen.append(labels.tolist())

    def configure_optimizers(self):
        return None


def fit(max_epochs: int, **options: object) -> list[list[int]]:
    trainer = Trainer(
        **options,
        accelerator="cpu",
        max_epochs=max_epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Recorder()
    trainer.fit(model, DigitsDataModule(batch_size=700))
    return model.seen


def test_trainer_scales_the_images_and_reshuffles_every_epoch():
    seen = fit(max_epochs=2)
    assert seen == fit(max_epochs=2)
    assert sorted(seen[0] + seen[1]) != seen[0] + seen[1]
    assert seen[:2] != seen[2:]


def test_overfitting_repeats_the_same_batches_in_order():
    seen = fit(max_epochs=2, overfit_batches=1)
    labels = DigitsDataModule().splits[0].tensors[1]
    assert seen == [labels[:700].tolist()] * 2


def test_processes_together_see_the_batches_of_one():
    whole = ShuffleSampler(11, seed=5)
    ranks = [ShuffleSampler(11, seed=5, num_replicas=2, rank=rank) for rank in (0, 1)]
    for epoch in (0, 1):
        for sampler in (whole, *ranks):
            sampler.set_epoch(epoch)
        first, second = list(ranks[0]), list(ranks[1])
        assert len(ranks[0]) == len(first) == len(second) == 5
        assert [index for pair in zip(first, second, strict=True) for index in pair] == list(whole)[:10]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_set_smaller_than_a_batch_is_refused(processes, monkeypatch):
    datamodule = DigitsDataModule(batch_size=1438 // processes)
    too_much = DigitsDataModule(batch_size=1438 // processes + 1)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    monkeypatch.setattr(type(trainer), "world_size", processes)
    datamodule.trainer = too_much.trainer = trainer
    datamodule.setup("fit")
    too_much.setup("validate")
    with pytest.raises(DataError, match=f"{1438 // processes} training samples.*batch_size={1438 // processes + 1}"):
        too_much.setup("fit")
    with pytest.raises(DataError, match="lower batch_size"):
        too_much.train_dataloader()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"num_workers": -1}, "num_workers=-1 must not be negative"),
        ({"seed": -1}, "seed=-1 must be from 0 to 18446744073709551615"),
        ({"seed": 2**64}, "seed=18446744073709551616 must be from 0 to"),
        ({"image_size": 0}, "image_size=0 must be at least 1"),
        ({"val_fraction": 0.0}, "val_fraction=0.0 must lie strictly between 0 and 1"),
        ({"val_fraction": 1.0}, "val_fraction=1.0 must lie strictly between 0 and 1"),
    ],
)
def test_bad_arguments_are_refused_at_once(arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        DigitsDataModule(**arguments)
