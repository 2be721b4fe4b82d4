"""Diagnose on games of every kind, and on discriminators of all sorts: it gives the figures that it can."""

import json
from functools import partial

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.utils.data import TensorDataset

from gan_modules import GANError
from gan_modules.callbacks import Diagnose
from gan_modules.families.latent import LatentGAN

SHAPES = {
    "image_shape": (1, 8, 8),
    "point_shape": (2,),
    "audio_shape": (1, 300),
    "video_shape": (1, 6, 20, 20),
}


class Map(nn.Module):
    """A linear map of the samples, flat, to the given shape; labels and captions are added to the first value."""

    def __init__(self, size, shape, bounded=False):
        super().__init__()
        self.shape, self.bounded = shape, bounded
        self.linear = nn.Linear(size, torch.Size(shape).numel())

    def forward(self, x, *condition):
        out = self.linear(x.flatten(1))
        for told in condition:
            out = out + told.float().view(len(x), -1).mean(1, keepdim=True) / 10
        return (out.tanh() if self.bounded else out).view(-1, *self.shape)


class Small(LatentGAN):
    """A hinge game of linear networks, which take labels and captions."""

    generator_is_conditional = discriminator_is_conditional = True

    def __init__(self, outputs=1, **spec):
        shape = next(spec[key] for key in SHAPES if key in spec)
        bounded = "point_shape" not in spec
        networks = Map(4, shape, bounded), Map(torch.Size(shape).numel(), (outputs,))
        optimizer = partial(SGD, lr=0.01)
        super().__init__(*networks, latent_dim=4, optimizer_g=optimizer, optimizer_d=optimizer, **spec)

    def discriminator_losses(self, x):
        return {
            "d": F.relu(1 - self.realness(x.real, *x.condition)).mean() + self.realness(x.fake, *x.condition).mean()
        }

    def generator_losses(self, x):
        return {"g": -self.realness(x.fake, *x.condition).mean()}


class LabelsForD(Small):
    generator_is_conditional = False


class LabelsForG(Small):
    discriminator_is_conditional = False


class SemiSupervised(Small):
    """K + 1 logits, of which the last says "fake"."""

    def realness(self, samples, *condition):
        logits = self.discriminator(samples)
        return logits[:, :-1].logsumexp(1) - logits[:, -1]


class Speechless(Small):
    realness = None

    def discriminator_losses(self, x):
        return {"d": self.discriminator(x.fake).mean() - self.discriminator(x.real).mean()}

    def generator_losses(self, x):
        return {"g": -self.discriminator(x.fake).mean()}


def diagnose(tmp_path, model, *columns):
    torch.manual_seed(0)
    sets = [TensorDataset(*columns), TensorDataset(*columns)]
    data = LightningDataModule.from_datasets(*sets, batch_size=20)
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    callback = Diagnose(every_n_steps=3, num_samples=50, grace=0)
    trainer = Trainer(
        max_steps=3,
        callbacks=callback,
        default_root_dir=tmp_path,
        logger=False,
        accelerator="cpu",
        val_check_interval=2,
        **quiet,
    )
    trainer.fit(model, data)
    (line,) = [json.loads(line) for line in (tmp_path / "diagnostics.jsonl").read_text().splitlines()]
    return line


def reals(key, n=60):
    return torch.rand(n, *SHAPES[key], generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9


@pytest.mark.parametrize("key", SHAPES)
def test_every_kind_has_all_figures(tmp_path, key):
    line = diagnose(tmp_path, Small(**{key: SHAPES[key]}), reals(key))
    assert {"auc", "overfit", "accuracy_held_out", "duplicates", "coverage", "gradient_generator"} <= line.keys()
    assert ("saturation" in line) == (key != "point_shape")  # points have no bounds
    assert line["saturation_real"] == 0 if key != "point_shape" else True
    assert line["samples"] == 50


@pytest.mark.parametrize("model_class", [Small, LabelsForD, LabelsForG, SemiSupervised])
def test_discriminators_of_all_sorts_are_asked_for_realness(tmp_path, model_class):
    torch.manual_seed(1)
    model = model_class(11 if model_class is SemiSupervised else 1, image_shape=(1, 8, 8), num_classes=10)
    real, labels = reals("image_shape"), torch.arange(60) % 10
    seen = []
    keep = model.inputs
    model.inputs = lambda batch: seen.append(batch) or keep(batch)
    line = diagnose(tmp_path, model, real, labels)
    shown, condition = (torch.cat(parts)[:50] for parts in zip(*seen, strict=True))
    z = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    told = () if model_class is LabelsForD else (condition,)
    with torch.no_grad():
        logits = torch.cat([model.realness(shown, condition), model.realness(model.generator(z, *told), condition)])
    assert line["auc"] == pytest.approx(roc_auc_score([1] * 50 + [0] * 50, logits.numpy()), abs=1e-4)


def test_captions_are_a_condition_too(tmp_path):
    tokens = torch.randint(7, (60, 5), generator=torch.Generator().manual_seed(0))
    line = diagnose(tmp_path, Small(image_shape=(1, 8, 8), vocab_size=7), reals("image_shape"), tokens)
    assert {"auc", "overfit", "coverage"} <= line.keys()


def test_without_realness_the_other_figures_are_given(tmp_path):
    line = diagnose(tmp_path, Speechless(image_shape=(1, 8, 8)), reals("image_shape"))
    assert {"duplicates", "coverage", "spectral_generator", "growth_discriminator"} <= line.keys()
    assert not {"auc", "overfit", "accuracy_real"} & line.keys()


class Blind(Speechless):
    """Its discriminator takes no labels, and nobody says so in realness()."""

    realness = LatentGAN.realness


def test_a_realness_that_fails_ends_no_training(tmp_path):
    model = Blind(image_shape=(1, 8, 8), num_classes=10)
    model.discriminator = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    with pytest.warns(UserWarning, match=r"Blind.realness\(\) failed \(.*positional argument.*\): override it"):
        line = diagnose(tmp_path, model, reals("image_shape"), torch.arange(60) % 10)
    assert "coverage" in line
    assert "auc" not in line


def test_what_is_no_game_is_refused_before_training(tmp_path):
    with pytest.raises(GANError, match="Diagnose needs a model that makes samples from noise, and LightningModule"):
        Diagnose().setup(Trainer(logger=False), LightningModule(), "fit")
