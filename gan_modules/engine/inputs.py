"""What the objectives of a step are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gan_modules.engine.contexts import requiring_grad
from gan_modules.errors import GANError


class Inputs:
    """The reals of a batch, their conditions, latents and fakes.

    Latents and fakes are made when an objective first asks for them. All phases of a batch then share them: a phase
    that trains their maker gets them with their graph, the others get them detached.

    Args:
        real: Real samples ``(N, …)``, or several such tensors in a dict, list or tuple.
        condition: What the networks take beside each sample: labels ``(N,)``, tokens ``(N, L)``, images, ….
        prior: From a number to as many latents.
        generate: From these inputs to fakes, a tensor or a dict, list or tuple of tensors.
        maker: The networks whose parameters `generate` uses.
        batch: The whole batch, for objectives that need more of it.

    Attributes:
        real: See above.
        condition: See above.
        batch: See above.
    """

    def __init__(
        self,
        real: Any,
        condition: tuple[Any, ...] = (),
        *,
        prior: Callable[[int], Tensor] | None = None,
        generate: Callable[[Inputs], Any] | None = None,
        maker: nn.Module | Sequence[nn.Module] = (),
        batch: Any = None,
    ) -> None:
        self.real = real
        self.condition = condition
        self.batch = batch
        self.maker: tuple[nn.Module, ...] = (maker,) if isinstance(maker, nn.Module) else tuple(maker)
        self._prior = prior
        self._generate = generate
        self._latents: Callable[[], Tensor | None] = lambda: None if prior is None else prior(len(self))
        self._z: Tensor | None = None
        self._fake: Any = None
        self._has_graph = False
        self._trains_maker = False
        self._later: Sequence[nn.Parameter] = ()

    def __len__(self) -> int:
        return self._size

    @cached_property
    def _size(self) -> int:
        return len(next(tensors(self.real)))

    @property
    def z(self) -> Any:
        """The latents ``(N, …)`` of the fakes; `None` without a prior."""
        if self._z is None:
            self._z = self._latents()
        return self._z

    @property
    def fake(self) -> Any:
        """The fakes: with their graph in a phase that trains their maker, else detached."""
        if self._fake is None or (self._trains_maker and not self._has_graph):
            if self._generate is None:
                raise GANError("These inputs have no fakes: pass generate and maker to Inputs.")
            self._has_graph = self._trains_maker or bool(self._later)
            with torch.set_grad_enabled(self._has_graph), requiring_grad(self._later):
                self._fake = self._generate(self)
        return self._fake if self._trains_maker else map_tensors(Tensor.detach, self._fake)

    def redraw(self, n: int | None = None) -> Inputs:
        """Return the same reals with new latents, hence new fakes.

        Args:
            n: How many fakes; by default as many as reals. The conditions of further ones begin again from the first.
        """
        count = len(self) if n is None else n
        rows = [index % len(self) for index in range(count)]
        condition = self.condition if count == len(self) else take(self.condition, rows)
        other = Inputs(
            self.real,
            condition,
            prior=self._prior,
            generate=self._generate,
            maker=self.maker,
            batch=self.batch,
        )
        prior = self._prior
        other._latents = lambda: None if prior is None else prior(count)
        other._trains_maker = self._trains_maker  # such fakes serve this phase alone
        return other

    def split(self, parts: int) -> list[Inputs]:
        """Return the batch in as many parts, or in fewer where it has fewer samples, with the batch's latents."""
        if parts == 1:
            return [self]
        return [self._part(rows) for rows in slices(len(part) for part in torch.arange(len(self)).chunk(parts))]

    def _part(self, rows: slice) -> Inputs:
        real, condition, batch = (take(tree, rows) for tree in (self.real, self.condition, self.batch))
        part = Inputs(real, condition, prior=self._prior, generate=self._generate, maker=self.maker, batch=batch)
        part._latents = lambda: None if self.z is None else self.z[rows]
        return part

    # ---- For the engine ----------------------------------------------------------------------------------------------

    def begin_phase(self, trains_maker: bool, later: Sequence[nn.Parameter] = ()) -> None:
        """Prepare the fakes for a phase.

        Args:
            trains_maker: Whether the phase trains the fakes' maker.
            later: The maker's parameters that a later phase of the batch will train through the same graph.
        """
        self._trains_maker = trains_maker
        self._later = later

    def end_phase(self) -> None:
        """Drop the graph of the fakes once it is spent; their values stay for phases that need no graph."""
        if self._trains_maker and self._has_graph:
            self._fake = map_tensors(Tensor.detach, self._fake)
            self._has_graph = False


def tensors(tree: Any) -> Iterator[Tensor]:
    """Yield the tensors of nested dicts, lists and tuples."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from tensors(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from tensors(value)


def map_tensors(function: Callable[[Tensor], Any], tree: Any) -> Any:
    """Return the same nested dicts, lists and tuples with the function's value in the place of each tensor."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, dict):
        return {key: map_tensors(function, value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return _like(tree, [map_tensors(function, value) for value in tree])
    return tree


def as_tensors(tree: Any) -> Any:
    """Return the same nested mappings, lists and tuples with a tensor in the place of each array of numbers."""
    if isinstance(tree, np.ndarray | np.generic):
        native = np.array(tree, dtype=tree.dtype.newbyteorder("="))  # a copy, since torch wants to write
        return torch.from_numpy(native) if native.dtype.kind in "biuf" else tree
    if isinstance(tree, Mapping):
        return {key: as_tensors(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return _like(tree, [as_tensors(value) for value in tree])
    return tree


def take(tree: Any, rows: slice | list[int]) -> Any:
    """Return the given rows of the tensors, and of lists of strings, in nested dicts, lists and tuples."""
    if isinstance(tree, Tensor):
        return tree[rows] if tree.ndim else tree
    if isinstance(tree, dict):
        return {key: take(value, rows) for key, value in tree.items()}
    if isinstance(tree, list | tuple) and any(isinstance(value, str) for value in tree):
        return tree[rows] if isinstance(rows, slice) else [tree[row] for row in rows]
    if isinstance(tree, list | tuple):
        return _like(tree, [take(value, rows) for value in tree])
    return tree


def slices(sizes: Iterable[int]) -> list[slice]:
    """Return consecutive slices of the given sizes."""
    ends = list(accumulate(sizes, initial=0))
    return [slice(start, end) for start, end in pairwise(ends)]


def _like(tree: Any, values: list[Any]) -> Any:
    """Return the values in a list or tuple of the same type, which may be a named tuple."""
    return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)
