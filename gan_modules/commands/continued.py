"""Where a run of the command line lies: in a new folder, or in that of the run that it goes on with."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger

from gan_modules.engine.resume import reopen_epoch
from gan_modules.engine.run_folder import CHECKPOINTS, CONFIG, folder_of_checkpoint, next_version, run_folder

BY_FOLDER = ("CSVLogger", "TensorBoardLogger")  # loggers that keep a run in <save_dir>/<name>/<version>


class ConfigFile(SaveConfigCallback):
    """Notes the configuration in the run's folder, beside any file that is there already."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write ``config.yaml``, or where another stands, ``config_2.yaml`` and so on."""
        folder = run_folder(trainer)  # every process has to ask
        if self.already_saved or not trainer.is_global_zero:
            return
        self.already_saved = True
        noted = self.parser.dump(self.config, skip_none=False)
        path, number = folder / CONFIG, 1
        while path.exists():
            if path.read_text(encoding="utf-8") == noted:
                return
            number += 1
            path = folder / f"config_{number}.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(noted, encoding="utf-8")


def run_to_continue(checkpoint: str | Path) -> Path | None:
    """Return the folder of the run that goes on from a checkpoint.

    `None` if it is not the newest checkpoint of a run of the command line: what begins there is a run of its own, and
    must not write over what the other has left.
    """
    path = Path(checkpoint)
    run = folder_of_checkpoint(path)
    if path.parent.name != CHECKPOINTS or not (run / CONFIG).is_file():
        return None
    newest = max(path.parent.glob("*.ckpt"), key=lambda other: other.stat().st_mtime)
    return run.resolve() if newest.samefile(path) else None


def is_complete(checkpoint: dict[str, Any], trainer: Mapping[str, Any]) -> bool:
    """Return whether the trainer's arguments ask for no more training than the checkpoint has had."""
    reopen_epoch(checkpoint)
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    steps, most_steps, most_epochs = checkpoint["global_step"], trainer["max_steps"], trainer["max_epochs"]
    if most_epochs is None:
        most_epochs = 1000 if most_steps == -1 else -1  # Lightning's default
    return bool(steps >= most_steps > -1 or epochs >= most_epochs > -1)


def place_run(trainer: Namespace, place: Path, run: Path | None, chosen: bool) -> Path | None:
    """Let the loggers go on with a run where it is theirs; the arguments are changed in place.

    Args:
        trainer: The trainer's arguments, with a logger or without.
        place: Folder in which runs without a logger lie.
        run: Folder of the run to go on with; `None` for a new one.
        chosen: Whether the user has said in this command where runs lie; else the loggers follow a run anywhere.

    Returns:
        The run's folder, if no logger has one.
    """
    if trainer.logger is False or trainer.fast_dev_run:
        folder = run if run is not None and run.parent == place.resolve() else next_version(place)
        trainer.default_root_dir = str(folder)
        return folder
    loggers = trainer.logger if isinstance(trainer.logger, list) else [trainer.logger]
    for logger in loggers if run is not None else []:
        if isinstance(logger, Namespace):
            _go_on(logger.class_path.rpartition(".")[2], logger.init_args, cast(Path, run), chosen)
    return None


def _go_on(name: str, logger: Namespace, run: Path, chosen: bool) -> None:
    if name in BY_FOLDER and logger.version is None:
        if Path(logger.save_dir, logger.name or "").resolve() == run.parent:
            logger.version = run.name
        elif not chosen and (run / "hparams.yaml").is_file():  # which these loggers write
            logger.save_dir, logger.name, logger.version = str(run.parent.parent), run.parent.name, run.name
    elif name == "WandbLogger" and logger.id is None and logger.version is None:
        if Path(logger.save_dir or ".", logger.project or "lightning_logs").resolve() == run.parent:
            logger.id = run.name
    elif name == "MLFlowLogger" and logger.run_id is None and (run / "meta.yaml").is_file():  # MLflow's own
        logger.run_id = run.name


def continue_curves(trainer: Trainer, run: Path, steps: int) -> None:
    """Keep what the run's ``metrics.csv`` says up to the step that it goes on from.

    Lightning's logger would delete it. Rows of later steps, which a killed run had before it was killed, come again.
    """
    for logger in trainer.loggers:
        if not isinstance(logger, CSVLogger) or Path(logger.log_dir).resolve() != run:
            continue
        file = run / "metrics.csv"
        rows: list[dict[str, Any]] = []
        if file.is_file():
            with file.open(newline="") as lines:
                rows = [row for row in csv.DictReader(lines) if float(row["step"]) < steps]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Experiment logs directory")
            writer = logger.experiment  # which deletes the file
        if trainer.is_global_zero and rows:
            writer.metrics = rows
            writer.save()
