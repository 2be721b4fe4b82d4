"""A validation at the end of each fit, so that the last scores are those of the last checkpoint."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from gan_modules.engine.lightning_compat import (
    ends_after_this_batch,
    validate_after_this_batch,
    validate_when_due,
    validates_after_this_batch,
)
from gan_modules.engine.resume import random_state, restore_random_state


class FinalValidation(Callback):
    """Validates after the last batch of a fit, where Lightning would not.

    Randomness is as if it had not been, since a run that is made longer later must equal one that was long from the
    start. Nothing happens in a fit without validation data.
    """

    def __init__(self) -> None:
        self._before: dict[str, Any] | None = None  # the state of randomness

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ask for a validation if the fit ends here and none is due."""
        if not ends_after_this_batch(trainer) or not trainer.enable_validation or validates_after_this_batch(trainer):
            return
        self._before = random_state(pl_module.device)
        validate_after_this_batch(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put randomness back before checkpoints are saved."""
        if self._before is not None:
            restore_random_state(self._before, pl_module.device)
            self._before = None
            validate_when_due(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Ask for no more than is due in the trainer's next fit."""
        self._before = None
        validate_when_due(trainer)
