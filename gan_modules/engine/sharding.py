"""Networks spread over several processes, for variants that outgrow one device (FSDP2, arXiv:2304.11277)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor


def shard(network: nn.Module, mesh: DeviceMesh) -> None:
    """Let each process of the mesh keep a part of the network's parameters, gathered while it computes."""
    if isinstance(network, FSDPModule):
        return
    network.to(memory_format=torch.contiguous_format)  # channels_last has no shards
    # A player's gathered parameters stay until it has moved: a penalty goes through the network twice, and the
    # players' graphs overlap. An average only computes forwards.
    plays = any(parameter.requires_grad for parameter in network.parameters())
    sharded = fully_shard(network, mesh=mesh, reshard_after_forward=not plays)
    sharded.set_reshard_after_backward(not plays)


def release(network: nn.Module) -> None:
    """Forget the gathered parameters of a network that has moved, so that its next use gathers the new ones."""
    for module in (network, *network.children()):  # the player's one network, or each of several
        if isinstance(module, FSDPModule):
            module.reshard()


def is_sharded(tensor: Tensor) -> bool:
    """Whether each process holds only its part of the tensor."""
    return isinstance(tensor, DTensor)
