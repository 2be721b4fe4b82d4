"""The one rule on number formats: losses and penalties are computed in float32 at least."""

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Widen half-precision tensors to float32; float64 stays float64."""
    return x if x.dtype == torch.float64 else x.float()
