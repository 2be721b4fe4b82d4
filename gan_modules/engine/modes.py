"""Training and evaluation mode of networks: who changes it, and for how long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


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


def begin_training(networks: Iterable[nn.Module]) -> None:
    """Put networks into training mode; parts of one that is in it already may be kept in evaluation mode."""
    for network in networks:
        if not network.training:
            network.train()
        elif isinstance(network, nn.ModuleDict | nn.ModuleList):  # a container of networks
            begin_training(network.children())
