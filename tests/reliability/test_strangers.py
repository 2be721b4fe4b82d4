"""Files from strangers are read, never run; and models travel in the hub's layout."""

import json
import pickle
import zipfile

import pytest
import torch
from huggingface_hub import PyTorchModelHubMixin
from lightning.pytorch import Trainer
from safetensors.torch import load_file, save_file

from datamodules import DigitsDataModule
from gan_modules import CGAN, DCGAN, GAN, WGAN, GANError
from gan_modules.engine.checkpoint import read_checkpoint

torch.set_num_threads(1)


class Malice:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (open, (str(self.trace), "w"))


def trainer(folder, **options):
    return Trainer(
        accelerator="cpu",
        max_steps=2,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    model = CGAN(image_shape=(1, 8, 8), latent_dim=4, hidden_dim=8, clip_norm=1.0)
    fitted = trainer(folder)
    fitted.fit(model, DigitsDataModule(image_size=8, batch_size=32))
    fitted.save_checkpoint(folder / "model.ckpt")
    return model, folder / "model.ckpt"


def fit(path, folder):
    model = CGAN(image_shape=(1, 8, 8), latent_dim=4, hidden_dim=8)
    # the user's own wish changes nothing
    trainer(folder).fit(model, DigitsDataModule(image_size=8, batch_size=32), ckpt_path=path, weights_only=False)


READERS = {
    "load": lambda path, folder: CGAN.load_from_checkpoint(path),
    "load any": lambda path, folder: GAN.load_from_checkpoint(path),
    "continue": fit,
    "score": lambda path, folder: trainer(folder).validate(
        CGAN(image_shape=(1, 8, 8), latent_dim=4, hidden_dim=8), DigitsDataModule(image_size=8), ckpt_path=path
    ),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("place", ["callbacks", "hyper_parameters", "state_dict", "plain pickle"])
def test_no_checkpoint_is_executed(reader, place, trained, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "0")
    path, trace = tmp_path / "stranger.ckpt", tmp_path / "trace"
    checkpoint = read_checkpoint(trained[1])
    if place == "plain pickle":
        path.write_bytes(pickle.dumps(Malice(trace)))
    else:
        checkpoint[place]["malice"] = Malice(trace)
        torch.save(checkpoint, path)
    with pytest.raises(GANError, match="cannot be read as a checkpoint"):
        READERS[reader](path, tmp_path)
    assert not trace.exists()
    if place != "plain pickle":  # the trap is real: whoever unpickles it falls in
        torch.load(path, weights_only=False)
        assert trace.exists()


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "gan_modules.cli.main", "antigravity.Anything"])
def test_the_name_of_a_class_imports_nothing(name, trained, tmp_path):
    checkpoint = read_checkpoint(trained[1])
    checkpoint["gan_modules"]["class"] = name
    torch.save(checkpoint, tmp_path / "stranger.ckpt")
    with pytest.raises(GANError, match="not known here"):
        GAN.load_from_checkpoint(tmp_path / "stranger.ckpt")


def test_a_folder_of_weights_holds_model_average_and_hyperparameters(trained, tmp_path):
    model, _ = trained
    model.save_pretrained(tmp_path / "shared")
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == ["config.json", "model.safetensors"]
    found = GAN.from_pretrained(tmp_path / "shared")
    assert type(found) is CGAN
    assert found.clip_norm == 1.0
    assert found.images_seen == model.images_seen == 64
    assert found.hparams == CGAN.from_pretrained(tmp_path / "shared").hparams
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, found.state_dict()[name]), name
    for ema in (True, False):
        assert torch.equal(model.sample(12, seed=3, ema=ema), found.sample(12, seed=3, ema=ema))
    assert not torch.equal(model.sample(12, seed=3), model.sample(12, seed=3, ema=False))


def test_the_layout_is_that_of_the_hubs_mixin(tmp_path):
    class Shared(PyTorchModelHubMixin, DCGAN):
        """What huggingface_hub makes of our files, and we of its."""

    ours = DCGAN(image_shape=(1, 16, 16), base_channels=4, betas=(0.3, 0.9), clip_norm=2.0)
    ours.save_pretrained(tmp_path / "ours")
    theirs = Shared.from_pretrained(tmp_path / "ours")
    assert theirs.hparams["betas"] == [0.3, 0.9]
    assert theirs.clip_norm == 2.0
    assert torch.equal(theirs.sample(5, seed=0), ours.sample(5, seed=0))

    theirs.save_pretrained(tmp_path / "theirs")
    again = DCGAN.from_pretrained(tmp_path / "theirs")
    assert torch.equal(again.sample(5, seed=0), ours.sample(5, seed=0))
    assert json.loads((tmp_path / "ours" / "config.json").read_text()) == ours.hparams | {
        "betas": [0.3, 0.9],
        "image_shape": [1, 16, 16],
    }


def test_folders_that_do_not_fit_are_named(trained, tmp_path):
    folder = tmp_path / "shared"
    trained[0].save_pretrained(folder)
    with pytest.raises(GANError, match="holds a CGAN: load it as CGAN, not WGAN"):
        WGAN.from_pretrained(folder)
    with pytest.raises(GANError, match="hidden_dim=8, not 16"):
        CGAN.from_pretrained(folder, hidden_dim=16)
    with pytest.raises(GANError, match="no_such"):
        CGAN.from_pretrained(folder, no_such=1)
    weights = load_file(folder / "model.safetensors")
    save_file({"generator.weight": weights["generator.embedding.weight"]}, folder / "model.safetensors")
    with pytest.raises(GANError, match="networks do not fit"):
        CGAN.from_pretrained(folder)
    trace = tmp_path / "trace"
    for content in (pickle.dumps(Malice(trace)), b"", b"\xff" * 100):
        (folder / "model.safetensors").write_bytes(content)
        with pytest.raises(GANError, match=r"no whole config.json and model.safetensors"):
            GAN.from_pretrained(folder)
    assert not trace.exists()
    (folder / "config.json").write_text("[1")
    with pytest.raises(GANError, match="no whole"):
        GAN.from_pretrained(folder)
    with pytest.raises(GANError, match="There is no folder"):
        GAN.from_pretrained(tmp_path / "nowhere")


def test_a_zip_that_is_no_checkpoint_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.ckpt", "w") as file:
        file.writestr("cat.txt", "miaow")
    torch.save({"weights": torch.zeros(3)}, tmp_path / "other.ckpt")
    with pytest.raises(GANError, match="cannot be read as a checkpoint"):
        GAN.load_from_checkpoint(tmp_path / "photos.ckpt")
    with pytest.raises(GANError, match="not written by a model of gan_modules"):
        GAN.load_from_checkpoint(tmp_path / "other.ckpt")
