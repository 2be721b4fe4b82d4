"""Fits of tiny models, and noise that depends on neither process nor part of a batch."""

import torch
from lightning.pytorch import Callback, Trainer
from torch.overrides import TorchFunctionMode

DRAWS = {torch.rand: torch.rand, torch.randn: torch.randn, torch.rand_like: torch.rand, torch.randn_like: torch.randn}


class FixedNoise(TorchFunctionMode):
    """Gives every second sample the same noise, whatever has been drawn before and however many samples there are.

    Two batches of six, or three parts of two, so have the noise of the whole.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        drawn = function(*args, **(kwargs or {}))
        if function not in DRAWS:
            return drawn
        if not drawn.ndim:
            return torch.full_like(drawn, 0.5)
        noise = DRAWS[function](2, *drawn.shape[1:], generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        return noise[torch.arange(len(drawn)) % 2].to(drawn)


class Batches:
    """Batches in their order, as a loader that can say where it stands; it draws nothing."""

    def __init__(self, batches):
        self.batches = batches
        self.given = 0
        self.begun_at = 0

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        first, self.begun_at = self.begun_at, 0
        self.given = first
        for batch in self.batches[first:]:
            self.given += 1
            yield batch

    def state_dict(self):
        return {"given": self.given % len(self)}

    def load_state_dict(self, state):
        self.begun_at = state["given"]


class EachBatch(Callback):
    """Calls `look(trainer, model)` after each batch."""

    def __init__(self, look):
        self.look = look

    def on_train_batch_end(self, trainer, model, *_):
        self.look(trainer, model)


def fit(model, batches, *callbacks, seed=2, ckpt_path=None, **options):
    """Train without files and words; the random generator is freshly seeded."""
    quiet = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": -1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
    }
    trainer = Trainer(callbacks=list(callbacks), **quiet | options)
    torch.manual_seed(seed)
    trainer.fit(model, Batches(batches), ckpt_path=ckpt_path)
    return trainer


def batches_of_steps(model, steps):
    """How many batches the first steps take, by the model's own phases."""
    return sum(max(1, *(phase.batches(step) for phase in model.phases())) for step in range(steps))


def assert_equal_state(ours, theirs, tolerance=0.0):
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(
            tensor, theirs[name], rtol=tolerance, atol=tolerance, msg=lambda m, name=name: f"{name}: {m}"
        )
