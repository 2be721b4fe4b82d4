"""The samples of a batch, and the loaders that callbacks look at."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from gan_modules.errors import GANError
from gan_modules.families import batches


def columns(model: Any, batch: Any) -> tuple[Any, ...]:
    """Return a batch as the model takes it: real samples first, then what belongs to each.

    Raises:
        GANError: If there are no samples in it.
    """
    own = getattr(model, "columns", None)  # a game composed of the engine's parts may have none
    taken = batches.columns(batch) if own is None else own(batch)
    if not batches.has_samples(taken):
        raise GANError(
            f"There are no samples in {batches.description(batch)}: bring (samples, condition), or a dict with samples "
            f"as 'image' and labels as 'label'."
        )
    return tuple(taken)


def is_first_loader(dataloader_idx: int, asker: str) -> bool:
    """Return whether a batch is of the first loader, which callbacks look at; warn that the others are left out."""
    if dataloader_idx == 1:
        rank_zero_warn(f"{asker} looks at the first loader alone: join the data sets, or validate on one at a time.")
    return dataloader_idx == 0
