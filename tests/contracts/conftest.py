"""Each contract runs over all models that the package holds."""

from functools import partial

import pytest
import torch
from cases import MODELS
from torch._dynamo.backends.common import aot_autograd


def pytest_generate_tests(metafunc):
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", MODELS)


@pytest.fixture
def compiled_graphs(monkeypatch):
    """The graphs that torch.compile traces and differentiates, left to PyTorch's own operations: no compiler needed."""
    traced = []

    def note(graph, inputs):
        traced.append(graph)
        return graph

    backend = aot_autograd(fw_compiler=note, bw_compiler=note)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    return traced
