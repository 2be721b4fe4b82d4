"""The rules of the house, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gan_modules

ROOT = Path(__file__).parents[1]
# each part of the package may import those before it, and none after it
LAYERS = [
    "errors",
    "neighbours",
    "functional",
    "networks",
    "techniques",
    "engine",
    "adversarial",
    "families",
    "metrics",
    "visuals",
    "scoring",
    "tools",
    "callbacks",
    "models",
    "interop",
    "commands",
    "cli",
    "__main__",
]
WITHOUT_LIGHTNING = ["functional", "networks", "techniques"]
LIGHTNING = ["lightning", "pytorch_lightning", "lightning_fabric"]
# of Lightning's and torch's, with a test for each; of torch's old storages, which old pickles hold
MAY_USE_PRIVATE_NAMES = ["lightning_compat.py", "nvidia_pickle.py"]
LONGEST = 400  # lines of a file


def sources(*folders):
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def names_in_stub():
    """The module of each public name, as lazy_loader's stub says."""
    stub = ast.parse((ROOT / "gan_modules" / "__init__.pyi").read_text())
    imported = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: f"gan_modules.{node.module}" for node in imported for alias in node.names}


PUBLIC = names_in_stub()


def imports(path):
    """Modules and names that a file imports, wherever: relative ones made absolute, public names as their modules."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                yield PUBLIC.get(alias.name, module) if module == "gan_modules" else f"{module}.{alias.name}"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "gan_modules":
            yield PUBLIC.get(node.attr, "gan_modules")


def importers(folder, forbidden):
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(folder)
        for name in imports(path)
        if any(name == module or name.startswith(f"{module}.") for module in forbidden)
    ]


def layer(path):
    return path.relative_to(ROOT / "gan_modules").parts[0].removesuffix(".py")


# What a base class of another library asks its subclasses to use, and what named tuples document
OF_LIBRARIES = {"_actions", "_defaults", "_fields", "_generate_state_key", "_parser"}


def private_names(tree):
    """Names with a leading underscore that a file takes from another file, as far as its syntax shows it."""
    defined = OF_LIBRARIES | {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        defined |= {target.attr for target in targets if isinstance(target, ast.Attribute)}
        defined |= {target.id for target in targets if isinstance(target, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if is_private(alias.name))
            yield from (part for part in (node.module or "").split(".") if is_private(part))
        elif isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in defined:
            yield ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "hasattr"):
            name = node.args[1]
            if isinstance(name, ast.Constant) and is_private(str(name.value)) and name.value not in defined:
                yield ast.unparse(node)


def is_private(name):
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def test_the_reader_of_imports_sees_all_kinds():
    losses = set(imports(ROOT / "gan_modules" / "functional" / "losses.py"))
    assert any(name.startswith("torch.") for name in losses)
    assert "gan_modules.functional.precision.at_least_float32" in losses
    assert "datamodules.in_memory.InMemory" in set(imports(ROOT / "datamodules" / "toy.py"))  # relative
    assert PUBLIC["DCGAN"] == "gan_modules.models.dcgan"


def test_the_reader_of_private_names_sees_all_kinds():
    code = """
from torch.x import _inner
import numpy as np
from package._hidden import open_one
class Mine:
    def method(self, other):
        self._fine = 1
        other._own = self._fine + self._of_a_base + type(self).__name__ + getattr(other, "_secret")
        return other._own + np._private + self.loop._losses
"""
    assert sorted(private_names(ast.parse(code))) == [
        "_hidden",
        "_inner",
        "getattr(other, '_secret')",
        "np._private",
        "self._of_a_base",
        "self.loop._losses",
    ]


@pytest.mark.parametrize("folder", WITHOUT_LIGHTNING)
def test_maths_networks_and_techniques_know_no_lightning(folder):
    assert importers(f"gan_modules/{folder}", LIGHTNING) == []


def test_every_part_has_its_place():
    parts = {layer(path) for path in sources("gan_modules")} - {"__init__"}
    assert parts <= set(LAYERS), "name the new part in LAYERS, after all that it imports"


def test_arrows_run_one_way():
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources("gan_modules")
        if (here := layer(path)) in LAYERS
        for name in imports(path)
        if name.startswith("gan_modules.") and (there := name.split(".")[1]) in LAYERS
        if LAYERS.index(there) > LAYERS.index(here)
    ]
    assert wrong == []


def test_commands_ask_for_capabilities_not_for_models():
    assert importers("gan_modules/commands", ["gan_modules.models"]) == []
    assert importers("gan_modules/cli.py", ["gan_modules.models"]) == []


def test_data_know_no_models():
    assert importers("datamodules", ["gan_modules"]) == []


def test_the_command_line_alone_sees_both():
    seeing = {line.split()[0] for line in importers("gan_modules", ["datamodules"])}
    assert seeing
    assert all(name == "gan_modules/cli.py" or name.startswith("gan_modules/commands/") for name in seeing)


def test_no_model_subclasses_another():
    trees = [ast.parse(path.read_text()) for path in sources("gan_modules/models")]
    models = {node.name: node.bases for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}
    assert len(models.keys() & PUBLIC.keys()) >= 9
    for name, bases in models.items():
        of_models = {ast.unparse(base).rpartition(".")[2] for base in bases} & PUBLIC.keys() & models.keys()
        assert not of_models, f"{name} subclasses {of_models}: let both subclass their family"


def test_no_file_uses_another_files_private_names():
    files = [path for path in sources("gan_modules", "datamodules") if path.name not in MAY_USE_PRIVATE_NAMES]
    used = {str(path.relative_to(ROOT)): sorted(private_names(ast.parse(path.read_text()))) for path in files}
    assert {path: names for path, names in used.items() if names} == {}


def test_public_names_are_there():
    for name in gan_modules.__all__:
        assert getattr(gan_modules, name).__name__ == name
    with pytest.raises(AttributeError, match="DGCAN"):
        gan_modules.DGCAN  # noqa: B018


def test_files_are_read_in_one_sitting():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in sources("gan_modules", "datamodules", "tests", "examples")
    }
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}


def test_importing_the_package_waits_for_nothing():
    code = "import sys, gan_modules; print(*{'lightning', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
