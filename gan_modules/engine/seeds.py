"""Seeds that torch takes."""

from __future__ import annotations

from gan_modules.errors import GANError

TORCH_SEEDS = 2**64  # how many there are: torch's negative ones are others by another name


def check_seed(seed: int, below: int = TORCH_SEEDS) -> int:
    """The seed, if it is one.

    Raises:
        GANError: If it is negative, or not below what is asked.
    """
    if not 0 <= seed < below:
        raise GANError(f"seed={seed} must be from 0 to {below - 1}.")
    return seed
