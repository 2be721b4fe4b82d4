"""The rules of the house, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gan_modules

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gan_modules"
VARIANTS = sorted(path for path in (PACKAGE / "models").glob("*.py") if path.stem != "__init__")
SOURCES = sorted(path for folder in ("gan_modules", "datamodules", "tests") for path in (ROOT / folder).rglob("*.py"))


def imports(path):
    """The modules a file names in imports, wherever they stand, relative ones made absolute."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def importers(folder, forbidden):
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name in imports(path)
        if any(name == module or name.startswith(f"{module}.") for module in forbidden)
    ]


def variant_classes():
    """Names of the variants' classes and what they subclass, by file."""
    found = {}
    for path in VARIANTS:
        classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
        found[path.stem] = {
            node.name: [ast.unparse(base).rpartition(".")[2] for base in node.bases] for node in classes
        }
    return found


def test_the_reader_of_imports_sees_all_kinds(tmp_path):
    path = ROOT / "gan_modules" / "functional" / "losses.py"
    assert "torch" in set(imports(path))
    assert "gan_modules.functional.precision" in set(imports(path))
    assert "datamodules.in_memory" in set(imports(ROOT / "datamodules" / "toy.py"))  # relative


@pytest.mark.parametrize("folder", ["gan_modules/functional", "gan_modules/networks"])
def test_maths_and_networks_know_no_lightning(folder):
    assert importers(folder, ["lightning", "pytorch_lightning", "lightning_fabric"]) == []


def test_maths_and_networks_know_nothing_above_them():
    above = [
        f"gan_modules.{name}" for name in ("models", "families", "engine", "callbacks", "metrics", "commands", "cli")
    ] + ["datamodules"]
    assert importers("gan_modules/functional", [*above, "gan_modules.networks"]) == []
    assert importers("gan_modules/networks", above) == []


def test_data_know_no_models():
    assert importers("datamodules", ["gan_modules"]) == []


def test_the_command_line_alone_sees_both():
    seeing = [line.split()[0] for line in importers("gan_modules", ["datamodules"])]
    assert seeing
    assert all(name == "gan_modules/cli.py" or name.startswith("gan_modules/commands/") for name in seeing)


def test_what_variants_share_knows_none_of_them():
    names = [name for classes in variant_classes().values() for name in classes]
    variants = [f"gan_modules.models.{path.stem}" for path in VARIANTS] + [f"gan_modules.{name}" for name in names]
    assert importers("gan_modules/callbacks", variants) == []
    assert importers("gan_modules/engine", variants) == []
    assert importers("gan_modules/tools", variants) == []


def test_no_variant_subclasses_another():
    concrete = {name for classes in variant_classes().values() for name in classes}
    assert len(concrete) >= 5
    for classes in variant_classes().values():
        for bases in classes.values():
            assert not concrete & set(bases)


@pytest.mark.parametrize("path", VARIANTS, ids=lambda path: path.stem)
def test_a_variant_is_whole(path):
    """One class in one file, exported, with a configuration, a row in the README and a page in the docs."""
    (name,) = variant_classes()[path.stem]
    assert name in gan_modules.__all__
    assert getattr(gan_modules, name).__module__ == f"gan_modules.models.{path.stem}"
    configs = [
        config
        for config in (ROOT / "examples" / "configs").glob(f"{path.stem}_*.yaml")
        if f"class_path: {name}\n" in config.read_text()
    ]
    assert configs, f"there is no examples/configs/{path.stem}_*.yaml with class_path: {name}"
    readme = (ROOT / "README.md").read_text().splitlines()
    assert any(line.startswith("|") and f"`{name}`" in line for line in readme), f"the README has no row for {name}"
    page = ROOT / "docs" / f"{path.stem}.md"
    assert page.is_file(), f"there is no docs/{path.stem}.md"
    assert name in page.read_text()


def test_what_is_exported_is_there():
    for name in gan_modules.__all__:
        assert getattr(gan_modules, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'DGCAN'"):
        gan_modules.DGCAN  # noqa: B018


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_read_in_one_sitting(path):
    assert len(path.read_text().splitlines()) <= 400


def test_importing_the_package_waits_for_nothing():
    code = "import sys, gan_modules; print(*{'lightning', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
