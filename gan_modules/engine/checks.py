"""What a trainer cannot be asked for in a game, and what a machine is slow at; said before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler, StochasticWeightAveraging

from gan_modules.errors import GANError

# of a processor's instructions, those that multiply matrices of each format
BFLOAT16 = ("avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16", "sve_bf16")
FLOAT16 = ("avx512_fp16", "amx_fp16", "fp16_arith")


def check_trainer(trainer: Trainer, name: str) -> None:
    """Refuse options of the trainer that are for one optimizer.

    Args:
        trainer: About to run the model.
        name: The model's.

    Raises:
        GANError: If there is one, naming the model's argument that does it for each player.
    """
    if trainer.gradient_clip_val:
        clip = trainer.gradient_clip_val
        raise GANError(
            f"Trainer(gradient_clip_val={clip}) clips one optimizer's gradients, and a game has several: pass "
            f"clip_norm={clip} to {name}, which clips each player's."
        )
    if trainer.accumulate_grad_batches != 1:
        parts = trainer.accumulate_grad_batches
        raise GANError(
            f"Trainer(accumulate_grad_batches={parts}) would accumulate over the phases of a game: pass "
            f"accumulate={parts} to {name}, with a batch_size {parts} times as large."
        )
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, GradientAccumulationScheduler):
            raise GANError(f"GradientAccumulationScheduler is for one optimizer: pass accumulate=… to {name}.")
        if isinstance(callback, StochasticWeightAveraging):
            raise GANError(f"StochasticWeightAveraging is for one optimizer: pass ema_half_life=… to {name}.")


def slow_formats(trainer: Trainer, capabilities: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Yield a sentence where the trainer's precision has no instructions on its device, which makes it slow.

    Args:
        trainer: About to fit.
        capabilities: Of the processor, by name; by default as torch knows them. Nothing is said where none is known.
    """
    precision, device = str(trainer.precision), trainer.strategy.root_device
    half, names = ("float16", FLOAT16) if precision.startswith("16") else ("bfloat16", BFLOAT16)
    if not precision.startswith(("16", "bf16")):
        return
    remedy = "leave precision out, since float32 is faster here"
    if device.type == "cpu":
        known = processor() if capabilities is None else capabilities
        if known and not any(known.get(name) for name in names):
            yield f"This processor has no {half} instructions, so precision={precision} is far slower: {remedy}."
    elif device.type == "cuda" and half == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        yield f"This GPU has no {half} units, so that precision={precision} is slow: pass precision=16-mixed."


def processor() -> Mapping[str, Any]:
    """Return the instruction sets of this processor, as torch knows them; empty where it does not."""
    return getattr(torch.cpu, "get_capabilities", dict)()


def processor_in_words() -> str:
    """Return which of the instruction sets that decide about speed this processor has, for records of speed."""
    known = processor()
    decisive = ("avx2", "avx512_f", "avx512_bf16", "avx512_fp16", "amx_bf16", "bf16", "sve_bf16")
    return ", ".join(name for name in decisive if known.get(name)) or "unknown"
