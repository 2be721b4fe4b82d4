"""What the extensions are trained with, and compared with: plain PyTorch, without Lightning and without the engine."""

import copy
import tempfile
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

STEPS = 4
SIZE = 7  # of a batch, which three parts do not divide
EXACT = {"rtol": 0, "atol": 1e-9}  # in float64, where only the order of a sum differs


def fit(model, batches, *, steps=STEPS, seed=0, folder=None, ckpt_path=None, **options):
    """Train in float64, on batches or a datamodule, the random generator freshly seeded; return the Trainer."""
    quiet = {
        "accelerator": "cpu",
        "devices": 1,
        "precision": "64-true",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "default_root_dir": folder or Path(tempfile.gettempdir()),
    }
    trainer = Trainer(max_steps=steps, max_epochs=-1, **quiet | options)
    torch.manual_seed(seed)
    if isinstance(batches, list):  # the loader draws nothing from the global random generator
        batches = DataLoader(batches, batch_size=None, generator=torch.Generator())
    trainer.fit(model, batches, ckpt_path=ckpt_path)
    return trainer


def reals(*shape, count=STEPS, size=SIZE, seed=1):
    """Return `count` tensors of reals in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(size, *shape, generator=generator, dtype=torch.float64) * 2 - 1 for _ in range(count)]


def integers(below, *shape, count=STEPS, size=SIZE, seed=2):
    """Return `count` tensors of labels or tokens."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(below, (size, *shape), generator=generator) for _ in range(count)]


def draws(prior, count=STEPS, size=SIZE, seed=0):
    """Return the latents that a process draws which was seeded like this."""
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(seed)
        return [prior(size) for _ in range(count)]
    finally:
        torch.set_default_dtype(torch.float32)


def normal(dim):
    """Return a prior of standard normal latents."""
    return lambda n: torch.randn(n, dim)


def copies(*networks):
    """Return the networks as they are, in float64, for a loop by hand."""
    return [copy.deepcopy(network).double().requires_grad_(True) for network in networks]


def adam(*networks, lr=1e-2):
    """Return PyTorch's Adam over the networks' parameters."""
    return torch.optim.Adam(nn.ModuleList(networks).parameters(), lr, (0.5, 0.999))


def update(optimizer, loss):
    """Take a step on the loss: gradients for this optimizer's parameters, and for no others."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
        parameter.grad = gradient
    optimizer.step()


def assert_same(ours, theirs):
    """Compare networks with those trained by hand, and see that they were trained."""
    for network, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(dict(network.state_dict()), dict(reference.state_dict()), **EXACT)
