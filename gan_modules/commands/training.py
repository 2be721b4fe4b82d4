"""``gan-modules fit``, ``validate``, ``test`` and ``predict``: Lightning's command line, with what the data know."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from jsonargparse import Namespace
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter, ModelCheckpoint, ProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from torch import Tensor

from gan_modules.callbacks import StepProgress  # and so configurations name all of them without their module
from gan_modules.commands.configs import DEFAULTS, run_name
from gan_modules.commands.continued import ConfigFile, continue_curves, is_complete, place_run, run_to_continue
from gan_modules.commands.parser import ArgumentParser, class_arguments, required_arguments
from gan_modules.commands.words import check_names, name_configs
from gan_modules.engine.checkpoint import KEY, class_path, import_class, read_checkpoint
from gan_modules.engine.game import GAN
from gan_modules.engine.run_folder import choose_run_folder, run_folder
from gan_modules.errors import GANError
from gan_modules.families.capabilities import Samples, Translates
from gan_modules.families.data_spec import data_spec
from gan_modules.visuals.files import save_samples

USES = {"translate --input FOLDER --output FOLDER": Translates, "sample --n 64 --out grid.png": Samples}
PREVIEWS = {"SampleGrid": Samples, "TranslationGrid": Translates}  # of the defaults, by what a model has to know


class PredictionWriter(BasePredictionWriter):
    """Writes each sample that ``predict`` makes to the run's folder, as a file of its kind."""

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Tensor,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write the samples of one batch; the file's name has the process, the batch and the place in it.

        Where there are several loaders, the name has the loader's number too.
        """
        folder = run_folder(trainer) / "predictions"
        loader = f"{dataloader_idx}_" if len(trainer.num_predict_batches) > 1 else ""
        start, kind = f"{trainer.global_rank}_{loader}{batch_idx:05d}", cast(Samples, pl_module).kind
        names = [f"{start}_{index:03d}" for index in range(len(prediction))]
        # the points of a batch are one file, always of the same name
        save_samples(prediction, folder / start if kind == "point" else folder, kind, names=names)


class AlreadyCompleteError(Exception):
    """There is no training left to do."""


class CommandLine(LightningCLI):
    """Lightning's command line, in which the data are built first and give the model what they know."""

    def __init__(self, command: str, words: Sequence[str]) -> None:
        self.command = command
        self.words = name_configs(words)
        self.run: Path | None = None  # the folder of the run that this one goes on with
        self.steps = 0  # played before
        super().__init__(
            GAN,
            LightningDataModule,
            parser_class=ArgumentParser,
            parser_kwargs={name: {"default_config_files": [str(DEFAULTS)]} for name in self.subcommands()},
            subclass_mode_model=True,
            subclass_mode_data=True,
            trainer_defaults={"default_root_dir": "runs"},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            save_config_callback=ConfigFile,
        )

    def _set_seed(self) -> None:
        """Lightning's own, whose sentence names the range but not the argument."""
        try:
            super()._set_seed()
        except ValueError as error:
            raise GANError(f"--seed_everything {error}.") from error

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what watches a score."""
        parser.add_argument(
            "--monitor", type=str | None, help="Score, such as val/fid, by which the best checkpoint is kept too."
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Look the names up, then parse."""
        check_names(self.words, self._parser(self.command))
        self.config = parser.parse_args([self.command, *self.words])

    @property
    def settings(self) -> Namespace:
        """The configuration of the command."""
        settings: Namespace = self.config[self.command]
        return settings

    def _parse_ckpt_path(self) -> None:
        """Look at the checkpoint before anything is built; the configuration stays what the user said."""
        path = self.settings.get("ckpt_path")
        if path is None and self.command != "fit":
            sys.stderr.write(f"No --ckpt_path is given: {self.command} looks at untrained weights.\n")
        if path == "best":
            raise GANError(
                "--ckpt_path best: this command has no earlier best checkpoint; name the file, such as "
                "runs/…/checkpoints/best.ckpt, which a fit with --monitor saves."
            )
        if path is None or path in ("last", "hpc"):
            return
        asked = import_class(self.settings.model.class_path, GAN, "model")
        checkpoint = read_checkpoint(path)
        if (made_by := checkpoint[KEY]["class"]) != class_path(asked):
            name = made_by.rpartition(".")[2] if made_by.startswith("gan_modules.") else made_by
            raise GANError(
                f"'{path}' holds a {name}, not a {asked.__name__}: pass --model {name}, or another checkpoint."
            )
        if self.command != "fit":
            return
        self.run, self.steps = run_to_continue(path), checkpoint["global_step"]
        if is_complete(checkpoint, self.settings.trainer):
            raise AlreadyCompleteError(
                f"Already complete: '{path}' has played all {self.steps} steps; to go on, raise --trainer.max_steps or "
                f"--trainer.max_epochs."
            )

    def instantiate_classes(self) -> None:
        """Build the data, then the model of what they know, then the trainer with what suits the model."""
        settings = self.settings
        self.datamodule = self._build(data=settings.data).data
        supplied = self._supply(data_spec(self.datamodule))
        arguments = settings.model.clone()
        arguments.init_args.update(_namespace(**supplied))
        self.model = self._build(model=arguments).model
        for name, network in self._networks().items():
            self.model.hparams[name] = {"init_args": {}} | network.as_dict()  # remembered in plain values
        place = self._complete(settings)
        rest = dict(settings.items(branches=True, nested=False))
        del rest["data"], rest["model"]
        rest["trainer"] = settings.trainer.clone()
        chosen = any(word.startswith(("--trainer.logger", "--trainer.default_root_dir")) for word in self.words)
        folder = place_run(rest["trainer"], place, self.run, chosen)
        self.config_init = _namespace(**{self.command: self._build(**rest)})
        self._choose_progress_bar(self.config_init[self.command].trainer)
        self.trainer = self.instantiate_trainer()
        if folder is not None:
            choose_run_folder(self.trainer, folder)
        if self.run is not None:
            continue_curves(self.trainer, self.run, self.steps)

    def _build(self, **settings: Any) -> Namespace:
        built: Namespace = self._parser(self.command).instantiate_classes(_namespace(**settings))
        return built

    def _supply(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Return what the data know and the model's signature names; the configuration leaves it to them.

        Raises:
            GANError: If the user has given it too, or if neither has given what the model cannot do without.
        """
        model, arguments = import_class(self.settings.model.class_path, GAN, "model"), self.settings.model.init_args
        defaults = class_arguments(model)
        supplied = {name: value for name, value in spec.items() if name in defaults}
        for name in supplied:
            if not _equal(arguments.pop(name, None), defaults[name]):
                raise GANError(f"The data supplies {name}: leave --model.{name} out, and choose the data's instead.")
        for name in sorted(required_arguments(model) & defaults.keys() - supplied.keys()):
            if arguments.get(name) is None:
                raise GANError(
                    f"{model.__name__} needs {name}, which {type(self.datamodule).__name__} does not know: pass "
                    f"--model.{name}, or choose data that has it."
                )
        return supplied

    def _complete(self, settings: Namespace) -> Path:
        """Fill in what the defaults leave open: the run's name, previews that suit the model, the best checkpoint.

        Returns:
            The folder in which such runs lie.
        """
        trainer = settings.trainer
        name = run_name(self.words) or f"{type(self.model).__name__}_{type(self.datamodule).__name__}".lower()
        name = name.removesuffix("datamodule")
        if trainer.logger is None:
            place = _namespace(save_dir=str(trainer.default_root_dir), name=name, version=None)
            trainer.logger = _namespace(class_path="lightning.pytorch.loggers.CSVLogger", init_args=place)
        callbacks = trainer.callbacks or []
        if any(_short(callback) == "LearningRateFinder" for callback in callbacks):
            raise GANError(
                "LearningRateFinder looks for the rate of a single optimizer, and a game has one for each player: "
                "leave it out, and choose the rates among the model's arguments."
            )
        for callback in callbacks:
            if _is_best(callback) and callback.init_args.monitor is None:
                callback.init_args.monitor = settings.monitor
        if settings.monitor is None:
            callbacks = [other for other in callbacks if not _is_best(other) or other.init_args.monitor]
        if PREVIEWS.keys() <= {_short(callback) for callback in callbacks}:
            unfit = {name for name, needed in PREVIEWS.items() if not isinstance(self.model, needed)}
            callbacks = [callback for callback in callbacks if _short(callback) not in unfit]
        # of what the defaults hold, the user's own replaces theirs
        trainer.callbacks = list({_kept_once(callback): callback for callback in callbacks}.values())
        return Path(trainer.default_root_dir, name)

    def _choose_progress_bar(self, trainer: Namespace) -> None:
        """Show the game's progress, where the user wants some and has chosen no other bar."""
        others = any(isinstance(callback, ProgressBar) for callback in trainer.callbacks)
        if trainer.enable_progress_bar is not False and not others and not trainer.barebones:
            trainer.callbacks.append(StepProgress())

    def predict(self, **arguments: Any) -> None:
        """Write the images that the model makes of the test data's batches, instead of gathering them in memory."""
        self.trainer.callbacks.append(PredictionWriter(write_interval="batch"))  # type: ignore[attr-defined]
        self.trainer.predict(**arguments | {"return_predictions": False})

    def after_fit(self) -> None:
        """Say what the run has left, and where."""
        trainer = self.trainer
        folder = run_folder(trainer)  # which the first process tells the others
        if not trainer.is_global_zero:
            return
        scores = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        print(f"\nPlayed {trainer.global_step} steps; everything is in {folder}")
        for name, value in scores.items():
            print(f"  {name:<12} {value:.4g}")
        if saved := self._saved():
            for path, score in saved.items():
                print(f"  {Path(path).stem:<12} {path}{'' if score is None else f' ({score:.4g})'}")
            if uses := [use for use, needed in USES.items() if isinstance(self.model, needed)]:
                print(f"\ngan-modules {uses[0]} --ckpt_path {next(iter(saved))}{''.join(self._own_classes())}")

    def _saved(self) -> dict[str, float | None]:
        """Return the last and the best checkpoints, each with its score where there is a monitor."""
        trainer = self.trainer
        last = trainer.callback_metrics.get(self.settings.monitor or "")
        savers = [saver for saver in trainer.checkpoint_callbacks if isinstance(saver, ModelCheckpoint)]
        saved = {saver.last_model_path: None if last is None else float(last) for saver in savers}
        for saver in savers:
            score = saver.best_model_score
            saved.setdefault(saver.best_model_path, None if score is None else float(score))
        return {path: score for path, score in saved.items() if path}

    def _own_classes(self) -> Iterator[str]:
        """Give the arguments that a command needs to know the checkpoint's classes."""
        model = type(self.model)
        if not model.__module__.startswith("gan_modules."):
            yield f" --model {class_path(model)}"
        modules = {network.class_path.rpartition(".")[0] for network in self._networks().values()} - {model.__module__}
        yield from (f" --import {module}" for module in sorted(modules) if not module.startswith("gan_modules."))

    def _networks(self) -> dict[str, Namespace]:
        """Return the model's arguments that are networks, as class and arguments."""
        arguments = self.settings.model.init_args.items(branches=True, nested=False)
        return {name: value for name, value in arguments if isinstance(value, Namespace) and "class_path" in value}


def train(command: str, words: Sequence[str]) -> None:
    """Run ``fit``, ``validate``, ``test`` or ``predict`` with its words."""
    try:
        CommandLine(command, words)
    except AlreadyCompleteError as complete:
        print(complete)


def _equal(given: Any, default: Any) -> bool:
    listed = isinstance(given, list | tuple) and isinstance(default, list | tuple)
    return list(given) == list(default) if listed else bool(given == default)


def _namespace(**values: Any) -> Namespace:
    return Namespace(**values)  # type: ignore[no-untyped-call]


def _short(callback: Namespace) -> str:
    name: str = callback.class_path.rpartition(".")[2]
    return name


def _is_best(callback: Namespace) -> bool:
    return _short(callback) == "ModelCheckpoint" and callback.init_args.filename == "best"


def _kept_once(callback: Namespace) -> Any:
    """Return what only one callback of a run may be: a preview of its kind, or the checkpoints by one score."""
    name = _short(callback)
    return (name, callback.get("init_args.monitor")) if name in (*PREVIEWS, "ModelCheckpoint") else id(callback)
