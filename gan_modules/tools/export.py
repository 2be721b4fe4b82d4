"""Networks of a trained model as files that other programs run: ONNX, and PyTorch's own exported programs."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from gan_modules.engine.lightning_compat import sizes_of_one_are_free
from gan_modules.errors import GANError
from gan_modules.families.capabilities import SamplesByNetwork, TranslatesByNetworks, require
from gan_modules.families.translation import Direction

Format = Literal["onnx", "torch_export"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torch_export": ".pt2"}
EXAMPLES = 2  # samples of the trace: a tracer takes 1 for a number that stays
CHECKED = 3  # samples by which an exported network is compared with the model
TOLERANCE = (
    1e-2  # of the comparison, relative to the largest value; a norm of nearly constant maps makes much of roundings
)


Inputs = dict[str, Tensor]  # by name
Free = dict[str, dict[int, Any]]  # by name, the axes that are free


@dataclass(frozen=True)
class Exported:
    """What has been written.

    Attributes:
        inputs: The inputs by name, each with its axes: numbers, and the names of those that are free.
        difference: The largest difference from what the model makes of the same inputs; `None` where onnxruntime, by
            which ONNX is run, is not installed.
    """

    inputs: dict[str, tuple[int | str, ...]]
    difference: float | None


@dataclass(frozen=True)
class Task:
    """What is to be exported.

    Attributes:
        network: The network.
        traces: Examples of its inputs with the axes to be left free, what is preferred first.
        checked: Inputs of another size.
        expected: What the model makes of these.
    """

    network: nn.Module
    traces: Sequence[tuple[Inputs, Free]]
    checked: Inputs
    expected: Tensor


class Sampler(nn.Module):
    """What `sample` computes: from latents ``(N, …)``, and labels ``(N,)`` where there are classes, to samples."""

    def __init__(self, model: SamplesByNetwork, truncation: float, ema: bool) -> None:
        super().__init__()
        self.generator = _copied(model.averaged("generator", ema))
        self._synthesize = model.synthesize
        self._truncation = truncation

    def forward(self, z: Tensor, *condition: Tensor) -> Tensor:
        """Return samples in [-1, 1] (points anywhere)."""
        return self._synthesize(self.generator, z, *condition, truncation=self._truncation).float()


class Translator(nn.Module):
    """What `translate` computes: from images ``(N, C, H, W)`` in [-1, 1] to others."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = _copied(network)

    def forward(self, images: Tensor) -> Tensor:
        """Return translations in [-1, 1]."""
        return cast(Tensor, self.network(images)).float()


def check_export(path: Path, to: Format) -> None:
    """Refuse a file that `export` could not write.

    Raises:
        GANError: If its name has another suffix than the format's, or the format's packages are missing.
    """
    if path.suffix.lower() != SUFFIXES[to]:
        raise GANError(f"'{path}' is no name for {to}: let it end in {SUFFIXES[to]}.")
    if to == "onnx" and not all(map(find_spec, ("onnx", "onnxscript"))):
        raise GANError(
            "Writing ONNX needs onnx and onnxscript: pip install 'gan-modules[export]', or write torch_export."
        )


def export(
    model: Any,
    path: str | Path,
    to: Format = "onnx",
    *,
    direction: Direction = "AtoB",
    truncation: float = 1.0,
    ema: bool = True,
) -> Exported:
    """Write the network by which a model makes samples or translations, with all that `sample` or `translate` does.

    That is the average, evaluation mode, constant noise, truncation and the clamp to [-1, 1]. The number of samples is
    free, and so are the height and width of a translator's images if the network leaves them free. What is written is
    run on the CPU and compared with the model first.

    Args:
        model: The model.
        path: Where to; a name in .onnx or .pt2.
        to: ONNX, or a program of `torch.export`, which `torch.export.load` reads.
        direction: Of a translator.
        truncation: See `LatentGAN.sample`; a number that stays.
        ema: Whether to use the average, where there is one.

    Raises:
        GANError: If the model does neither, the file cannot be written, or the network cannot be exported.
    """
    path = Path(path)
    check_export(path, to)
    if isinstance(model, TranslatesByNetworks):
        if truncation != 1.0:
            raise GANError(f"{type(model).__name__} translates, and has nothing to truncate: leave truncation out.")
        task = _translation(model, direction, ema)
    else:
        task = _sampling(require(model, SamplesByNetwork, "export"), truncation, ema)
    program, free = _trace(task)
    if to == "onnx":
        content, made = _as_onnx(program, free, task.checked)
    else:
        content, made = _as_program(program, task.checked)
    difference = None if made is None else _difference(made, task.expected)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Exported({name: tuple(_axes(task.checked[name], free[name])) for name in free}, difference)


def _copied(network: nn.Module) -> nn.Module:
    """Return a copy on the CPU, in the memory format whose strides do not depend on sizes being 1."""
    return copy.deepcopy(network).cpu().to(memory_format=torch.contiguous_format)


def _sampling(model: SamplesByNetwork, truncation: float, ema: bool) -> Task:
    network = Sampler(model, truncation, ema).eval()
    batch, length = Dim("batch", min=1), Dim("length", min=1)
    free: Free = {"z": {0: batch}, "captions" if getattr(model, "vocab_size", 0) else "labels": {0: batch}}
    if "captions" in free:
        free["captions"][1] = length

    def inputs(n: int) -> tuple[Tensor, ...]:
        captions = torch.zeros(n, n, dtype=torch.int64) if "captions" in free else None
        parts = model.draw_latents(n, seed=0), *model.sample_condition(n, captions=captions)
        return tuple(part.cpu() for part in parts)

    examples, checked = (dict(zip(free, inputs(n), strict=False)) for n in (EXAMPLES, CHECKED))
    z, *condition = checked.values()
    expected = model.sample_from(z, tuple(condition), truncation=truncation, ema=ema)
    return Task(network, [(examples, {name: free[name] for name in examples})], checked, expected)


def _translation(model: TranslatesByNetworks, direction: Direction, ema: bool) -> Task:
    channels, height, width = model.image_shape if direction == "AtoB" else model.target_shape
    images = torch.rand(CHECKED, channels, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = model.translate(images, direction, ema=ema)  # which refuses a direction that the model does not know
    network = model.translators(ema)[direction]
    multiple, least = getattr(network, "multiple", 1), getattr(network, "min_size", 1)
    batch = {0: Dim("batch", min=1)}
    sides = {2: Dim("height", min=-(-least // multiple)), 3: Dim("width", min=-(-least // multiple))}
    large, own = torch.zeros(EXAMPLES, channels, 2 * height, 3 * width), images[:EXAMPLES]
    traces: list[tuple[Inputs, Free]] = [
        ({"images": large}, {"images": batch | {axis: multiple * side for axis, side in sides.items()}}),
        ({"images": own}, {"images": batch}),
    ]
    return Task(Translator(network).eval(), traces, {"images": images}, expected)


def _trace(task: Task) -> tuple[ExportedProgram, Free]:
    """Return the program of the network with the first choice of free axes that the network leaves free."""
    for examples, free in task.traces:
        first, *others = free.values()
        axes = (first, tuple(others)) if others else (first,)  # as `forward(z, *condition)` takes them
        try:
            with torch.no_grad(), sizes_of_one_are_free(), _quiet():
                return torch.export.export(task.network, tuple(examples.values()), dynamic_shapes=axes), free
        except Exception as error:  # the tracer fails in many ways
            failure = error
    said = next(iter(str(failure).strip().splitlines()), type(failure).__name__)
    raise GANError(
        f"torch.export cannot trace the network for any number of {' and '.join(task.checked)} ({said.rstrip('.')}): "
        f"let its forward decide nothing by the values or the number of its inputs."
    ) from failure


def _as_program(program: ExportedProgram, inputs: Inputs) -> tuple[bytes, Tensor]:
    """Return the file's content, and what the program makes of inputs."""
    file = io.BytesIO()
    torch.export.save(program, file)
    with torch.no_grad():
        return file.getvalue(), cast(Tensor, program.module()(*inputs.values()))


def _as_onnx(program: ExportedProgram, free: Free, inputs: Inputs) -> tuple[bytes, Tensor | None]:
    """Return the file's content, and what onnxruntime makes of inputs, where it is installed."""
    from onnxscript import optimizer

    first, *others = free.values()
    axes = (first, tuple(others)) if others else (first,)
    outputs = ["translations" if "images" in inputs else "samples"]
    with sizes_of_one_are_free(), _quiet():
        # its own optimization takes an epsilon of 1e-8 for nothing, and the norms of constant maps for infinite
        model = torch.onnx.export(
            program,
            (),
            dynamic_shapes=axes,
            input_names=list(inputs),
            output_names=outputs,
            verbose=False,
            optimize=False,
        )
        assert model is not None
        optimizer.inline(model.model)
        optimizer.fold_constants(model.model)
        optimizer.remove_unused_nodes(model.model)
        content: bytes = model.model_proto.SerializeToString()
    if find_spec("onnxruntime") is None:
        return content, None
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (made,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return content, torch.from_numpy(made)


def _difference(made: Tensor, expected: Tensor) -> float:
    difference = (made.double() - expected.cpu().double()).abs().max().item()
    if not difference <= TOLERANCE * max(1.0, expected.abs().max().item()):
        raise GANError(
            f"The exported network's answer is {difference:.3g} from the model's, so nothing is written: let its "
            f"forward draw no noise of its own in evaluation."
        )
    return difference


def _axes(example: Tensor, free: dict[int, Any]) -> Iterator[int | str]:
    for axis, size in enumerate(example.shape):
        yield free[axis].__name__ if axis in free else size


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporters say of themselves from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
