"""Real samples of which nothing is left but the mean and covariance of their features, as pytorch-fid keeps them."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan_modules.errors import GANError

# what a record of a score against them says in its settings
UNKNOWN = "mean and covariance alone: their network, resizer and number of samples are not known"


@dataclass(frozen=True)
class Statistics:
    """Mean and covariance of the features of real samples; neither says which network and resizer they are of.

    Attributes:
        name: Their name in a record.
        mean: ``(D,)`` float64.
        covariance: ``(D, D)`` float64.
    """

    name: str
    mean: Tensor
    covariance: Tensor

    @property
    def digest(self) -> str:
        """Hash of the numbers."""
        numbers = torch.cat([self.mean[None], self.covariance])
        return hashlib.blake2b(numbers.numpy().tobytes(), digest_size=8).hexdigest()


def read_statistics(path: str | Path) -> Statistics:
    """Return the statistics of an ``.npz`` file with ``mu`` and ``sigma``, such as pytorch-fid's; no code in it is run.

    Raises:
        GANError: If there is no such file, or it holds something else.
    """
    if not Path(path).expanduser().is_file():
        raise GANError(f"There is no file '{path}': check the path.")
    try:
        with np.load(Path(path).expanduser(), allow_pickle=False) as file:
            names = list(file.files)
            held = [torch.from_numpy(file[name].astype(np.float64)) for name in ("mu", "sigma") if name in names]
    except (OSError, ValueError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise GANError(f"'{path}' is damaged or holds more than numbers: pass an .npz file of mu and sigma.") from error
    if len(held) < 2:
        raise GANError(
            f"'{path}' holds {', '.join(names) or 'nothing'}, and no mu and sigma: pass what pytorch-fid --save-stats "
            f"writes, or images."
        )
    mean, covariance = held
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise GANError(
            f"'{path}' holds mu {tuple(mean.shape)} and sigma {tuple(covariance.shape)}, where (D,) and (D, D) are "
            f"needed: pass other statistics."
        )
    symmetric = torch.allclose(covariance, covariance.T, rtol=1e-4, atol=1e-8)
    if not (mean.isfinite().all() and covariance.isfinite().all() and symmetric):
        raise GANError(f"'{path}' holds no covariance of finite numbers as sigma: pass other statistics.")
    return Statistics(str(path), mean, covariance)
