"""Diagnose on a growing game: samples are compared with reals as coarse as they are."""

import json

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.metrics import pairwise_distances, roc_auc_score

from gan_modules import StyleGAN
from gan_modules.callbacks import Diagnose

SMALL = {"image_shape": (1, 16, 16), "latent_dim": 3, "style_dim": 4, "channel_max": 4, "mapping_layers": 2}


def blocks(images, size):
    cells = images.reshape(len(images), 16 // size, size, 16 // size, size).mean((2, 4))
    return cells.repeat(size, 1).repeat(size, 2)[:, None]


@pytest.fixture
def diagnosed(tmp_path, as_loader, noise_batches):
    """A game that grows but does not learn: the model, its training and held-out reals, the figures found."""

    def diagnosed(rounds, spread=1.0, **options):
        torch.manual_seed(0)
        model = StyleGAN(**SMALL, first_size=4, lr_g=0.0, lr_d=0.0, **options)
        with torch.no_grad():
            model.generator.const.normal_()
            model.generator_ema.const.copy_(model.generator.const)
        images = [spread * images for (images,) in noise_batches(rounds + 5, (1, 16, 16))]
        loaders = [as_loader([(part,) for part in parts]) for parts in (images[5:], images[:5])]
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        diagnose = Diagnose(every_n_steps=5, num_samples=30, grace=0, patience=1)
        trainer = Trainer(
            accelerator="cpu",
            max_steps=rounds,
            callbacks=diagnose,
            default_root_dir=tmp_path,
            val_check_interval=4,
            **quiet,
        )
        trainer.fit(model, *loaders)
        checks = [json.loads(line) for line in (tmp_path / "diagnostics.jsonl").read_text().splitlines()]
        return model, torch.cat(images[5:])[:30].numpy(), torch.cat(images[:5]).numpy(), checks

    return diagnosed


@pytest.mark.parametrize(("level", "growth"), [(2, (60, 60)), (1.5, (12, 24)), (1, (0, 24)), (0, (0, 1))])
def test_figures_are_those_at_the_level(level, growth, diagnosed):
    model, real, held_out, checks = diagnosed(5, lod_training_images=growth[0], lod_transition_images=growth[1])
    assert model.generator.lod == level
    coarse = {2: (4, 4), 1.5: (4, 2), 1: (2, 2), 0: (1, 1)}[level]
    real, held_out = (sum(blocks(images, size) for size in coarse) / 2 for images in (real, held_out))
    (figures,) = checks
    z = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    fake = model.sample(30, z=z).numpy()
    assert figures["saturation_real"] == pytest.approx((np.abs(real) > 0.99).mean(), abs=1e-6)
    to_reals, across = (
        pairwise_distances(real.reshape(30, -1)),
        pairwise_distances(*(x.reshape(30, -1) for x in (real, fake))),
    )
    assert figures["coverage"] == pytest.approx((across.min(axis=1) < np.sort(to_reals)[:, 5]).mean(), abs=1e-6)
    with torch.no_grad():  # in the batches of the training, as it sees each among others
        on_real, on_held_out, on_fake = (
            np.concatenate([model.discriminator(part).ravel().numpy() for part in images.split(6)])
            for images in (*map(torch.from_numpy, (real, held_out)), model.sample(30, z=z, ema=False))
        )
    truth = np.repeat([1, 0], 30)
    assert figures["auc"] == pytest.approx(roc_auc_score(truth, np.r_[on_real, on_fake]), abs=2e-3)
    assert figures["overfit"] == pytest.approx(roc_auc_score(truth, np.r_[on_real, on_held_out]), abs=2e-3)


def test_nothing_is_forgotten_while_the_networks_grow(diagnosed):
    """Samples in the midst of widely spread reals are near to all of them, at each size."""
    _, _, _, checks = diagnosed(20, spread=100.0, lod_training_images=12, lod_transition_images=24)
    assert [check["step"] for check in checks] == [5, 10, 15, 20]
    assert [check["coverage"] for check in checks] == [1, 1, 1, 1]
    assert [check["best_coverage"] for check in checks] == [0, 0, 1, 1]  # the full size is reached at step 13
