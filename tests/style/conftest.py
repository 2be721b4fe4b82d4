import pytest
import torch
from lightning.pytorch import Trainer


@pytest.fixture
def bits():
    """All that a run may not lose: weights, averages, moments, counters."""

    def bits(model, trainer: Trainer):
        states = [optimizer.state_dict()["state"] for optimizer in trainer.optimizers]
        moments = [value for state in states for moments in state.values() for value in moments.values()]
        return [model.images_seen, trainer.global_step, *model.state_dict().values(), *moments, torch.rand(4)]

    return bits
