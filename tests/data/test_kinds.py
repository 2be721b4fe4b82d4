"""Audio, video and captioned images load, shuffle, resume and reach the device like images."""

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from made_up import MadeUpAudio, MadeUpCaptions, MadeUpVideo

KINDS = [MadeUpAudio, MadeUpVideo, MadeUpCaptions]


class Recorder(LightningModule):
    """Records every training batch as it arrives on the device."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.batches = []

    def training_step(self, batch):
        self.batches.append([tensor.clone() for tensor in batch])
        return self.weight.square().sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Save(Callback):
    """Saves a checkpoint after a step, in the middle of the run."""

    def __init__(self, step, path):
        self.step = step
        self.path = path

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def fit(data, ckpt_path=None, **options):
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=-1,
        max_steps=16,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        **options,
    )
    model = Recorder()
    trainer.fit(model, data, ckpt_path=ckpt_path)
    return model.batches


def scaled(data):
    """The training set in [-1, 1], by the arithmetic of each type."""
    samples, *conditions = data.splits[0].tensors
    in_range = samples.double() / 32768 if samples.dtype == torch.int16 else samples.double() / 127.5 - 1
    return in_range.float(), conditions


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_is_the_set_shuffled_and_scaled(kind, workers):
    data = kind(batch_size=8, num_workers=workers)
    batches = fit(data)  # two epochs
    samples, conditions = scaled(kind())
    assert tuple(samples.shape[1:]) == next(value for name, value in data.spec.items() if name.endswith("_shape"))
    orders = []
    for epoch in (batches[:8], batches[8:]):
        received = torch.cat([batch[0] for batch in epoch])
        order = torch.cdist(received.flatten(1), samples.flatten(1)).argmin(1)
        assert sorted(order.tolist()) == list(range(64))
        torch.testing.assert_close(received, samples[order], rtol=0, atol=1e-6)
        for received, written in zip(list(zip(*epoch, strict=True))[1:], conditions, strict=True):
            assert torch.equal(torch.cat(received), written[order])
            assert received[0].dtype == torch.int64
        orders.append(order.tolist())
    assert orders[0] != orders[1]
    assert list(range(64)) not in orders


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop", [3, 11])  # an epoch has 8 batches
def test_a_run_resumes_at_the_very_next_batch(kind, stop, tmp_path):
    whole = fit(kind(), callbacks=Save(stop, tmp_path / "stopped.ckpt"))
    rest = fit(kind(), ckpt_path=tmp_path / "stopped.ckpt")
    for batch, expected in zip(rest, whole[stop:], strict=True):
        assert all(map(torch.equal, batch, expected))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("stop", [2, 4, 7])  # an epoch has 3 batches
def test_a_run_on_a_few_batches_resumes_at_the_very_next_one(stop, workers, tmp_path):
    few = {"overfit_batches": 3}
    whole = fit(MadeUpVideo(batch_size=8), callbacks=Save(stop, tmp_path / "stopped.ckpt"), **few)
    assert len(whole) == 16
    assert all(map(torch.equal, whole[0], whole[3]))  # the same ones in every epoch
    assert not torch.equal(whole[0][0], whole[1][0])
    rest = fit(MadeUpVideo(batch_size=8, num_workers=workers), ckpt_path=tmp_path / "stopped.ckpt", **few)
    assert len(rest) == 16 - stop
    for batch, expected in zip(rest, whole[stop:], strict=True):
        assert all(map(torch.equal, batch, expected))


@pytest.mark.parametrize("kind", KINDS)
def test_double_precision_is_not_rounded_on_the_way(kind):
    data = kind(batch_size=8)
    batches = fit(data, precision="64-true")
    samples = data.splits[0].tensors[0]
    written = samples.double() / 32768 if samples.dtype == torch.int16 else samples.double() / 127.5 - 1
    received = torch.cat([batch[0] for batch in batches[:8]])
    assert received.dtype == torch.float64
    order = torch.cdist(received.flatten(1), written.flatten(1)).argmin(1)
    assert torch.equal(received, written[order])
    assert all(tensor.dtype == torch.int64 for batch in batches for tensor in batch[1:])


def test_the_extremes_of_audio():
    samples = torch.tensor([[[-32768, 0, 16384, 32767]]], dtype=torch.int16)
    tokens = torch.tensor([[40000, 3, 0]])
    audio, same_tokens = MadeUpAudio().on_after_batch_transfer((samples, tokens), 0)
    assert audio.tolist() == [[[-1.0, 0.0, 0.5, 1 - 2**-15]]]
    assert samples.tolist() == [[[-32768, 0, 16384, 32767]]], "the input was changed in place"
    assert same_tokens is tokens


@pytest.mark.parametrize("shape", [(4, 2), (4, 1, 8), (4, 1, 2, 8, 8)])
def test_floats_of_any_kind_stay_as_they_are(shape):
    samples = torch.randn(shape)
    assert MadeUpVideo().on_after_batch_transfer((samples,), 0)[0] is samples
