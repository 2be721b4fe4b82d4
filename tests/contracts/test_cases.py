"""Every model has a line in cases.py, a configuration, an export, a page and a row."""

from pathlib import Path

import cases
import pytest

import gan_modules

ROOT = Path(__file__).parents[2]


def test_a_model_has_a_line(name):
    assert cases.case(name).arguments


def test_every_line_is_a_models():
    assert set(cases.CASES) == set(cases.MODELS), "tests/contracts/cases.py has lines of models that are gone"


def test_a_model_without_a_line_is_named():
    with pytest.raises(LookupError, match=r"NewGAN has no line in tests/contracts/cases\.py"):
        cases.case("NewGAN")


def test_a_configuration_trains_the_model(name):
    configs = (ROOT / "examples" / "configs").glob("*.yaml")
    assert any(f"class_path: {name}\n" in path.read_text() for path in configs), (
        f"no configuration in examples/configs has class_path: {name}"
    )


def test_the_model_is_a_public_name(name):
    module = cases.MODELS[name].__module__.removeprefix("gan_modules")
    stub = (ROOT / "gan_modules" / "__init__.pyi").read_text().splitlines()
    assert f"from {module} import {name} as {name}" in stub
    assert getattr(gan_modules, name) is cases.MODELS[name]


def test_the_model_has_a_page_and_a_row(name):
    page = ROOT / "docs" / f"{cases.MODELS[name].__module__.rpartition('.')[2]}.md"
    assert page.is_file(), f"there is no {page.relative_to(ROOT)}"
    assert name in page.read_text()
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("|")]
    assert any(f"`{name}`" in row for row in rows), f"the README has no row for {name}"


def test_the_paper_is_cited(name):
    cls = cases.MODELS[name]
    assert cls.paper
    assert cls.arxiv or cls.year
    assert cls.arxiv in (cls.__doc__ or "")
