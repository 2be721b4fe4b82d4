"""NVIDIA's pickles: what is read, what is refused and how it is named, and that nothing in them ever runs."""

import io
import os
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from gan_modules import GANError
from gan_modules.interop import read_nvidia, to_nvidia_state_dict
from gan_modules.interop.nvidia_pickle import _tensor
from gan_modules.networks import StyleGAN2Discriminator, StyleGAN2Generator

GOLDEN = Path(__file__).parents[1] / "golden" / "stylegan2_r32"
SIZES = {"channel_base": 64, "channel_max": 8, "conv_clamp": 256}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not Path("EXECUTED").exists()


def test_the_golden_pickle_is_read_in_full():
    arguments, nets = read_nvidia(f"{GOLDEN}.pkl")
    assert arguments == {
        "image_shape": (3, 32, 32),
        "num_classes": 0,
        "latent_dim": 64,
        "style_dim": 64,
        "mapping_layers": 8,
        "channel_base": 1024,
        "channel_max": 64,
        "residual": True,
        "stddev_group": 4,
        "half_precision_layers": 0,
        "conv_clamp": 256.0,
    }
    assert sorted(nets) == ["D", "G_ema"]
    with np.load(f"{GOLDEN}.npz", allow_pickle=False) as arrays:
        for name, net in (("G", nets["G_ema"]), ("D", nets["D"])):
            assert not net.training
            assert all(parameter.requires_grad for parameter in net.parameters())
            theirs = to_nvidia_state_dict(net)
            assert {f"{name}.{key}" for key in theirs} == {key for key in arrays if key.startswith(f"{name}.")}
            for key, tensor in theirs.items():
                assert np.array_equal(tensor.numpy(), arrays[f"{name}.{key}"])


class Pickled:
    """Pickled as one of the authors' modules is: a call of their function, on a dictionary with source text."""

    def __init__(self, class_name, **state):
        self.meta = {
            "type": "class",
            "version": 6,
            "module_src": "import pathlib; pathlib.Path('EXECUTED').touch()",
            "class_name": class_name,
            "state": state,
        }

    def __reduce__(self):
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (self.meta,)


def as_module(class_name, tensors, **state):
    """A tree of modules from tensors under the authors' keys."""
    here = {
        key: tensor if tensor is None else torch.nn.Parameter(tensor)
        for key, tensor in tensors.items()
        if "." not in key
    }
    modules = {}
    for name in dict.fromkeys(key.partition(".")[0] for key in tensors if "." in key):
        below = {key.partition(".")[2]: tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
        modules[name] = as_module("Part", below)
    return Pickled(class_name, _parameters=here, _buffers={}, _modules=modules, **state)


@pytest.fixture
def write(monkeypatch):
    """Write a .pkl in the authors' format, of fresh networks or as changed; their modules exist while it is made."""

    def write(path="net.pkl", change=lambda contents: None, classes=0, residual=True):
        torch.manual_seed(0)
        generator = StyleGAN2Generator((1, 8, 8), 6, classes, 5, 3, 64, 8)
        discriminator = StyleGAN2Discriminator((1, 8, 8), classes, 64, 8, residual, 2)
        for net in (generator, discriminator):
            for parameter in net.parameters():
                torch.nn.init.normal_(parameter)
        both = {"c_dim": classes, "img_resolution": 8, "img_channels": 1}
        contents = {
            "G": {
                "tensors": to_nvidia_state_dict(generator),
                "kwargs": both
                | {"z_dim": 6, "w_dim": 5, "mapping_kwargs": {"num_layers": 3}, "synthesis_kwargs": dict(SIZES)},
            },
            "D": {
                "tensors": to_nvidia_state_dict(discriminator),
                "kwargs": both
                | SIZES
                | {"architecture": "resnet" if residual else "orig", "epilogue_kwargs": {"mbstd_group_size": 2}},
            },
            "augment_pipe": None,
            "training_set_kwargs": {"path": "data.zip"},
        }
        change(contents)
        for name, kind in (("G", "Generator"), ("D", "Discriminator")):
            if isinstance(net := contents.get(name), dict):
                contents[name] = as_module(kind, net["tensors"], _init_kwargs=net["kwargs"])
        contents.setdefault("G_ema", contents.get("G"))
        persistence = types.ModuleType("torch_utils.persistence")

        def _reconstruct_persistent_obj(meta):
            raise AssertionError("the authors' reader ran")

        _reconstruct_persistent_obj.__module__ = persistence.__name__
        _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
        persistence._reconstruct_persistent_obj = _reconstruct_persistent_obj
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "torch_utils", types.ModuleType("torch_utils"))
            patch.setitem(sys.modules, persistence.__name__, persistence)
            Path(path).write_bytes(pickle.dumps(contents, protocol=4))
        return generator, discriminator

    return write


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("residual", [True, False])
def test_there_and_back(write, classes, residual):
    generator, discriminator = write(classes=classes, residual=residual)
    arguments, nets = read_nvidia("net.pkl")
    assert arguments == {
        "image_shape": (1, 8, 8),
        "num_classes": classes,
        "latent_dim": 6,
        "style_dim": 5,
        "mapping_layers": 3,
        "channel_base": 64,
        "channel_max": 8,
        "residual": residual,
        "stddev_group": 2,
        "half_precision_layers": 0,
        "conv_clamp": 256.0,
    }
    for net, original in ((nets["G"], generator), (nets["G_ema"], generator), (nets["D"], discriminator)):
        state = original.state_dict()
        assert list(net.state_dict()) == list(state)
        assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    z, labels = torch.randn(4, 6), torch.tensor([0, 2, 1, 0]) if classes else None
    images = generator.eval()(z, labels, noise="const")
    assert torch.equal(nets["G_ema"](z, labels, noise="const"), images)
    assert torch.equal(nets["D"](images, labels), discriminator(images, labels))
    if classes:
        assert {"mapping.embed.weight", "mapping.fc7.bias"} <= to_nvidia_state_dict(nets["D"]).keys()


def drop(contents, net, key):
    del contents[net]["tensors"][key]


def put(contents, net, key, tensor):
    contents[net]["tensors"][key] = tensor


def configure(contents, net, **kwargs):
    contents[net]["kwargs"] |= kwargs


REFUSED = {
    "missing": (
        lambda c: drop(c, "G", "synthesis.b8.conv0.affine.bias"),
        r"G, synthesis\.b8\.conv0\.affine\.bias is m",
    ),
    "misshapen": (
        lambda c: put(c, "D", "b4.fc.weight", torch.zeros(8, 127)),
        r"D, b4\.fc\.weight has the shape \(8, 127\), but the settings ask for \(8, 128\)",
    ),
    "unknown tensor": (
        lambda c: put(c, "D", "b8.conv2.weight", torch.zeros(1)),
        r"D, 'blocks|'b8\.conv2\.weight' is unk",
    ),
    "repeated": (
        lambda c: put(c, "D", "b4.fc.weight", torch.zeros(1, 1).expand(8, 128)),
        r"b4\.fc\.weight' is no tensor that the file holds",
    ),
    "no tensor": (lambda c: put(c, "D", "b4.fc.weight", None), r"b4\.fc\.weight is missing"),
    "filter": (lambda c: put(c, "D", "b8.resample_filter", torch.ones(4, 4)), r"b8\.resample_filter is another filter"),
    "setting": (lambda c: configure(c, "D", block_kwargs={"fancy": 1}), r"D, the setting fancy=1 is one that"),
    "architecture": (lambda c: configure(c, "D", architecture="skip"), r"architecture='skip' should be"),
    "no number": (lambda c: configure(c, "G", z_dim="6"), r"z_dim='6' should be a number"),
    "clamp": (lambda c: configure(c, "D", conv_clamp=-1), r"conv_clamp=-1 should be"),
    "endless": (lambda c: configure(c, "G", z_dim=10**12), r"mapping\.fc0\.weight has the shape \(5, 6\)"),
    "overflow": (lambda c: configure(c, "G", z_dim=10**400), r"in its network G"),
    "deep": (lambda c: configure(c, "G", mapping_kwargs={"num_layers": 10**9}), r"fc999999999\.weight is missing"),
    "size": (lambda c: configure(c, "G", img_resolution=12), r"cannot be built for image_shape \(1, 12, 12\)"),
    "parts": (lambda c: configure(c, "D", img_channels=2), r"fromrgb\.weight has the shape"),
    "other": (lambda c: c.update(D=as_module("Classifier", {})), r"class is 'Classifier' and not 'Discriminator'"),
    "more": (lambda c: c.update(extra=1), r"holds 'extra', which"),
    "no D": (lambda c: c.update(D=None), r"no networks 'G_ema' and 'D'"),
    "together": (
        lambda c: configure(c, "D", channel_base=128, channel_max=8),
        r"channel_base is 128 for D and 64 for another|has the shape",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_named(write, name):
    change, sentence = REFUSED[name]
    write(change=change)
    with pytest.raises(GANError, match=sentence) as caught:
        read_nvidia("net.pkl")
    assert str(caught.value).startswith("'net.pkl'")
    assert "\n" not in str(caught.value)


class Call:
    """A pickle that calls a function when it is read."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def storage_of(content):
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def body_swapped():
    """A BUILD that would give a known function other defaults; pickled by hand."""
    return b"\x80\x04" + b"ctorch._utils\n_rebuild_parameter\n" + b"N}X\x0c\x00\x00\x00__defaults__K\x01\x85s\x86b."


HOSTILE = {
    "system": (lambda: pickle.dumps(Call(os.system, "touch EXECUTED")), r"refers to '(posix|nt)\.system'"),
    "eval": (lambda: pickle.dumps(Call(eval, "open('EXECUTED', 'w')")), r"refers to 'builtins\.eval'"),
    "exec": (lambda: pickle.dumps(Call(exec, "open('EXECUTED', 'w')")), r"refers to 'builtins\.exec'"),
    "getattr": (lambda: b"cbuiltins\ngetattr\n.", r"refers to 'builtins\.getattr'"),
    "dotted": (lambda: b"\x80\x04\x8c\x05torch\x8c\x0a_utils.sys\x93.", r"refers to 'torch\._utils\.sys'"),
    "neighbour": (lambda: b"ctorch._utils\n_import_dotted_name\n.", r"'torch\._utils\._import_dotted_name'"),
    "instance": (lambda: b"(S'touch EXECUTED'\nios\nsystem\n.", r"refers to 'os\.system'"),
    "tf": (lambda: b"cdnnlib.tflib.network\nNetwork\n.", r"'dnnlib\.tflib\.network\.Network'"),
    "inner": (
        lambda: pickle.dumps(Call(torch.storage._load_from_bytes, storage_of(Call(os.system, "touch EXECUTED")))),
        "damaged",
    ),
    "body": (body_swapped, "damaged"),
    "persistent": (lambda: b"Pname\n.", "damaged"),
    "empty": (lambda: b"", "damaged"),
    "text": (lambda: b"I am no pickle", "damaged"),
    "number": (lambda: pickle.dumps(7), "no networks"),
    "version": (
        lambda: (
            b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n"
            + pickle.dumps(({"type": "class", "version": 5},), protocol=2)[2:-1]
            + b"R."
        ),
        "format version 5; only 6 is known",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_executed(name):
    content, sentence = HOSTILE[name]
    Path("bad.pkl").write_bytes(content())
    with pytest.raises(GANError, match=sentence) as caught:
        read_nvidia("bad.pkl")
    assert str(caught.value).startswith("'bad.pkl'")
    assert torch._utils._rebuild_parameter.__defaults__ is None


def test_a_file_cut_short_and_none_at_all():
    whole = Path(f"{GOLDEN}.pkl").read_bytes()
    for length in (10, 1000, len(whole) // 2, len(whole) - 1):
        Path("short.pkl").write_bytes(whole[:length])
        with pytest.raises(GANError, match=r"'short\.pkl' cannot be read: it is damaged"):
            read_nvidia("short.pkl")
    with pytest.raises(GANError, match=r"no file 'none\.pkl'"):
        read_nvidia("none.pkl")


def test_bytes_changed_at_random_never_surprise():
    whole = bytearray(Path(f"{GOLDEN}.pkl").read_bytes())
    source = np.random.default_rng(0)
    for _ in range(40):
        changed = whole.copy()
        for place in source.integers(0, 4000, 3):
            changed[place] = source.integers(256)
        Path("changed.pkl").write_bytes(changed)
        try:
            read_nvidia("changed.pkl")
        except GANError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("offset", "size", "stride"), [(0, (10, 10), (10, 1)), (3, (2,), (1,)), (0, (-1,), (1,)), (-1, (1,), (1,))]
)
def test_a_tensor_claims_no_more_than_its_storage_holds(offset, size, stride):
    storage = torch.zeros(2).storage()
    with pytest.raises(pickle.UnpicklingError, match="claims more"):
        _tensor(storage, offset, size, stride)
    assert len(storage) == 2
    assert _tensor(storage, 0, (2, 3), (1, 0)).shape == (2, 3)
