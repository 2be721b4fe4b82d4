"""Compile networks for the training by torch.compile; penalties, averages and samples run uncompiled."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable

import torch
from torch import nn

from gan_modules.engine.players import Compile
from gan_modules.errors import GANError

VERSIONS = 64  # of a class: each of its instances, in training and frozen, for each size of image and batch
COMPILERS = {"darwin": "clang++", "win32": "cl"}  # elsewhere g++


def compile_networks(networks: Iterable[nn.Module], how: Compile, device: torch.device) -> None:
    """Let the trained networks be compiled when they are first called, once for each shape of batch.

    A network that is not always called as a whole names its `compile_targets`. Checkpoints stay the same, and copies
    are not compiled.

    Raises:
        GANError: If there is no compiler for the CPU, or no such way to compile.
    """
    if how not in (True, "reduce-overhead"):
        raise GANError(f"compile={how!r} is no mode of compilation: pass True, or 'reduce-overhead'.")
    compiler = os.environ.get("CXX", COMPILERS.get(sys.platform, "g++"))
    if device.type == "cpu" and shutil.which(compiler) is None:
        raise GANError(
            f"compile={how!r} needs a C++ compiler on a CPU, and there is no '{compiler}': install one, name yours in "
            f"the environment variable CXX, or leave compile out."
        )
    torch.compiler.reset()  # what earlier fits compiled would count against the versions that a class may have
    torch.compiler.config.recompile_limit = VERSIONS
    for network in networks:
        if any(parameter.requires_grad for parameter in network.parameters()):
            for part in _targets(network):
                part.compile(dynamic=False, mode=None if how is True else how)


def _targets(network: nn.Module) -> Iterable[nn.Module]:
    targets: Callable[[], Iterable[nn.Module]] | None = getattr(network, "compile_targets", None)
    return (network,) if targets is None else targets()
