"""The folder of a run, decided here alone: samples, records of scores, diagnostics and the configuration lie there."""

from __future__ import annotations

from pathlib import Path
from weakref import WeakKeyDictionary

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

CHECKPOINTS = "checkpoints"  # Lightning's folder in that of the run
CONFIG = "config.yaml"
# what a run leaves in its folder
FOLDERS = ("samples", "predictions")
FILES = ("scores.jsonl", "diagnostics.jsonl", CONFIG)

_chosen: WeakKeyDictionary[Trainer, Path] = WeakKeyDictionary()
_agreed: WeakKeyDictionary[Trainer, Path] = WeakKeyDictionary()


def run_folder(trainer: Trainer) -> Path:
    """Return the folder of the trainer's run; two runs never share one.

    It is the first logger's: its `log_dir`, or, where it has none (W&B, MLflow), ``<save_dir>/<name>/<version>``, in
    which Lightning keeps the checkpoints too. Without a logger it is the trainer's `default_root_dir`, or where another
    run has left its files there, a new ``version_<n>`` in it; a run that goes on from a checkpoint stays in its folder.

    All processes have to call it together at first, since they agree on the first one's answer.
    """
    if trainer not in _agreed:
        folder = _chosen.get(trainer) or _decide(trainer)
        _agreed[trainer] = Path(trainer.strategy.broadcast(str(folder)))
    return _agreed[trainer]


def choose_run_folder(trainer: Trainer, folder: Path) -> None:
    """Let a trainer's run have this folder, before anything has asked for it."""
    _chosen[trainer] = folder


def folder_of_checkpoint(path: Path) -> Path:
    """Return the folder of the run that has saved a checkpoint."""
    return path.parent.parent if path.parent.name == CHECKPOINTS else path.parent


def next_version(place: Path) -> Path:
    """Return the folder ``version_<n>`` in `place` that follows those there, as Lightning's loggers number theirs."""
    numbers = [path.name.removeprefix("version_") for path in place.glob("version_*") if path.is_dir()]
    return place / f"version_{max((int(number) for number in numbers if number.isdigit()), default=-1) + 1}"


def _decide(trainer: Trainer) -> Path:
    root = Path(trainer.default_root_dir)
    logger = trainer.loggers[0] if trainer.loggers else None
    if isinstance(logger, CSVLogger | TensorBoardLogger):
        return Path(logger.log_dir)
    if logger is not None and (version := logger.version) not in (None, ""):
        name = version if isinstance(version, str) else f"version_{version}"
        return Path(logger.save_dir or root) / str(logger.name) / name
    if trainer.ckpt_path:
        own = folder_of_checkpoint(Path(trainer.ckpt_path))
        if own.resolve().is_relative_to(root.resolve()):
            return own
    taken = any((root / name).is_dir() for name in FOLDERS) or any((root / name).is_file() for name in FILES)
    return next_version(root) if taken else root
