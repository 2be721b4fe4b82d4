"""How many reals a validation will see, found out before a fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.seed import isolate_rng

from gan_modules.engine.distributed import gather_objects

ENOUGH = 2  # reals, for a distance between distributions


def too_few_reals(trainer: Trainer, count: Callable[[Any], Sequence[int]]) -> bool:
    """Whether all processes together will validate on fewer than two reals of a kind.

    No more batches are looked at than it takes to find two of each, and no noise of the training is drawn. Without
    validation, there are not too few.

    Args:
        trainer: In a fit that begins.
        count: From a batch to its numbers of reals, one for each kind.
    """
    if trainer.val_dataloaders is None and trainer.enable_validation:
        # as Lightning does where the first epoch ends with a validation
        trainer.validating = True
        trainer.fit_loop.epoch_loop.val_loop.setup_data()
        trainer.training = True
    loaders = trainer.val_dataloaders
    if not loaders or not sum(trainer.num_val_batches):
        return False
    found: list[int] = []
    with isolate_rng(include_cuda=False):
        for loader, batches in zip(_listed(loaders), trainer.num_val_batches, strict=False):
            for batch in islice(loader, batches if isinstance(batches, int) else None):
                counts = count(batch)
                found = [a + b for a, b in zip(found or [0] * len(counts), counts, strict=True)]
                if min(found) >= ENOUGH:
                    break
    everywhere = [counts for counts in gather_objects(found) if counts]
    return not everywhere or min(map(sum, zip(*everywhere, strict=True))) < ENOUGH


def _listed(loaders: Any) -> list[Any]:
    if isinstance(loaders, dict):
        return list(loaders.values())
    return list(loaders) if isinstance(loaders, list | tuple) else [loaders]
