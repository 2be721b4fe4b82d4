"""An extension is short, and needs no private name: else the public base is too small."""

import ast
from pathlib import Path

import pytest

PAGES = sorted(Path(__file__).parent.glob("*.py"))
LINES = 40


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_extensions_are_short_and_use_public_names(page):
    tree = ast.parse(page.read_text(encoding="utf-8"))
    long = [n.name for n in tree.body if isinstance(n, ast.ClassDef) and n.end_lineno - n.lineno >= LINES]
    assert long == []
    attributes = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    imported = [alias.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for alias in n.names]
    private = [name for name in attributes + imported if name.startswith("_") and not name.endswith("__")]
    assert private == []


def test_the_eight_are_there():
    names = {"bigan", "infogan", "unrolled", "madgan", "audio", "text", "super_resolution", "composition"}
    assert names <= {page.stem.removeprefix("test_") for page in PAGES}
