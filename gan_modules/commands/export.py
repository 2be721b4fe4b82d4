"""``gan-modules export``: a checkpoint's network as a file that other programs run."""

from __future__ import annotations

from pathlib import Path

from gan_modules.commands.checkpoint import load_model
from gan_modules.commands.outputs import check_file
from gan_modules.families.translation import Direction
from gan_modules.tools.export import Format, check_export
from gan_modules.tools.export import export as exportation


def export(
    ckpt_path: Path,
    out: Path,
    to: Format = "onnx",
    direction: Direction = "AtoB",
    truncation: float = 1.0,
    ema: bool = True,
) -> None:
    """Write the network that makes samples or translations as ONNX, or as a program of torch.export.

    It does all that sample or translate does: the average, constant noise, truncation, the clamp to [-1, 1].

    Args:
        ckpt_path: The checkpoint; it names its own class.
        out: A file in .onnx, or in .pt2 for torch_export.
        to: onnx (which needs the extra export), or torch_export.
        direction: Of a translator: AtoB, or BtoA where the model knows the way back.
        truncation: Below 1 for less variety: factor on the latents; towards the mean w in the style line.
        ema: Whether to use the averaged generator, where there is one.
    """
    check_export(out, to)
    check_file(out)
    written = exportation(load_model(ckpt_path, "cpu"), out, to, direction=direction, truncation=truncation, ema=ema)
    inputs = ", ".join(f"{name} ({', '.join(map(str, axes))})" for name, axes in written.inputs.items())
    checked = (
        "not compared with the model, for want of onnxruntime"
        if written.difference is None
        else f"{written.difference:.1g} from the model's answer"
    )
    print(f"of {inputs}, {checked}: {out}")
