"""The commands: what each is for. Those of `COMMANDS` are functions, each in the module of its name.

A function's arguments and docstring are its command's; those of `TRAINING` are Lightning's.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

TRAINING = {
    "fit": "train a model on data",
    "validate": "score a checkpoint on the validation data",
    "test": "score a checkpoint on the test data",
    "predict": "make as many samples, or translations, as the test data has, in the run's folder",
}
COMMANDS = {
    "configs": "list the configurations that --config takes by name",
    "sample": "make samples by a checkpoint: a picture of all, or a folder of files",
    "score": "FID and its kin, of checkpoints or folders of images, as a table and as records",
    "interpolate": "move from image to image: a GIF or MP4",
    "mix": "give images the styles of others, by a StyleGAN or StyleGAN2 checkpoint",
    "project": "find the styles that make a given image, by the same",
    "translate": "translate an image or a folder of them, by a Pix2Pix or CycleGAN checkpoint",
    "export": "write a checkpoint's network as ONNX or as a program of torch.export",
}


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the part of a sentence that names the known word nearest to a mistyped one; empty if none is near."""
    match = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean '{match[0]}'?" if match else ""
