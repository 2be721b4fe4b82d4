"""Where compiled networks are called as they were written."""

import sys
from contextlib import AbstractContextManager, nullcontext

import torch


def force_eager() -> AbstractContextManager[object]:
    """Within it, networks that were compiled run uncompiled.

    A gradient of a gradient cannot pass through a compiled network, and a batch of a new size would compile it again.
    """
    if "torch._dynamo" not in sys.modules:  # nothing has been compiled, and the compiler takes a second to import
        return nullcontext()
    eager: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return eager
