"""Penalties on the discriminator's gradient with respect to its input, unweighted, and the generator's path lengths.

A discriminator here is any callable `(samples, *condition) -> logits`; `condition` (labels, input images) is
handed on and not differentiated. Several logits a sample, as of a patch discriminator, are summed before the
gradient. Penalties are computed in float32 at least, whatever autocast says, and can be differentiated with
respect to the discriminator's parameters, for which compiled networks run uncompiled; samples are detached. A
discriminator with BatchNorm mixes the samples of a batch and so has no gradient per sample.

With `skip_zero_curvature`, the backward pass of a penalty leaves out what is zero because the network is piecewise
linear, a third of its cost. Most biases then get no gradient instead of zeros, and hooks on activations see `None`: use
it only where penalty and loss are summed and differentiated together.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gan_modules.functional import piecewise
from gan_modules.functional.compiling import force_eager
from gan_modules.functional.precision import at_least_float32


def gradient_penalty(
    critic: Callable[..., Tensor],
    real: Tensor,
    fake: Tensor,
    *condition: Tensor,
    target: float = 1.0,
    generator: torch.Generator | None = None,
    skip_zero_curvature: bool = False,
) -> Tensor:
    """Return E[(‖∇D(x̂)‖₂ - target)²], x̂ = ε·x + (1 - ε)·G(z), one ε ~ U[0, 1] a sample (1704.00028, Eq. 3).

    Args:
        critic: Callable `(samples, *condition) -> logits`.
        real: Real samples (N, ...).
        fake: Generated samples of the same shape.
        *condition: What else the critic takes, N of each.
        target: The norm that costs nothing.
        generator: Source of ε, on the samples' device; PyTorch's own by default.
        skip_zero_curvature: Whether the backward pass may leave out gradients that are zero (see this module).

    Raises:
        ValueError: Real and fake samples differ in shape.
    """
    if real.shape != fake.shape:
        raise ValueError(
            f"gradient_penalty pairs real with fake samples, but got shapes {tuple(real.shape)} and "
            f"{tuple(fake.shape)}: pass as many of the same size."
        )
    real, fake = at_least_float32(real), at_least_float32(fake)
    epsilon = torch.rand((len(real), *[1] * (real.ndim - 1)), generator=generator, device=real.device, dtype=real.dtype)
    gradient = _input_gradient(critic, torch.lerp(fake, real, epsilon), condition, skip_zero_curvature)
    # vector_norm has the subgradient 0 at 0, where the square root of a sum of squares has NaN.
    norm: Tensor = torch.linalg.vector_norm(gradient, dim=1)
    return (norm - target).square().mean()


def r1(
    discriminator: Callable[..., Tensor], real: Tensor, *condition: Tensor, skip_zero_curvature: bool = False
) -> Tensor:
    """Return ½·E‖∇D(x)‖² over real samples (N, ...), for the paper's γ to weigh (1801.04406, Eq. 9).

    Args:
        discriminator: Callable `(samples, *condition) -> logits`.
        real: Real samples (N, ...).
        *condition: What else the discriminator takes, N of each.
        skip_zero_curvature: Whether the backward pass may leave out gradients that are zero (see this module).
    """
    return 0.5 * _input_gradient(discriminator, real, condition, skip_zero_curvature).square().sum(1).mean()


def r2(
    discriminator: Callable[..., Tensor], fake: Tensor, *condition: Tensor, skip_zero_curvature: bool = False
) -> Tensor:
    """Return ½·E‖∇D(G(z))‖² over fake samples (N, ...), for the paper's γ to weigh (1801.04406, Eq. 10).

    Args:
        discriminator: Callable `(samples, *condition) -> logits`.
        fake: Fake samples (N, ...).
        *condition: What else the discriminator takes, N of each.
        skip_zero_curvature: Whether the backward pass may leave out gradients that are zero (see this module).
    """
    return 0.5 * _input_gradient(discriminator, fake, condition, skip_zero_curvature).square().sum(1).mean()


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor | None = None) -> Tensor:
    """Return ‖∂(G(w)·y)/∂w‖₂ (N,) for random images y, as root mean square over the layers (1912.04958, Eq. 4).

    It is itself differentiable. The noise that enters the paper's y is divided by √(H·W), so that the length does not
    depend on the resolution.

    Args:
        images: Images (N, C, H, W), computed from `ws` with their graph.
        ws: Styles (N, L, D), one for each of L layers.
        noise: Directions of the images' shape; drawn from a standard normal where not given.
    """
    noise = torch.randn_like(images) if noise is None else noise
    directed = (images * noise).sum() / math.sqrt(images.shape[-2] * images.shape[-1])
    gradient: Tensor = torch.autograd.grad(directed, ws, create_graph=True)[0]
    # vector_norm has the subgradient 0 at 0, where the square root of a mean has NaN.
    length: Tensor = torch.linalg.vector_norm(at_least_float32(gradient).flatten(1), dim=1)
    return length / math.sqrt(ws.shape[1])


def _input_gradient(
    discriminator: Callable[..., Tensor], samples: Tensor, condition: tuple[Tensor, ...], skip_zero_curvature: bool
) -> Tensor:
    """Return each sample's gradient of its summed logits, flattened to (N, D) and itself differentiable."""
    samples = at_least_float32(samples.detach()).requires_grad_()
    with torch.autocast(device_type=samples.device.type, enabled=False), force_eager():
        logits = discriminator(samples, *condition)
        summed = logits.sum()
        gradient: Tensor = torch.autograd.grad(summed, samples, create_graph=True)[0]
    if skip_zero_curvature:
        piecewise.skip_zero_curvature(summed, samples)
    return gradient.flatten(1)
