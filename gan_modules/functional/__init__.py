"""Pure maths on tensors: what the players want and how they are held back."""

from gan_modules.functional import losses, regularizers
from gan_modules.functional.losses import (
    hinge_d,
    hinge_g,
    least_squares_d,
    least_squares_g,
    minimax_d,
    minimax_g,
    non_saturating_g,
    wasserstein_d,
    wasserstein_g,
)
from gan_modules.functional.regularizers import gradient_penalty, path_lengths, r1, r2

__all__ = [
    "gradient_penalty",
    "hinge_d",
    "hinge_g",
    "least_squares_d",
    "least_squares_g",
    "losses",
    "minimax_d",
    "minimax_g",
    "non_saturating_g",
    "path_lengths",
    "r1",
    "r2",
    "regularizers",
    "wasserstein_d",
    "wasserstein_g",
]
