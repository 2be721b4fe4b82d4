"""What is written as exported network, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from gan_modules import DCGAN, GANError, Pix2Pix, VanillaGAN
from gan_modules.cli import main
from gan_modules.tools import export as tool
from gan_modules.tools.export import export

TINY = {"image_shape": (1, 8, 8), "latent_dim": 4}


class Generator(nn.Module):
    """Makes images by what it is given."""

    def __init__(self, make):
        super().__init__()
        self.line = nn.Linear(4, 64)
        self.make = make

    def forward(self, z, *condition):
        return self.make(self.line(z).view(-1, 1, 8, 8).tanh(), *condition)


def drawn(make, **options):
    return DCGAN((1, 8, 8), latent_dim=4, base_channels=2, generator=Generator(make), **options)


class Captioned(VanillaGAN):
    """Images of the mean of their words."""

    generator_is_conditional = True

    def __init__(self):
        words = nn.Embedding(7, 64)
        generator = Generator(lambda images, tokens: (images + words(tokens).mean(1).view_as(images)).tanh())
        generator.words = words
        super().__init__((1, 8, 8), latent_dim=4, hidden_dim=8, generator=generator)
        self.vocab_size = 7


def test_captions_are_of_any_length(tmp_path):
    model = Captioned()
    written = export(model, tmp_path / "model.pt2", "torch_export")
    assert written.inputs == {"z": ("batch", 4), "captions": ("batch", "length")}
    tokens, z = torch.randint(7, (2, 9)), torch.randn(2, 4)
    made = torch.export.load(tmp_path / "model.pt2").module()(z, tokens)
    torch.testing.assert_close(made, model.sample(2, z=z, captions=tokens), rtol=0, atol=1e-6)


def test_points_are_not_clamped_and_the_raw_generator_is_another(tmp_path):
    model = VanillaGAN(point_shape=(2,), latent_dim=4, hidden_dim=8)
    with torch.no_grad():
        model.generator.layers[-1].bias += 5
    z = torch.randn(3, 4)
    for ema in (True, False):
        written = export(model, tmp_path / "model.pt2", "torch_export", ema=ema)
        assert written.inputs == {"z": ("batch", 4)}
        made = torch.export.load(tmp_path / "model.pt2").module()(z)
        torch.testing.assert_close(made, model.sample(3, z=z, ema=ema), rtol=0, atol=1e-6)
        assert (made.mean() > 2) == (not ema)


class Fixed(nn.Module):
    """A translator of one size of images."""

    min_size = 1

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(3 * 16 * 16, 3 * 16 * 16)

    def forward(self, images):
        return self.line(images.flatten(1)).view(-1, 3, 16, 16).tanh()


def test_a_translator_of_one_size_is_exported_at_it(tmp_path):
    model = Pix2Pix((3, 16, 16), discriminator_channels=4, patch_layers=1, generator=Fixed())
    written = export(model, tmp_path / "model.pt2", "torch_export")
    assert written.inputs == {"images": ("batch", 3, 16, 16)}
    images = torch.rand(5, 3, 16, 16) * 2 - 1
    made = torch.export.load(tmp_path / "model.pt2").module()(images)
    torch.testing.assert_close(made, model.translate(images), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        (lambda: drawn(lambda x: x), {"path": "model.pkl"}, "'.*model.pkl' is no name for onnx: let it end in .onnx"),
        (lambda: drawn(lambda x: x), {"path": "m.onnx", "to": "torch_export"}, "for torch_export: let it end in .pt2"),
        (
            lambda: drawn(lambda x: x + torch.zeros(1, 1, 8, 8).expand(len(x), -1, -1, -1)),
            {},
            "cannot trace the network for any number",
        ),
        (lambda: drawn(lambda x: x * -1 if x.mean() > 0 else x), {}, "cannot trace the network for any number of z"),
        (lambda: drawn(lambda x: x * torch.rand_like(x)), {}, "answer is .* from the model's, so nothing is written"),
        (
            lambda: Pix2Pix((3, 256, 256), base_channels=1),
            {"truncation": 0.5},
            "Pix2Pix translates, and has nothing to",
        ),
        (lambda: Pix2Pix((3, 256, 256), base_channels=1), {"direction": "BtoA"}, "translates AtoB, not BtoA"),
        (nn.Identity, {}, "export needs a model that makes samples by one network, and Identity is none"),
    ],
)
def test_what_cannot_be_exported(model, options, sentence, tmp_path):
    options = {"path": "model.pt2", "to": "torch_export" if "path" not in options else "onnx"} | options
    with pytest.raises(GANError, match=sentence):
        export(model(), tmp_path / options.pop("path"), **options)
    assert not list(tmp_path.iterdir())


def test_onnx_without_its_packages(tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "find_spec", lambda name: None)
    with pytest.raises(GANError, match=r"needs onnx and onnxscript: pip install 'gan-modules\[export\]'"):
        export(DCGAN(**TINY, base_channels=2), tmp_path / "model.onnx")


def test_the_command_says_what_it_has_written(tmp_path, monkeypatch, capfd, fit, noise_batches):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = DCGAN(**TINY, base_channels=2)
    fit(model, noise_batches(1, (1, 8, 8)), max_steps=1).save_checkpoint(tmp_path / "last.ckpt")
    capfd.readouterr()
    words = ["export", "--ckpt_path", str(tmp_path / "last.ckpt"), "--out", str(tmp_path / "deep" / "model.onnx")]
    monkeypatch.setattr("sys.argv", ["gan-modules", *words])
    main()
    said = capfd.readouterr()
    assert said.out.startswith("of z (batch, 4), ")
    assert said.out.endswith(f" from the model's answer: {tmp_path}/deep/model.onnx\n")
    assert said.err == ""
    session = onnxruntime.InferenceSession(tmp_path / "deep" / "model.onnx")
    z = model.draw_latents(4, 1)
    (made,) = session.run(["samples"], {"z": z.numpy()})
    assert np.abs(made - model.sample(4, z=z).numpy()).max() < 1e-6
