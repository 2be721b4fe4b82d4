"""The grid and the scores of translations, against pictures and formulas worked out here."""

from urllib.error import URLError

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from PIL import Image
from scipy.linalg import sqrtm
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from gan_modules import CycleGAN, GANError, Pix2Pix, VanillaGAN
from gan_modules.callbacks import FID, PairScores, SampleGrid, TranslationFID, TranslationGrid
from gan_modules.visuals.pictures import to_uint8

TINY = {"base_channels": 2, "discriminator_channels": 2, "patch_layers": 1}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


class Features(nn.Module):
    """Six features of an image: means of its four quarters, its mean and its deviation."""

    num_features = 6
    name = "quarters"

    def forward(self, images):
        x = images.float().mean(1)
        h, w = x.shape[1] // 2, x.shape[2] // 2
        quarters = [x[:, i : i + h, j : j + w].mean((1, 2)) for i in (0, h) for j in (0, w)]
        return torch.stack([*quarters, x.mean((1, 2)), x.std((1, 2))], dim=1) / 10


def loader(a, b, batch_size=4):
    return DataLoader(TensorDataset(a, b), batch_size)


def images(n, *shape):
    return torch.rand(n, *shape) ** torch.linspace(0.5, 2, n)[:, None, None, None] * 2 - 1


def run(model, callbacks, data, folder, **arguments):
    trainer = Trainer(
        accelerator="cpu", default_root_dir=folder, callbacks=callbacks, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, **{"logger": False, **arguments},
    )  # fmt: skip
    return trainer, trainer.validate(model, data, verbose=False)[0]


def livelier(model):
    """Far from the initial weights, whose images are all grey."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8)
    return model


def cells(path, columns, height, width):
    """The images of a grid that is padded by two pixels."""
    picture = np.asarray(Image.open(path))
    rows = (picture.shape[0] - 2) // (height + 2)
    return [
        [
            torch.from_numpy(picture[2 + r * (height + 2) :, 2 + c * (width + 2) :][:height, :width].copy())
            for c in range(columns)
        ]
        for r in range(rows)
    ]


def test_the_grid_shows_input_output_return_identity_and_truth(tmp_path):
    model = livelier(CycleGAN((3, 32, 32), generator="resnet_0", **TINY))
    a, b = images(5, 3, 32, 32), images(5, 3, 32, 32)
    run(model, TranslationGrid(3, paired=True), loader(a, b, 2), tmp_path)
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [
        "AtoB_step_00000000.png",
        "BtoA_step_00000000.png",
    ]
    rows = cells(tmp_path / "samples" / "AtoB_step_00000000.png", 5, 32, 32)
    assert len(rows) == 3
    there, back = (model.generators[direction].eval() for direction in ("AtoB", "BtoA"))
    with torch.no_grad():
        for i, row in enumerate(rows):
            x, y = a[i : i + 1], b[i : i + 1]
            for cell, expected in zip(row, (x, there(x), back(there(x)), there(y), y), strict=True):
                assert (cell.permute(2, 0, 1).int() - to_uint8(expected)[0].int()).abs().max() <= 1
    assert (rows[0][0].int() - rows[0][1].int()).abs().max() > 20


def test_the_grid_of_unlike_sides_without_truth(tmp_path):
    model = CycleGAN((1, 32, 32), (3, 16, 16), generator="resnet_0", identity_weight=0, **TINY)
    run(model, TranslationGrid(8), loader(images(3, 1, 32, 32), images(3, 3, 16, 16)), tmp_path)
    there = Image.open(tmp_path / "samples" / "AtoB_step_00000000.png")
    assert (there.mode, there.size) == ("RGB", (3 * 34 + 2, 3 * 34 + 2))  # input, output, back
    model = Pix2Pix((1, 32, 32), (3, 32, 32), **TINY)
    run(model, TranslationGrid(8, paired=True), loader(images(3, 1, 32, 32), images(3, 3, 32, 32)), tmp_path / "p")
    assert Image.open(tmp_path / "p/samples/AtoB_step_00000000.png").size == (3 * 34 + 2, 3 * 34 + 2)


def test_the_grid_reaches_the_loggers_and_leaves_the_training_alone(tmp_path):
    data = loader(images(8, 3, 32, 32), images(8, 3, 32, 32))
    weights = []
    for callbacks in ([], [TranslationGrid(4), PairScores()]):
        torch.manual_seed(0)
        model = Pix2Pix((3, 32, 32), **TINY)
        loggers = [TensorBoardLogger(tmp_path / "tb", name="", version=""), CSVLogger(tmp_path / "csv")]
        trainer = Trainer(
            accelerator="cpu", max_epochs=2, callbacks=callbacks, logger=loggers, enable_progress_bar=False,
            enable_checkpointing=False, enable_model_summary=False, log_every_n_steps=1,
        )  # fmt: skip
        trainer.fit(model, data, data)
        weights.append(torch.cat([p.flatten() for p in model.parameters()]))
    assert torch.equal(*weights)
    files = sorted(path.name for path in (tmp_path / "tb" / "samples").iterdir())
    assert files == [f"AtoB_step_{round:08d}.png" for round in (0, 2, 4)]  # before, and after each epoch
    events = EventAccumulator(str(tmp_path / "tb")).Reload()
    assert [image.step for image in events.Images("AtoB")] == [0, 2, 4]
    assert {"val/l1_AtoB", "val/psnr_AtoB", "val/ssim_AtoB"} <= set(trainer.callback_metrics)


def test_pair_scores_by_their_formulas(tmp_path):
    model = livelier(CycleGAN((3, 32, 32), generator="resnet_0", **TINY))
    a, b = images(6, 3, 32, 32), images(6, 3, 32, 32)
    _, scores = run(model, PairScores(), loader(a, b, 4), tmp_path)
    for direction, x, truth in (("AtoB", a, b), ("BtoA", b, a)):
        output, truth = (to_uint8(t).double().numpy() / 255 for t in (model.translate(x, direction), truth))
        assert scores[f"val/l1_{direction}"] == pytest.approx(abs(output - truth).mean(), rel=1e-5)
        decibels = -10 * np.log10(((output - truth) ** 2).mean((1, 2, 3)))
        assert scores[f"val/psnr_{direction}"] == pytest.approx(decibels.mean(), rel=1e-4)
        assert scores[f"val/ssim_{direction}"] == pytest.approx(ssim(output, truth), abs=1e-4)


def ssim(x, y):
    """Structural similarity (Wang et al. 2004): Gaussian windows of 11 pixels over reflected borders."""
    line = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2

    x, y = (np.pad(z, ((0, 0), (0, 0), (5, 5), (5, 5)), mode="reflect") for z in (x, y))

    def local(z):
        return (np.lib.stride_tricks.sliding_window_view(z, (11, 11), axis=(2, 3)) * window).sum((-2, -1))

    mx, my = local(x), local(y)
    vx, vy, cov = local(x * x) - mx**2, local(y * y) - my**2, local(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()


def test_distances_of_each_direction_by_their_formulas(tmp_path):
    model = livelier(CycleGAN((3, 32, 32), generator="resnet_0", **TINY))
    a, b = images(24, 3, 32, 32), images(40, 3, 32, 32).flip(0)
    batches = [(a[:16], b[:16]), (a[16:], b[16:32]), (a[:0], b[32:])]  # as UnpairedImages serves them

    class Batches(torch.utils.data.IterableDataset):
        def __iter__(self):
            yield from batches

    callback = TranslationFID(Features(), kid_subset_size=24, kid_subsets=3)
    _, scores = run(model, callback, DataLoader(Batches(), batch_size=None), tmp_path)
    for direction, x, other in (("AtoB", a, b), ("BtoA", b, a)):
        fake, real = (Features()(to_uint8(t)).double().numpy() for t in (model.translate(x, direction), other))
        covariances = np.cov(real.T), np.cov(fake.T)
        frechet = ((real.mean(0) - fake.mean(0)) ** 2).sum() + np.trace(
            sum(covariances) - 2 * sqrtm(covariances[0] @ covariances[1]).real
        )
        assert scores[f"val/fd_quarters_{direction}"] == pytest.approx(frechet, rel=1e-3)
        estimates = kernel_estimates(real, fake, size=24)
        deviation = estimates.std() / 3**0.5
        assert abs(scores[f"val/kd_quarters_{direction}"] - estimates.mean()) < 4 * deviation + 1e-4 * estimates.mean()


def kernel_estimates(x, y, size):
    """Unbiased squared MMDs of random subsets, by the kernel (x·y/d + 1)³ (arXiv:1801.01401, Eq. 4)."""
    random = np.random.default_rng(0)

    def kernel(u, v):
        return (u @ v.T / u.shape[1] + 1) ** 3

    def estimate():
        u, v = (z[random.permutation(len(z))[:size]] for z in (x, y))
        within = sum((kernel(z, z).sum() - np.trace(kernel(z, z))) / (size * (size - 1)) for z in (u, v))
        return within - 2 * kernel(u, v).mean()

    return np.array([estimate() for _ in range(200)])


def test_reals_are_kept_between_validations_and_noise_is_untouched(tmp_path):
    model = CycleGAN((3, 32, 32), generator="resnet_0", **TINY)
    data = loader(images(8, 3, 32, 32), images(8, 3, 32, 32))
    callback = TranslationFID(Features())
    trainer = Trainer(
        accelerator="cpu", max_epochs=2, default_root_dir=tmp_path, callbacks=callback, logger=False,
        enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, data, data)
    last = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
    drawn = []
    for callbacks in ([], TranslationFID(Features())):
        torch.manual_seed(0)
        afresh = run(model, callbacks, data, tmp_path)[1:]
        drawn.append(torch.rand(()))
    assert drawn[0] == drawn[1]
    (afresh,) = afresh
    assert afresh == pytest.approx(last, rel=1e-4)
    assert set(last) == {f"val/{name}_quarters_{direction}" for name in ("fd", "kd") for direction in model.directions}


def test_what_cannot_be_scored_is_refused(tmp_path, monkeypatch):
    a, b = images(4, 3, 32, 32), images(4, 3, 32, 32)
    translator, sampler = CycleGAN((3, 32, 32), generator="resnet_0", **TINY), VanillaGAN((3, 32, 32))
    for callback in (TranslationGrid(), PairScores(), TranslationFID(Features())):
        with pytest.raises(
            GANError, match=f"{type(callback).__name__} needs a model that translates images, and Vanil"
        ):
            run(sampler, callback, loader(a, b), tmp_path)
    for callback in (SampleGrid(), FID(Features())):
        with pytest.raises(GANError, match=r"needs a model that makes (images|samples) from noise, and CycleGAN "):
            run(translator, callback, loader(a, b), tmp_path)
    with pytest.raises(GANError, match="needs at least two validation images of each domain"):
        run(translator, TranslationFID(Features()), loader(a[:1], b[:1]), tmp_path)
    with pytest.raises(GANError, match="2 images of one domain and 1 of the other"):
        run(translator, PairScores(), DataLoader([(a[:2], b[:1])], batch_size=None), tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def fail(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(GANError, match="LPIPS needs AlexNet's weights, which could not be downloaded"):
        run(translator, PairScores(lpips=True), loader(a, b), tmp_path)
