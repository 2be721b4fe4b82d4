"""The original files: golden outputs, what is inferred, the way back, and files that are refused."""

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_modules import GANError
from gan_modules.interop import (
    load_cyclegan,
    load_pix2pix,
    read_cyclegan_net,
    save_cyclegan,
    save_pix2pix,
    write_cyclegan_net,
)
from gan_modules.networks import build_patchgan, build_translator

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = ["cyclegan_resnet9", "pix2pix_unet256", "patchgan70"]


def golden(name):
    with np.load(GOLDEN / f"{name}_io.npz", allow_pickle=False) as arrays:
        return torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])


@pytest.mark.parametrize("name", NAMES)
def test_golden_outputs(name, record_property):
    x, y = golden(name)
    with torch.no_grad():
        difference = (read_cyclegan_net(GOLDEN / f"{name}.pth")(x) - y).abs().max().item()
    record_property("difference", difference)
    assert difference < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_written_back_as_it_was(name, tmp_path):
    write_cyclegan_net(read_cyclegan_net(GOLDEN / f"{name}.pth"), tmp_path / "net.pth")
    ours, theirs = (torch.load(path, weights_only=True) for path in (tmp_path / "net.pth", GOLDEN / f"{name}.pth"))
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) and ours[key].is_contiguous() for key in ours)


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize(
    "build",
    [
        lambda norm: build_translator("resnet_6", 1, 3, 4, norm, dropout=True),
        lambda norm: build_translator("resnet_1", 2, 1, 3, norm),
        lambda norm: build_translator("resnet_0", 2, 1, 3, norm),
        lambda norm: build_translator("unet_32", 4, 1, 2, norm, dropout=True),
        lambda norm: build_translator("unet_512", 1, 3, 1, norm, dropout=True),
        lambda norm: build_patchgan(6, 2, 1, norm),
        lambda norm: build_patchgan(3, 2, 5, norm),
        lambda norm: build_patchgan(3, 2, 0, norm),
    ],
)
def test_every_size_is_told_from_the_keys(build, norm, tmp_path):
    torch.manual_seed(0)
    net = build(norm).eval()
    for buffer in net.buffers():
        buffer.copy_(torch.rand_like(buffer.float()) + 0.5)
    write_cyclegan_net(net, tmp_path / "net.pth")
    noise = torch.random.get_rng_state()
    read = read_cyclegan_net(tmp_path / "net.pth")
    assert torch.equal(torch.random.get_rng_state(), noise)
    assert str(read) == str(net)
    channels = next(iter(net.state_dict().values())).shape[1]
    size = max(net.min_size, 16)
    x = torch.randn(1, channels, size, size)
    with torch.no_grad():
        torch.testing.assert_close(read(x), net(x), rtol=0, atol=0)


def test_dataparallel_prefixes_and_old_instance_norm_buffers(tmp_path):
    x, y = golden("cyclegan_resnet9")
    state = torch.load(GOLDEN / "cyclegan_resnet9.pth", weights_only=True)
    for layer, channels in (("model.2", 8), ("model.10.conv_block.2", 32), ("model.23", 8)):
        state |= {f"{layer}.running_mean": torch.ones(channels), f"{layer}.running_var": torch.zeros(channels)}
        state[f"{layer}.num_batches_tracked"] = torch.tensor(7)
    torch.save(OrderedDict({f"module.{key}": value.half() for key, value in state.items()}), tmp_path / "old.pth")
    with torch.no_grad():
        output = read_cyclegan_net(tmp_path / "old.pth")(x)
    assert output.dtype == torch.float32
    assert (output - y).abs().mean() < 5e-3  # the file's halves

    state = torch.load(GOLDEN / "pix2pix_unet256.pth", weights_only=True)
    older = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    torch.save(older, tmp_path / "older.pth")  # of torch before 0.4.1
    x, y = golden("pix2pix_unet256")
    with torch.no_grad():
        assert (read_cyclegan_net(tmp_path / "older.pth")(x) - y).abs().max() < 1e-5


def test_pix2pix_from_original_files_and_back(tmp_path):
    (tmp_path / "latest_net_G.pth").write_bytes((GOLDEN / "pix2pix_unet256.pth").read_bytes())
    x, y = golden("pix2pix_unet256")
    model = load_pix2pix(tmp_path)
    assert (model.image_shape, model.hparams.generator, model.hparams.norm) == ((3, 256, 256), "unet_256", "batch")
    assert (model.translate(x) - y).abs().max() < 1e-5
    save_pix2pix(model, tmp_path / "out", epoch="7")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["7_net_D.pth", "7_net_G.pth"]
    again = load_pix2pix(tmp_path / "out", epoch="7")
    for ours, theirs in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_cyclegan_from_original_files_and_back(tmp_path):
    theirs = {"G_A": ("resnet_2", 1, 3), "G_B": ("resnet_2", 3, 1)}
    for name, arguments in theirs.items():
        write_cyclegan_net(build_translator(*arguments, 4), tmp_path / f"latest_net_{name}.pth")
    write_cyclegan_net(build_patchgan(3, 4, 2), tmp_path / "latest_net_D_A.pth")
    model = load_cyclegan(tmp_path, image_size=32, identity_weight=0)
    assert (model.image_shape, model.target_shape) == ((1, 32, 32), (3, 32, 32))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = read_cyclegan_net(tmp_path / "latest_net_G_B.pth")(x)
        torch.testing.assert_close(model.translate(x, "BtoA"), expected, rtol=0, atol=1e-6)
        judged = read_cyclegan_net(tmp_path / "latest_net_D_A.pth")(x)
    torch.testing.assert_close(model.discriminators["AtoB"](x), judged)
    save_cyclegan(model, tmp_path / "out")
    again = load_cyclegan(tmp_path / "out", image_size=32, identity_weight=0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    with pytest.raises(GANError, match="pass identity_weight=0"):
        load_cyclegan(tmp_path, image_size=32)


class Exploit:
    def __reduce__(self):
        return (Path("EXECUTED").touch, ())


def test_files_that_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = (GOLDEN / "cyclegan_resnet9.pth").read_bytes()
    Path("truncated.pth").write_bytes(whole[: len(whole) // 2])
    Path("empty.pth").touch()
    torch.save({"model.1.weight": Exploit()}, "malicious.pth")
    Path("pickle.pth").write_bytes(pickle.dumps(Exploit()))
    Image.new("RGB", (4, 4)).save("image.png")
    Path("image.png").rename("image.pth")
    state = torch.load(GOLDEN / "cyclegan_resnet9.pth", weights_only=True)
    torch.save(torch.nn.Linear(2, 2).state_dict(), "other.pth")
    torch.save({"state_dict": state}, "nested.pth")
    torch.save({**state, "extra.weight": torch.ones(1)}, "more.pth")
    torch.save({key: value for key, value in state.items() if key != "model.7.bias"}, "fewer.pth")
    torch.save({**state, "model.7.bias": torch.ones(3)}, "shape.pth")
    torch.save({**state, "model.1.weight": torch.empty(0, 3, 7, 7)}, "void.pth")
    for name, sentence in {
        "missing": "no file",
        "truncated": "damaged, cut short",
        "empty": "damaged, cut short",
        "malicious": "never executed",
        "pickle": "never executed",
        "image": "damaged",
        "nested": "not the state_dict",
        "other": "holds no ResNet",
        "more": "extra.weight",
        "fewer": "model.7.bias",
        "shape": "model.7.bias",
        "void": "holds no ResNet",
    }.items():
        with pytest.raises(GANError, match=sentence) as caught:
            read_cyclegan_net(f"{name}.pth")
        assert f"'{name}.pth'" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not Path("EXECUTED").exists()


def test_games_that_do_not_belong_together(tmp_path):
    def write(name, net):
        write_cyclegan_net(net, tmp_path / f"latest_net_{name}.pth")

    write("G", build_patchgan(3, 2))
    with pytest.raises(GANError, match=r"latest_net_G\.pth' holds a PatchGAN, which is no net_G: was it renamed"):
        load_pix2pix(tmp_path)
    write("G", build_translator("unet_16", 3, 3, 2, "batch"))
    write("D", build_patchgan(6, 2, 1, "instance"))
    with pytest.raises(GANError, match="its norm is instance, theirs batch"):
        load_pix2pix(tmp_path)
    write("D", build_patchgan(3, 2, 1, "batch"))
    with pytest.raises(GANError, match=r"net_D .* is for images of other channels"):
        load_pix2pix(tmp_path)
    write("G_A", build_translator("resnet_2", 3, 3, 2))
    write("G_B", build_translator("resnet_3", 3, 3, 2))
    with pytest.raises(GANError, match="its generator is resnet_3, theirs resnet_2"):
        load_cyclegan(tmp_path)
