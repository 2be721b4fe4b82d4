import math
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger
from PIL import Image, ImageSequence
from torchvision.utils import make_grid

from datamodules import DigitsDataModule, ToyDataModule
from gan_modules import CGAN, DCGAN, GANError, VanillaGAN
from gan_modules.callbacks import SampleGrid
from gan_modules.families.latent import LatentGAN
from gan_modules.visuals import draw_samples


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def vanilla(**options):
    torch.manual_seed(0)
    return VanillaGAN(image_shape=(1, 16, 16), latent_dim=8, hidden_dim=32, **options)


def fit(tmp_path, model, callback=None, data=None, logger=False, **length):
    trainer = Trainer(
        default_root_dir=tmp_path,
        **(length or {"max_steps": 5, "max_epochs": -1}),
        logger=logger,
        callbacks=callback,
        accelerator="cpu",
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data or DigitsDataModule(batch_size=32))
    return trainer


def pixels(path):
    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)


def names(folder):
    return sorted(path.name for path in Path(folder).glob("*"))


def enlarged_bytes(images):
    """What a 32-pixel cell shows of 16×16 images in [-1, 1], by numpy."""
    cells = np.kron(np.rint((images.double().numpy() + 1) * 127.5), np.ones((1, 1, 2, 2)))
    return torch.from_numpy(cells.astype(np.uint8))


def test_pictures_are_the_samples_before_during_and_after_training(tmp_path):
    model = vanilla(n_critic=3)  # three batches a round: still one picture for each two rounds
    untrained = model.sample(10, seed=7)
    fit(tmp_path, model, SampleGrid(num_samples=10, every_n_steps=2, seed=7))
    folder = tmp_path / "samples"
    assert names(folder) == [f"step_{n:08d}.png" for n in (0, 2, 4, 5)]
    for images, name in ((untrained, "step_00000000.png"), (model.sample(10, seed=7), "step_00000005.png")):
        grid = make_grid(enlarged_bytes(images), nrow=4, pad_value=255)
        assert torch.equal(pixels(folder / name), grid)
        assert grid.float().std() > 10
    assert not torch.equal(pixels(folder / "step_00000002.png"), pixels(folder / "step_00000004.png"))


def test_columns_are_classes(tmp_path):
    model = CGAN(image_shape=(1, 16, 16), latent_dim=8, hidden_dim=32)
    fit(tmp_path, model, SampleGrid(num_samples=35))
    labels = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9] * 3)
    grid = make_grid(enlarged_bytes(model.sample(30, labels=labels, seed=0)), nrow=10, pad_value=255)
    assert torch.equal(pixels(tmp_path / "samples" / "step_00000005.png"), grid)


def test_more_classes_than_cells_make_a_square(tmp_path):
    model = CGAN(image_shape=(1, 16, 16), latent_dim=8, hidden_dim=32)
    fit(tmp_path, model, SampleGrid(num_samples=4))
    grid = make_grid(enlarged_bytes(model.sample(4, labels=torch.arange(4), seed=0)), nrow=2, pad_value=255)
    assert torch.equal(pixels(tmp_path / "samples" / "step_00000005.png"), grid)


class FixedPoints(VanillaGAN):
    """Samples at four known points."""

    def sample(self, n, **how):
        return torch.tensor([[0.5, 0.5], [0.5, -0.25], [-0.5, 0.0], [9.0, 0.0]])


def test_points_are_dots_at_their_places_over_the_reals(tmp_path):
    data = ToyDataModule("8gaussians", num_samples=2000, batch_size=256)
    fit(tmp_path, FixedPoints(point_shape=(2,), hidden_dim=8), SampleGrid(), data)
    picture = pixels(tmp_path / "samples" / "step_00000005.png").int()
    assert picture.shape[1] == picture.shape[2]
    size = picture.shape[1]
    colourful = (picture.amax(0) - picture.amin(0) > 30).nonzero().double()  # rows, columns of the blue dots
    reals = next(iter(data.train_dataloader()))[0]
    extent = 1.25 * reals.abs().max().item()
    places = [
        (size / 2 * (1 - y / extent), size / 2 * (1 + x / extent)) for x, y in [(0.5, 0.5), (0.5, -0.25), (-0.5, 0)]
    ]
    nearest = torch.cdist(colourful, torch.tensor(places, dtype=torch.float64)).min(1)
    assert nearest.values.max() < 5
    assert nearest.indices.bincount().tolist() == [25, 25, 25]  # each dot whole; the point outside is not drawn
    grey = ((picture.amax(0) - picture.amin(0) <= 2) & (picture.amax(0) < 230)).nonzero().double()
    radius = (grey + 0.5 - size / 2).norm(dim=1) / (size / 2) * extent
    assert len(grey) > 100
    assert (radius - math.sqrt(2)).abs().max() < 0.1  # the circle of the eight Gaussians
    assert (picture[:, 0] == 255).all()  # white elsewhere


def test_training_is_the_same_bit_for_bit(tmp_path):
    """With BatchNorm, whose statistics a careless look at the samples would move."""
    weights = []
    for callback in (None, SampleGrid(num_samples=4, every_n_steps=1)):
        torch.manual_seed(0)
        model = DCGAN(image_shape=(1, 16, 16), latent_dim=8, base_channels=8)
        fit(tmp_path, model, callback)
        weights.append(model.state_dict())
    assert len(names(tmp_path / "samples")) == 6
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@pytest.mark.parametrize(
    ("length", "every", "rounds"),
    [
        ({"max_steps": 5}, 3, [0, 3, 5]),
        ({"max_steps": 6}, 3, [0, 3, 6]),
        ({"max_epochs": 1, "limit_train_batches": 5}, 1, [0, 1, 2]),  # and a half round
    ],
)
def test_tensorboard_shows_each_picture_once(tmp_path, length, every, rounds):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path)
    callback = SampleGrid(num_samples=4, every_n_steps=every)
    fit(tmp_path, vanilla(n_critic=2), callback, logger=logger, **length)  # two batches a round
    events = EventAccumulator(logger.log_dir, size_guidance={"images": 0})
    events.Reload()
    images = events.Images("samples")
    assert [image.step for image in images] == rounds
    shown = tmp_path / "shown.png"
    shown.write_bytes(images[-1].encoded_image_string)
    assert torch.equal(pixels(shown), pixels(Path(logger.log_dir) / "samples" / f"step_{rounds[-1]:08d}.png"))


def test_csv_runs_keep_the_pictures_beside_their_metrics(tmp_path):
    logger = CSVLogger(tmp_path)
    fit(tmp_path, vanilla(), SampleGrid(num_samples=4), logger=logger)
    assert names(Path(logger.log_dir) / "samples") == ["step_00000000.png", "step_00000005.png"]


def test_a_continued_run_draws_what_it_ends_with(tmp_path):
    """Its steps, 5 to 8, hold no multiple of `every_n_steps`; without a step there is nothing to draw."""
    path = tmp_path / "checkpoints" / "last.ckpt"
    fit(tmp_path, vanilla(), SampleGrid(num_samples=4)).save_checkpoint(path)
    assert names(tmp_path / "samples") == ["step_00000000.png", "step_00000005.png"]
    (tmp_path / "samples" / "step_00000005.png").unlink()
    for steps, drawn in ((5, ["step_00000000.png"]), (8, ["step_00000000.png", "step_00000008.png"])):
        options = {"logger": False, "accelerator": "cpu", "limit_val_batches": 0, "enable_checkpointing": False}
        grid = SampleGrid(num_samples=4)
        trainer = Trainer(max_steps=steps, callbacks=grid, default_root_dir=tmp_path, **options)
        trainer.fit(model := vanilla(), DigitsDataModule(batch_size=32), ckpt_path=path)
        assert names(tmp_path / "samples") == drawn
    cells = make_grid(enlarged_bytes(model.sample(4, seed=0)), nrow=2, pad_value=255)
    assert torch.equal(pixels(tmp_path / "samples" / "step_00000008.png"), cells)


def test_wandb_offline_holds_the_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(save_dir=tmp_path, offline=True)
    fit(tmp_path, vanilla(), SampleGrid(num_samples=4), logger=logger)
    logger.experiment.finish()
    kept = list(tmp_path.glob("wandb/offline-run-*/files/media/images/*.png"))
    last = pixels(tmp_path / logger.name / logger.version / "samples" / "step_00000005.png")
    assert len(kept) == 2
    assert sum(torch.equal(pixels(path), last) for path in kept) == 1


def test_mlflow_holds_the_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database would need SQLAlchemy
    logger = MLFlowLogger(tracking_uri=f"file:{tmp_path / 'mlruns'}")
    fit(tmp_path, vanilla(), SampleGrid(num_samples=4), logger=logger)
    kept = list((tmp_path / "mlruns").rglob("images/samples*.png"))
    shown = pixels(next(tmp_path.rglob("samples/step_00000005.png")))
    assert len(kept) == 2
    assert sum(torch.equal(pixels(path), shown) for path in kept) == 1


class Tiny(LatentGAN):
    """The smallest game of any kind of sample; the generator may take captions."""

    generator_is_conditional = True

    def __init__(self, vocab_size=0, **shape):
        (size,) = shape.values()
        super().__init__(
            Body(8, size, vocab_size), Judge(size), latent_dim=8, vocab_size=vocab_size,
            optimizer_g=torch.optim.Adam, optimizer_d=torch.optim.Adam, **shape,
        )  # fmt: skip

    def discriminator_losses(self, x):
        return {"wasserstein": self.discriminator(x.fake).mean() - self.discriminator(x.real).mean()}

    def generator_losses(self, x):
        return {"wasserstein": -self.discriminator(x.fake).mean()}


class Body(torch.nn.Module):
    def __init__(self, latent_dim, shape, vocab_size):
        super().__init__()
        self.shape = shape
        self.linear = torch.nn.Linear(latent_dim, math.prod(shape))
        self.words = torch.nn.Embedding(vocab_size, latent_dim) if vocab_size else None

    def forward(self, z, tokens=None):
        z = z if tokens is None else z + self.words(tokens).sum(1)
        return self.linear(z).tanh().unflatten(1, self.shape)


class Judge(torch.nn.Sequential):
    def __init__(self, shape):
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(math.prod(shape), 1))

    def forward(self, samples, *condition):
        return super().forward(samples)


def batches(*batches):
    return torch.utils.data.DataLoader(batches, batch_size=None)


def test_audio_is_drawn_and_can_be_heard(tmp_path):
    model = Tiny(audio_shape=(1, 64))
    fit(
        tmp_path,
        model,
        SampleGrid(num_samples=3),
        data=batches(*[(torch.rand(4, 1, 64),)] * 5),
    )
    samples = model.sample(3, seed=0)
    folder = tmp_path / "samples"
    assert torch.equal(pixels(folder / "step_00000005.png"), draw_samples(samples, "audio"))
    assert names(folder / "step_00000005") == ["000000.wav", "000001.wav", "000002.wav"]
    with wave.open(str(folder / "step_00000005" / "000001.wav")) as file:
        heard = np.frombuffer(file.readframes(64), "<i2") / 2**15
    assert np.abs(heard - samples[1, 0].numpy()).max() <= 1 / 2**15


def test_clips_are_drawn_and_can_be_watched(tmp_path):
    model = Tiny(video_shape=(1, 4, 4, 4))
    fit(
        tmp_path,
        model,
        SampleGrid(num_samples=3),
        data=batches(*[(torch.rand(4, 1, 4, 4, 4),)] * 5),
    )
    folder = tmp_path / "samples"
    assert torch.equal(pixels(folder / "step_00000005.png"), draw_samples(model.sample(3, seed=0), "video"))
    with Image.open(folder / "step_00000005" / "000002.gif") as clip:
        frames = np.stack([np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(clip)])
    assert np.abs(frames - (model.sample(3, seed=0)[2, 0].numpy() + 1) * 127.5).max() < 0.51


def test_captions_are_those_of_the_first_batch(tmp_path):
    model = Tiny(image_shape=(1, 16, 16), vocab_size=9)
    tokens = torch.randint(9, (5, 6, 3))
    data = batches(*((torch.rand(6, 1, 16, 16) * 2 - 1, row) for row in tokens))
    fit(tmp_path, model, SampleGrid(num_samples=4), data=data)
    samples = model.sample(4, captions=tokens[0, :4], seed=0)
    words = [" ".join(map(str, row)) for row in tokens[0, :4].tolist()]
    picture = draw_samples(samples, "image", captions=words)
    assert torch.equal(pixels(tmp_path / "samples" / "step_00000005.png"), picture)


@pytest.mark.parametrize("arguments", [{"every_n_steps": 0}, {"num_samples": 0}])
def test_numbers_must_be_positive(arguments):
    with pytest.raises(GANError, match="SampleGrid needs positive numbers"):
        SampleGrid(**arguments)


def test_what_cannot_be_drawn_is_refused_before_training(tmp_path):
    with pytest.raises(GANError, match=r"SampleGrid shows points in the plane, and these have point_shape=\(3,\)"):
        fit(tmp_path, VanillaGAN(point_shape=(3,), hidden_dim=8), SampleGrid(), data=[torch.zeros(2, 3)])
    with pytest.raises(GANError, match="SampleGrid needs a model that makes samples from noise, and LightningModule"):
        SampleGrid().setup(Trainer(logger=False), LightningModule(), "fit")
