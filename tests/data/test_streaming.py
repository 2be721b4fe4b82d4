"""Images out of shards: nothing lost, full batches, shared between processes, continued where a run stopped."""

import collections
import json
import shutil

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from datamodules import DataError, DigitsDataModule, StreamingDataModule
from datamodules.streaming import write_shards
from gan_modules import CGAN

pytest.importorskip("litdata", reason="the extra [streaming] is not installed")
torch.set_num_threads(1)

BATCH = 24


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """The digits, 8×8, in some twenty shards."""
    folder = tmp_path_factory.mktemp("shards")
    write_shards(DigitsDataModule(image_size=8), str(folder), num_workers=1, shard_size="8KB")
    assert len(list((folder / "train").glob("*.bin"))) > 10
    return str(folder)


def stream(shards, **arguments):
    return StreamingDataModule(
        shards, **{"image_size": 8, "channels": 1, "num_classes": 10, "batch_size": BATCH} | arguments
    )


def counted(batches):
    """How often each image with its label is there."""
    pairs = (pair for batch in batches for pair in zip(*batch, strict=True))
    return collections.Counter((image.numpy().tobytes(), int(label)) for image, label in pairs)


@pytest.mark.parametrize("workers", [0, 2])
def test_each_epoch_has_the_images_that_were_written_in_another_order_of_full_batches(workers, shards):
    data = stream(shards, num_workers=workers)
    train, val, test = DigitsDataModule(image_size=8).splits
    loader = data.train_dataloader()
    epochs = []
    for epoch in range(2):
        loader.set_epoch(epoch)
        epochs.append(list(loader))
    written = counted([train.tensors])
    for batches in epochs:
        assert len(batches) == len(loader) == len(train) // BATCH
        assert {(tuple(images.shape), images.dtype, len(labels)) for images, labels in batches} == {
            ((BATCH, 1, 8, 8), torch.uint8, BATCH)
        }
        seen = counted(batches)
        assert seen <= written
        assert seen.total() == len(batches) * BATCH
    first, second = ([labels.tolist() for _, labels in batches] for batches in epochs)
    assert first != second
    assert first != [batch.tolist() for batch in train.tensors[1][: len(first) * BATCH].split(BATCH)]
    assert val is test
    for batches in (data.val_dataloader(), data.test_dataloader()):
        assert counted(batches) == counted([val.tensors])


def test_the_order_depends_on_seed_and_epoch_alone(shards):
    def order(epoch=0, **arguments):
        loader = stream(shards, num_workers=0, **arguments).train_dataloader()
        loader.set_epoch(epoch)
        return [labels.tolist() for _, labels in loader]

    assert order() == order()
    assert len({str(order(epoch, seed=seed)) for epoch in (0, 1) for seed in (0, 1)}) == 4


def test_processes_share_the_shards(shards, monkeypatch):
    """As torchrun tells each process who it is; litdata asks the process group, so this is one without sockets."""
    written = counted([DigitsDataModule(image_size=8).splits[0].tensors])
    seen = []
    for rank in range(2):
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        seen.append(counted(stream(shards, num_workers=0).train_dataloader()))
    assert seen[0].total() == seen[1].total()
    assert sum(seen, collections.Counter()) <= written


@pytest.mark.parametrize(("stop", "workers"), [(25, 0), (59, 0), (70, 2)])  # an epoch has 59 batches
def test_a_run_goes_on_with_the_very_next_batch(stop, workers, shards, tmp_path):
    seen = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            seen.append(batch[1].tolist())

    def fit(steps, ckpt_path=None):
        torch.manual_seed(0)
        trainer = Trainer(
            accelerator="cpu",
            callbacks=Watch(),
            max_steps=steps,
            max_epochs=-1,
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        game = CGAN(image_shape=(1, 8, 8), latent_dim=2, hidden_dim=2)
        trainer.fit(game, stream(shards, num_workers=workers), ckpt_path=ckpt_path)
        return game, trainer

    whole, _ = fit(80)
    expected = list(seen)
    fit(stop)[1].save_checkpoint(tmp_path / "stopped.ckpt")
    seen.clear()
    continued, _ = fit(80, tmp_path / "stopped.ckpt")
    assert seen == expected[stop:]
    for name, tensor in continued.state_dict().items():
        assert torch.equal(tensor, whole.state_dict()[name]), name


def test_labels_can_be_left_out(shards):
    (images,) = next(iter(stream(shards, num_classes=0, num_workers=0).train_dataloader()))
    assert images.shape == (BATCH, 1, 8, 8)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"image_size": 16}, r"hold images of \(1, 8, 8\), not \(1, 16, 16\): pass their image_size and channels"),
        ({"batch_size": 5000}, "lower batch_size to 1438 or bring more data"),
        (
            {"folder": "/nowhere"},
            "There are no shards in '/nowhere/train'.*by datamodules.streaming.write_shards",
        ),
    ],
)
def test_what_does_not_fit_is_said(arguments, sentence, shards):
    with pytest.raises(DataError, match=sentence):
        stream(arguments.pop("folder", shards), **arguments).setup("fit")


def test_shards_are_not_written_over(shards):
    with pytest.raises(DataError, match="is not empty: choose another folder"):
        write_shards(DigitsDataModule(image_size=8), shards)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda index: index["config"].update(data_format=["tensor", "pickle"]), "pickle"),
        (lambda index: index["chunks"][0].update(filename="../../elsewhere.bin"), "elsewhere"),
        (lambda index: index.pop("chunks"), "'chunks'"),
    ],
)
def test_an_index_is_not_trusted(change, named, shards, tmp_path):
    """It may ask for unpickling, and for files from anywhere."""
    shutil.copytree(shards, tmp_path / "shards")
    path = tmp_path / "shards" / "train" / "index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))
    with pytest.raises(DataError, match=named):
        stream(str(tmp_path / "shards")).setup("fit")


def test_a_damaged_test_set_is_not_replaced_by_the_validation_set(shards, tmp_path):
    shutil.copytree(shards, tmp_path / "shards")
    shutil.copytree(tmp_path / "shards" / "val", tmp_path / "shards" / "test")
    assert len(stream(str(tmp_path / "shards")).splits[2]) == len(stream(shards).splits[1])
    (tmp_path / "shards" / "test" / "index.json").write_text("{}")
    with pytest.raises(DataError, match="/test"):
        stream(str(tmp_path / "shards")).setup("fit")
