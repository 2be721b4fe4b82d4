"""The ``.pkl`` files of NVIDIA's StyleGAN2-ADA: pickles of whole networks with their source, none of which is run.

A file is a dictionary of ``G``, ``D`` and ``G_ema``, the average. A network is a tree of modules. Each module has the
name of its class, its source text, which NVIDIA's reader executes, its arguments and its tensors. Here the unpickler
builds only dictionaries and tensors, and refuses everything else by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_modules.errors import GANError
from gan_modules.functional.upfirdn import BINOMIAL
from gan_modules.interop.nvidia_pickle import PickledModule, RefusedError, unpickle
from gan_modules.networks import StyleGAN2Discriminator, StyleGAN2Generator

NETS = {"G": "Generator", "D": "Discriminator", "G_ema": "Generator"}  # with NVIDIA's classes
NOT_READ = ("augment_pipe", "training_set_kwargs")
FILTER = torch.outer(torch.tensor(BINOMIAL), torch.tensor(BINOMIAL))


def read_nvidia(path: str | Path) -> tuple[dict[str, Any], dict[str, nn.Module]]:
    """Return the networks in a ``.pkl`` file of StyleGAN2-ADA, with the arguments that build a model for them.

    Args:
        path: Such as ``ffhq.pkl``.

    Returns:
        The arguments that `StyleGAN2Generator` and `StyleGAN2Discriminator` take, of both together; and the networks
        by name, "G_ema" and "D", and "G" where the file has it.

    Raises:
        GANError: If the file is missing or damaged, refers to anything but the networks' own parts, or has a setting or
            tensor that is unknown, missing or of another shape; the sentence names it.
    """
    path = Path(path)
    contents = unpickle(path)
    if not isinstance(contents, dict) or not all(
        isinstance(contents.get(name), PickledModule) for name in ("G_ema", "D")
    ):
        raise GANError(
            f"'{path}' holds no networks 'G_ema' and 'D': pass a .pkl that NVIDIA's StyleGAN2-ADA has written."
        )
    unknown = [name for name in contents if name not in (*NETS, *NOT_READ)]
    if unknown:
        raise GANError(f"'{path}' holds {unknown[0]!r:.100}, which a .pkl of StyleGAN2-ADA does not: was it changed?")
    arguments: dict[str, Any] = {}
    nets: dict[str, nn.Module] = {}
    for name, kind in NETS.items():
        if contents.get(name) is None:
            continue
        try:
            found, nets[name] = _build(contents[name], kind)
        except (RefusedError, ValueError, TypeError, RuntimeError, ArithmeticError) as error:
            reason = " ".join(str(error).split())[:300]
            raise GANError(f"'{path}' cannot be used: in its network {name}, {reason}") from error
        differing = [key for key in found.keys() & arguments.keys() if found[key] != arguments[key]]
        if differing:
            key = min(differing)
            raise GANError(
                f"'{path}' cannot be used: its networks do not belong together, {key} is {found[key]} for {name} and "
                f"{arguments[key]} for another."
            )
        arguments |= found
    return arguments, nets


def to_nvidia_state_dict(net: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a `StyleGAN2Generator` or `StyleGAN2Discriminator` under NVIDIA's names.

    ``load_state_dict`` of NVIDIA's networks takes it: it includes the resampling filters, which they keep as buffers.
    """
    tensors = {_their_name(name): tensor.detach().clone() for name, tensor in net.state_dict().items()}
    for name in list(tensors):
        for owner in (r"(.*(?:conv\d?|fromrgb|skip))\.weight", r"(synthesis\.b\d+|b(?!4\.)\d+)\..*"):
            if match := re.fullmatch(owner, name):
                tensors[f"{match[1]}.resample_filter"] = FILTER.clone()
    return tensors


class _Settings:
    """Arguments of a module; each is taken once, and what remains at the end is unknown."""

    def __init__(self, settings: Any) -> None:
        if not isinstance(settings, Mapping):
            raise RefusedError("its settings are no dictionary.")
        self.settings = dict(settings)

    def take(self, name: str, default: int | None = None) -> int:
        value = self.settings.pop(name, default)
        if type(value) is not int or value < 0:
            raise RefusedError(f"the setting {name}={value!r:.80} should be a number of 0 or more.")
        return value

    def take_clamp(self) -> float | None:
        value = self.settings.pop("conv_clamp", None)
        if value is not None and (type(value) not in (int, float) or value <= 0):
            raise RefusedError(f"the setting conv_clamp={value!r:.80} should be a number above 0, or None.")
        return None if value is None else float(value)

    def take_settings(self, name: str) -> _Settings:
        return _Settings(self.settings.pop(name, {}))

    def close(self, **expected: Any) -> None:
        """Refuse what is left, but for settings of these values or, for `...`, of any."""
        for name, value in self.settings.items():
            if name not in expected or expected[name] not in (value, ...):
                raise RefusedError(f"the setting {name}={value!r:.80} is one that StyleGAN2 here does not have.")


def _build(module: PickledModule, kind: str) -> tuple[dict[str, Any], nn.Module]:
    if module.class_name != kind:
        raise RefusedError(f"the class is {module.class_name!r:.100} and not {kind!r}.")
    tensors = {_our_name(name): tensor for name, tensor in module.tensors()}
    for name in [name for name in tensors if name.endswith("resample_filter")]:
        if not torch.equal(tensors.pop(name).float(), FILTER):
            raise RefusedError(f"{name} is another filter than [1, 3, 3, 1].")
    settings = _Settings(module.part("_init_kwargs"))
    arguments = _generator_arguments(settings) if kind == "Generator" else _discriminator_arguments(settings)
    if arguments.get("mapping_layers", 0) > len(tensors):
        raise RefusedError(f"mapping.fc{arguments['mapping_layers'] - 1}.weight is missing.")
    with torch.device("meta"):  # a size costs no memory before the tensors are there that have it
        net: nn.Module = (StyleGAN2Generator if kind == "Generator" else StyleGAN2Discriminator)(**arguments)
    expected = {name: tensor.shape for name, tensor in net.state_dict().items()}
    for name, shape in expected.items():
        if name not in tensors:
            raise RefusedError(f"{_their_name(name)} is missing.")
        if tensors[name].shape != shape:
            raise RefusedError(
                f"{_their_name(name)} has the shape {tuple(tensors[name].shape)}, but the settings ask for "
                f"{tuple(shape)}."
            )
    for name in tensors.keys() - expected.keys():
        raise RefusedError(f"{_their_name(name)!r:.100} is unknown.")
    net.load_state_dict({name: tensor.float().clone() for name, tensor in tensors.items()}, assign=True)
    return arguments, net.eval()


def _generator_arguments(settings: _Settings) -> dict[str, Any]:
    mapping, synthesis = settings.take_settings("mapping_kwargs"), settings.take_settings("synthesis_kwargs")
    arguments = {
        "latent_dim": settings.take("z_dim"),
        "style_dim": settings.take("w_dim"),
        "mapping_layers": mapping.take("num_layers", 8),
        **_common_arguments(settings, synthesis),
    }
    settings.close()
    mapping.close(w_avg_beta=..., lr_multiplier=0.01, activation="lrelu", embed_features=None, layer_features=None)
    synthesis.close(
        architecture="skip", resample_filter=[1, 3, 3, 1], use_noise=True, activation="lrelu", fp16_channels_last=...
    )
    return arguments


def _discriminator_arguments(settings: _Settings) -> dict[str, Any]:
    architecture = settings.settings.pop("architecture", "resnet")
    if architecture not in ("resnet", "orig"):
        raise RefusedError(f"the setting architecture={architecture!r:.80} should be 'resnet' or 'orig'.")
    block, mapping, epilogue = (settings.take_settings(f"{name}_kwargs") for name in ("block", "mapping", "epilogue"))
    arguments = {
        "residual": architecture == "resnet",
        "stddev_group": epilogue.take("mbstd_group_size", 4),
        **_common_arguments(settings, settings),
    }
    settings.close(cmap_dim=None)
    block.close(resample_filter=[1, 3, 3, 1], activation="lrelu", fp16_channels_last=..., freeze_layers=...)
    mapping.close(num_layers=8, lr_multiplier=0.01, activation="lrelu", embed_features=None, layer_features=None)
    epilogue.close(mbstd_num_channels=1, activation="lrelu", cmap_dim=None)
    return arguments


def _common_arguments(settings: _Settings, of_layers: _Settings) -> dict[str, Any]:
    size = settings.take("img_resolution")
    return {
        "image_shape": (settings.take("img_channels"), size, size),
        "num_classes": settings.take("c_dim"),
        "channel_base": of_layers.take("channel_base", 32768),
        "channel_max": of_layers.take("channel_max", 512),
        "half_precision_layers": of_layers.take("num_fp16_res", 0),
        "conv_clamp": of_layers.take_clamp(),
    }


def _their_name(ours: str) -> str:
    ours = re.sub(r"\b(blocks|convs|layers)\.", "", ours)
    return re.sub(r"^epilogue\b", "b4", ours).replace("synthesis.const", "synthesis.b4.const")


def _our_name(theirs: str) -> str:
    name = theirs.replace("synthesis.b4.const", "synthesis.const")
    name = re.sub(r"^mapping\.(fc\d+)", r"mapping.layers.\1", name)
    name = re.sub(r"^synthesis\.(b\d+)\.(conv\d)", r"synthesis.blocks.\1.convs.\2", name)
    name = re.sub(r"^synthesis\.(b\d+)", r"synthesis.blocks.\1", name)
    return re.sub(r"^(b\d+)", r"blocks.\1", re.sub(r"^b4\b", "epilogue", name))
