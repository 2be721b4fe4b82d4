"""The progress of a game in one short line: steps, time left, each player's loss, the score."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

WIDTH = 80  # columns of a narrow terminal
FORMAT = "{n_fmt}/{total_fmt} |{bar:8}| {remaining} left{postfix}"
SECONDS = 10.0  # between two lines of a log file


class StepProgress(TQDMProgressBar):
    """Shows steps of the game instead of batches of an epoch: ``120/2000 |▌       | 01:05 left, D 0.69 G 1.4 fid 35``.

    Losses have the first letter of their player's name where no other begins with it. What does not fit into 80 columns
    is left out from the end. Where the output is no terminal, there is a line every ten seconds.

    Args:
        refresh_rate: Batches between two updates of Lightning's other bars; 0 shows none.
    """

    def __init__(self, refresh_rate: int = 1) -> None:
        super().__init__(refresh_rate)
        self._batches = 0  # in this fit
        self._first = 0  # step of this fit

    def init_train_tqdm(self) -> Tqdm:
        """Return the bar of a fit, which begins where the run goes on."""
        steps = self.trainer.max_steps
        return Tqdm(
            initial=self.trainer.global_step,
            total=steps if steps > 0 else None,
            disable=self.is_disabled,
            leave=True,
            file=sys.stdout,
            smoothing=0.1,
            bar_format=FORMAT,
            ncols=WIDTH,
            mininterval=0.1 if sys.stdout.isatty() else SECONDS,
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count."""
        self._batches, self._first = 0, trainer.global_step
        super().on_train_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """Leave the bar as it is: it is that of the whole fit."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the steps that are complete."""
        self._batches += 1
        bar, step = self.train_progress_bar, trainer.global_step
        if bar.disable or step == bar.n:
            return
        bar.total = self._total(trainer, batch_idx)
        bar.set_postfix_str(self._figures(trainer, bar), refresh=False)
        bar.update(step - bar.n)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the bar as it is."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar of the validation, and show the score."""
        self.val_progress_bar.close()
        self.reset_dataloader_idx_tracker()
        if trainer.state.fn == "fit" and not trainer.sanity_checking and not self.train_progress_bar.disable:
            self.train_progress_bar.set_postfix_str(self._figures(trainer, self.train_progress_bar), refresh=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the last step and score."""
        self.train_progress_bar.refresh()
        self.train_progress_bar.close()

    def _total(self, trainer: Trainer, batch_idx: int) -> int | None:
        """Return the steps of the whole fit; of epochs they are counted by the batches that a step has had so far."""
        totals = [trainer.max_steps] if trainer.max_steps > 0 else []
        steps = trainer.global_step - self._first
        if trainer.max_epochs is not None and trainer.max_epochs > 0 and trainer.num_training_batches < sys.maxsize:
            epochs = trainer.max_epochs - trainer.current_epoch
            left = epochs * int(trainer.num_training_batches) - batch_idx - 1
            totals.append(trainer.global_step + left * steps // self._batches)
        return min(totals, default=None)

    def _figures(self, trainer: Trainer, bar: Any) -> str:
        room = WIDTH - len(f"{bar.total or '?'}/{bar.total or '?'} |        | 00:00:00 left, ")
        said = ""
        for name, value in short_names(trainer.progress_bar_metrics).items():
            longer = f"{said} {name} {value:.3g}".lstrip()
            if len(longer) > room:
                break
            said = longer
        return said


def short_names(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return each player's loss under a short name, and then the scores and all else that is no term of a loss."""
    players = [name.removesuffix("/loss") for name in metrics if name.endswith("/loss")]
    losses = {_initial(player, players): float(metrics[f"{player}/loss"]) for player in players}
    others = {name: value for name, value in metrics.items() if name.partition("/")[0] not in players}
    return losses | {name.partition("/")[2] or name: float(value) for name, value in others.items()}


def _initial(player: str, players: Iterable[str]) -> str:
    initials = [other[:1] for other in players]
    return player[:1].upper() if initials.count(player[:1]) == 1 else player
