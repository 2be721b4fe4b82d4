"""Every model's network as an exported program and as ONNX: what `sample` and `translate` make, for any batch."""

import copy

import pytest
import torch
from cases import batches, build
from training import batches_of_steps, fit

from gan_modules.families.capabilities import Samples
from gan_modules.tools.export import export

EXACT = 1e-5  # of values in [-1, 1]


@pytest.fixture(scope="module")
def trained():
    """Models trained for some steps with an average of their own, each once."""
    known = {}

    def train(name):
        if name not in known:
            known[name] = build(name, ema_half_life=50)
            fit(known[name], batches(name, batches_of_steps(known[name], 3)), max_steps=3)
        return known[name].train()

    return train


def questions(model):
    """What is exported of a model: the options, inputs of several sizes, and how the model answers them."""
    if isinstance(model, Samples):

        def sampled(model, z, *condition):
            return model.sample_from(z, condition, truncation=0.7)

        return [
            ({"truncation": 0.7}, [(model.draw_latents(n, n), *model.sample_condition(n)) for n in (1, 2, 5)], sampled)
        ]

    def translated(direction):
        return lambda model, images: model.translate(images, direction)

    found = []
    for direction, network in model.translators(ema=True).items():
        channels, height, width = model.image_shape if direction == "AtoB" else model.target_shape
        more = network.multiple
        shapes = [(1, height, width), (3, height + more, width), (2, 2 * height, 3 * width + more)]
        images = [(torch.rand(n, channels, *sides) * 2 - 1,) for n, *sides in shapes]
        found.append(({"direction": direction}, images, translated(direction)))
    return found


def assert_the_same(made, ask, model, inputs):
    """In float64 a model's answer has no rounding; in float32, a norm of nearly constant maps makes much of it."""
    expected, own = ask(copy.deepcopy(model).double(), *map(widened, inputs)), ask(model, *inputs)
    torch.testing.assert_close(made, expected, rtol=0, atol=EXACT + 4 * (own - expected).abs().max().item())


def widened(values):
    return values.double() if values.is_floating_point() else values


def test_an_exported_program_makes_the_same(name, trained, tmp_path):
    model = trained(name)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items() if isinstance(tensor, torch.Tensor)}
    for options, asked, ask in questions(model):
        written = export(model, tmp_path / "model.pt2", "torch_export", **options)
        assert {axes[0] for axes in written.inputs.values()} == {"batch"}
        program = torch.export.load(tmp_path / "model.pt2").module()
        for inputs in asked:
            assert_the_same(program(*inputs), ask, model, inputs)
    assert model.training
    for key, tensor in before.items():
        assert torch.equal(model.state_dict()[key], tensor), key


@pytest.mark.slow
def test_onnxruntime_makes_the_same(name, trained, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = trained(name)
    for options, asked, ask in questions(model):
        written = export(model, tmp_path / "model.onnx", **options)
        session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
        assert [entry.name for entry in session.get_inputs()] == list(written.inputs)
        for inputs in asked:
            named = dict(zip(written.inputs, (part.numpy() for part in inputs), strict=True))
            (made,) = session.run(None, named)
            assert_the_same(torch.from_numpy(made), ask, model, inputs)
