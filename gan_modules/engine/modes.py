"""The mode in which networks are when a fit begins."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn


def begin_training(networks: Iterable[nn.Module]) -> None:
    """Put networks into training mode; parts of one that is in it already may be kept in evaluation mode."""
    for network in networks:
        if not network.training:
            network.train()
        elif isinstance(network, nn.ModuleDict | nn.ModuleList):  # a container of networks
            begin_training(network.children())
