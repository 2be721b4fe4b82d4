"""Models out of files and into them: checkpoints of a run, and folders of weights to share."""

from __future__ import annotations

import json
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from lightning.pytorch import LightningModule
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from gan_modules.engine.checkpoint import (
    KEY,
    claims_more_than_it_holds,
    class_path,
    find_class,
    hyper_parameters,
    read_checkpoint,
    write_atomically,
)
from gan_modules.errors import GANError

CONFIG, WEIGHTS = "config.json", "model.safetensors"  # the names of huggingface_hub's PyTorchModelHubMixin


class CheckpointMixin(LightningModule):
    """A model that is found again in files of either kind, whatever its class, without executing what they hold."""

    images_seen: int
    classes: tuple[str, ...] = ()  # names of the classes by label

    def check_networks(self, theirs: Mapping[str, Tensor], saved: Mapping[str, Any]) -> None:
        """Compare the networks' tensors with a file's, by name and shape.

        Args:
            theirs: The file's tensors.
            saved: The hyper-parameters in the file, which explain a difference.

        Raises:
            GANError: If they differ.
        """
        ours = self.state_dict()
        names = ours.keys() | theirs.keys() if self.strict_loading else ours.keys() & theirs.keys()
        if all(name in ours and name in theirs and ours[name].shape == theirs[name].shape for name in names):
            return
        made, here = (
            {name: list(value) if isinstance(value, tuple) else value for name, value in arguments.items()}
            for arguments in (saved, self.hparams)
        )
        differing = [
            f"{name}={made.get(name, 'its default')}, not {here.get(name, 'its default')}"
            for name in made | here
            if not name.startswith("_") and made.get(name) != here.get(name)
        ]
        if not differing:  # as where a network was replaced by hand
            odd = next(n for n in sorted(names) if n not in ours or n not in theirs or ours[n].shape != theirs[n].shape)
            network = odd.partition(".")[0].removesuffix("_ema")
            raise GANError(
                f"The checkpoint's networks do not fit this {type(self).__name__}: '{odd}' differs. Pass the network "
                f"that it was made with, as in load_from_checkpoint(path, {network}=...), or another checkpoint."
            )
        raise GANError(
            f"The checkpoint's networks do not fit this {type(self).__name__}: it was made with "
            f"{' and '.join(differing)}; pass the same, or another checkpoint."
        )

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # Lightning's own would rebuild `cls`, whatever made the file
        cls, checkpoint_path: str | Path, map_location: Any = "cpu", strict: bool = True, **overrides: Any
    ) -> Self:
        """The model that a checkpoint holds, of the class that made it: ``GAN.load_from_checkpoint`` finds it.

        Args:
            checkpoint_path: A file saved by `Trainer` or the CLI.
            map_location: Device to put the model on.
            strict: Whether the tensors' names must all match.
            **overrides: Hyper-parameters to replace.

        Raises:
            GANError: If the file is damaged, or made by a class that is not `cls` or a part of its family.
        """
        checkpoint = read_checkpoint(checkpoint_path)
        found = find_class(checkpoint[KEY]["class"], CheckpointMixin)
        if not issubclass(found, cls):
            raise GANError(
                f"'{checkpoint_path}' holds a {found.__name__}: load it as {found.__name__}, not {cls.__name__}."
            )
        saved = hyper_parameters(checkpoint)
        model = _build(found, saved, overrides, checkpoint["state_dict"], strict, checkpoint_path)
        model.on_load_checkpoint(checkpoint)
        model.load_state_dict(checkpoint["state_dict"], strict=strict)
        return model.to(map_location) if isinstance(map_location, str | torch.device) else model

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Write ``config.json`` (the hyper-parameters) and ``model.safetensors`` (networks and averages) to a folder.

        It is the layout of huggingface_hub's ``PyTorchModelHubMixin``, and can be uploaded as it is.

        Raises:
            GANError: If the folder cannot be written.
        """
        folder = Path(save_directory)
        config = {name: value for name, value in self.hparams.items() if not name.startswith("_")}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        metadata = {"format": "pt", "class": class_path(type(self)), "images_seen": str(self.images_seen)}
        metadata["classes"] = json.dumps(list(self.classes))
        weights = save(tensors, metadata)
        write_atomically(folder / WEIGHTS, lambda file: file.write(weights))
        write_atomically(folder / CONFIG, lambda file: file.write(json.dumps(config, indent=2).encode()))

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        map_location: str | torch.device = "cpu",
        **overrides: Any,
    ) -> Self:
        """The model in a folder that `save_pretrained` wrote, or in a repository of the Hugging Face Hub.

        Args:
            name_or_path: The folder, or ``owner/name`` of a repository (which takes ``pip install huggingface_hub``).
            revision: Branch, tag or commit of the repository.
            map_location: Device to put the model on.
            **overrides: Hyper-parameters to replace.

        Raises:
            GANError: If there is no such folder or repository, a file is damaged, or the class is not `cls` or a
                part of its family.
        """
        folder = Path(name_or_path) if Path(name_or_path).is_dir() else _download(str(name_or_path), revision)
        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            with safe_open(folder / WEIGHTS, "pt") as file:
                metadata = file.metadata() or {}
            weights = load_file(folder / WEIGHTS)
            classes = tuple(map(str, json.loads(metadata.get("classes", "[]"))))
        except (OSError, ValueError, TypeError, SafetensorError) as error:
            raise GANError(
                f"'{folder}' holds no whole {CONFIG} and {WEIGHTS} ({error}): pass a folder that save_pretrained wrote."
            ) from error
        found = find_class(metadata.get("class", class_path(cls)), CheckpointMixin)
        if not issubclass(found, cls):
            raise GANError(f"'{folder}' holds a {found.__name__}: load it as {found.__name__}, not {cls.__name__}.")
        model = _build(found, config, overrides, weights, True, folder / CONFIG)
        model.load_state_dict(weights)
        model.classes = classes
        model.images_seen = int(metadata.get("images_seen", 0))
        return model.to(map_location)


L = TypeVar("L", bound=CheckpointMixin)


def _build(
    cls: type[L],
    saved: dict[str, Any],
    overrides: dict[str, Any],
    weights: Mapping[str, Tensor],
    strict: bool,
    source: str | Path,
) -> L:
    """Return a model of `cls`, built only after a weightless one has shown that the file's weights fit it.

    Sizes in a stranger's file so cost no memory.
    """
    if any(map(claims_more_than_it_holds, weights.values())):
        raise GANError(f"'{source}' claims tensors larger than what it holds: get it again from a source you trust.")
    arguments = saved | overrides
    try:
        with torch.device("meta"):
            sketch = cls(**arguments | build_networks(arguments))
        sketch.strict_loading = strict
        sketch.check_networks(weights, saved)
        model = cls(**arguments | build_networks(arguments))
    except GANError:
        raise
    except (TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        raise GANError(f"'{source}' asks for a {cls.__name__} that cannot be built: {error}.") from error
    model.strict_loading = strict
    return model


def build_networks(arguments: Mapping[str, Any]) -> dict[str, nn.Module]:
    """Return the networks among a model's saved arguments, built from the class and the arguments saved of them.

    A file may come from a stranger, so the only classes that it can have built are this library's networks, torch's
    layers, and networks of the user's own that have been imported: none of other installed packages.

    Args:
        arguments: Of them, each ``{"class_path": "mine.Generator", "init_args": {"width": 32}}`` is a network; all else
            is left out of the answer.

    Raises:
        GANError: If a network's class is not imported, or its arguments were not saved, since it was made in Python.
    """
    networks = {}
    for name, saved in arguments.items():
        if not (isinstance(saved, Mapping) and isinstance(path := saved.get("class_path"), str)):
            continue
        if "init_args" not in saved:
            raise GANError(
                f"The checkpoint's {name} was made in Python, by {path}: build it and hand it over, as in "
                f"load_from_checkpoint(path, {name}={path.rpartition('.')[2]}(...))."
            )
        given = dict(saved["init_args"])
        network = _find_network(path, name)
        try:
            networks[name] = network(**given | build_networks(given))
        except GANError:
            raise
        except Exception as error:  # whatever a constructor says to arguments that are not its own
            raise GANError(f"The checkpoint's {name} cannot be built, a {path} of {given}: {error}.") from error
    return networks


def _find_network(path: str, name: str) -> type[nn.Module]:
    known: list[type[nn.Module]] = [nn.Module]
    for cls in known:
        known.extend(sub for sub in cls.__subclasses__() if sub not in known)
    for cls in reversed(known):  # a class defined twice, as in a notebook, is the newer one
        if class_path(cls) == path and not issubclass(cls, LightningModule):
            if _is_trusted(cls.__module__):
                return cls
            raise GANError(
                f"The checkpoint's {name} is a '{path}' of an installed package, which a file cannot have built: build "
                f"it and hand it over, as in load_from_checkpoint(path, {name}=...)."
            )
    raise GANError(
        f"The checkpoint's {name} is a '{path}', which is not known here: import that class first (the commands import "
        f"its module where --import names it)."
    )


def _download(repository: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise GANError(
            f"There is no folder '{repository}'; to look on the Hugging Face Hub, pip install huggingface_hub."
        ) from error
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=[CONFIG, WEIGHTS]))
    except (OSError, ValueError) as error:  # what the hub and the network say
        raise GANError(
            f"There is no folder '{repository}', and the Hugging Face Hub does not give it "
            f"({str(error).splitlines()[0]})."
        ) from error


def _is_trusted(module: str) -> bool:
    """Return whether a file may have networks of a module built: this library's, torch's layers, the user's own."""
    if module.startswith(("gan_modules.", "torch.nn.modules.")):
        return True
    file = getattr(sys.modules.get(module), "__file__", None)  # none in a notebook
    if file is None:
        return True
    path = Path(file).resolve()
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    return not installed and not path.is_relative_to(Path(sysconfig.get_path("stdlib")).resolve())
