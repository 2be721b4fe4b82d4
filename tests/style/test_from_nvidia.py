"""StyleGAN2 out of NVIDIA's files: the same images, fine-tuned, and back in their layout."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gan_modules import GANError, StyleGAN2
from gan_modules.functional import regularizers
from gan_modules.interop import load_nvidia, nvidia_state_dicts

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def golden():
    with np.load(GOLDEN / "stylegan2_r32.npz", allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files if file[name].dtype.kind == "f"}


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the file's source would leave its mark
    model = load_nvidia(GOLDEN / "stylegan2_r32.pkl", r1_weight=1.0)
    assert not list(tmp_path.iterdir())
    assert not (GOLDEN / "EXECUTED").exists()
    return model


def close(ours, theirs):
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def test_sample_draws_the_authors_images(model, golden):
    z = golden["z"]
    close(model.sample(len(z), z=z), golden["img"].clamp(-1, 1))
    close(model.sample(len(z), z=z, truncation=0.7), golden["img_trunc07"].clamp(-1, 1))
    with torch.no_grad():
        close(model.logits(golden["real"]), golden["logits_real"])


def test_its_regularizers_are_the_authors(model, golden):
    """R1 and path lengths as the game computes them, on the golden file's images and directions."""
    r1 = regularizers.r1(model.logits, golden["real"])
    assert r1.item() == pytest.approx(golden["r1_per_image"].mean().item() / 2, rel=1e-4)
    ws = golden["ws"].clone().requires_grad_()
    images = model.generator.synthesis(ws, noise="const")
    close(regularizers.path_lengths(images, ws, golden["pl_noise"]), golden["pl_lengths"])


def test_fine_tuning_starts_from_the_files_average(fit, noise_batches):
    model = load_nvidia(GOLDEN / "stylegan2_r32.pkl", freeze_d=1, r1_weight=1.0, ada_target=0.6)
    assert model.augment.images == 100_000
    first = {name: value.clone() for name, value in model.state_dict().items()}
    fit(model, noise_batches(2, model.image_shape, size=4), max_steps=2)
    moved = {name: (value - first[name]).abs().max() for name, value in model.state_dict().items()}
    weights = {name: moved[name] for name, _ in model.named_parameters()}
    frozen = [name for name in weights if name.startswith("discriminator.blocks.b32.")]
    assert frozen
    assert max(weights[name] for name in frozen) == 0
    trained = {name: change for name, change in weights.items() if name.startswith("generator.synthesis.blocks")}
    assert min(trained.values()) > 0
    # 8 of the average's 10,000 images: it has hardly moved, where a fresh one would have followed
    for name, change in trained.items():
        assert moved[name.replace("generator.", "generator_ema.", 1)] < 0.01 * change


def test_there_and_back(model, golden):
    written = nvidia_state_dicts(model)
    assert set(written) == {"G", "D", "G_ema"}
    for net in ("G", "D"):
        theirs = {name[2:]: value for name, value in golden.items() if name.startswith(f"{net}.")}
        ours = written["G_ema" if net == "G" else net]
        assert theirs
        assert set(theirs) <= set(ours)
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value, rtol=0, atol=0)


def test_checkpoints_and_folders_keep_it(model, golden, tmp_path):
    model.save_pretrained(tmp_path / "shared")
    again = StyleGAN2.from_pretrained(tmp_path / "shared")
    close(again.sample(len(golden["z"]), z=golden["z"]), golden["img"].clamp(-1, 1))


def test_other_sizes_are_refused():
    with pytest.raises(GANError, match="have sizes of their own: leave out latent_dim"):
        load_nvidia(GOLDEN / "stylegan2_r32.pkl", latent_dim=32)
    with pytest.raises(GANError, match=r"nothing\.pkl"):
        load_nvidia("nothing.pkl")
