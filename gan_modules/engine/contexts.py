"""For a while: networks frozen, unfrozen or in another mode, and the random generator seeded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def requiring_grad(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Unfreeze parameters that a phase has frozen, while a graph through them is made."""
    frozen = [parameter for parameter in parameters if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


@contextmanager
def frozen(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Freeze parameters: no gradient is computed for them, and none reaches them; those that are, stay frozen."""
    chosen = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in chosen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in chosen:
            parameter.requires_grad_(True)


@contextmanager
def in_mode(network: nn.Module, training: bool) -> Iterator[None]:
    """Put a network into training or evaluation mode for a while; each of its parts then has its own mode again."""
    before = [(module, module.training) for module in network.modules()]
    network.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode for a while."""
    with in_mode(network, training=False):
        yield


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the CPU's default generator for a while; torch.manual_seed would seed the devices' too."""
    state = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(state)
