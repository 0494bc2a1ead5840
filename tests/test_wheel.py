"""The wheel: small, for every platform, with type hints and nothing else."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

import sklearn_mlcl

ROOT = Path(__file__).parents[1]
BUILD = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"
PUBLIC = [
    module.name
    for module in pkgutil.iter_modules(sklearn_mlcl.__path__, "sklearn_mlcl.")
    if not module.name.split(".")[1].startswith("_")
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it from a copy of the sources, with the setuptools at hand."""
    source = tmp_path_factory.mktemp("source")
    unwanted = shutil.ignore_patterns("__pycache__", "golden")
    shutil.copytree(ROOT / "sklearn_mlcl", source / "sklearn_mlcl", ignore=unwanted)
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (source / "tests").mkdir()
    (source / "tests" / "__init__.py").touch()
    (source / "dist").mkdir()
    built = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=source, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return source / "dist" / built.stdout.splitlines()[-1]


def test_the_wheel_is_small_pure_and_typed(wheel: Path) -> None:
    assert wheel.name == f"sklearn_mlcl-{sklearn_mlcl.__version__}-py3-none-any.whl"
    assert wheel.stat().st_size <= 2**20
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "sklearn_mlcl/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"sklearn_mlcl"}
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "sklearn_mlcl").rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")}


def test_the_metadata_can_be_published(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    assert metadata["License-Expression"] == "BSD-3-Clause" and metadata["License-File"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    links = re.findall(r"\]\(([^)]+)\)", metadata.get_payload())
    assert links and all(link.startswith("https://") for link in links)


def unannotated(function: Any) -> list[str]:
    if function.__code__.co_filename == "<string>":
        return []  # a generated constructor: type checkers read the class body
    parameters = list(inspect.signature(function).parameters.values())
    named = [p for p in parameters if p.name not in ("self", "cls")]
    missing = [p.name for p in named if p.annotation is inspect.Parameter.empty]
    returns = inspect.signature(function).return_annotation
    return missing + ["return"] * (returns is inspect.Signature.empty)


@pytest.mark.parametrize("module_name", ["sklearn_mlcl", *PUBLIC])
def test_public_signatures_are_annotated(module_name: str) -> None:
    module = importlib.import_module(module_name)
    missing = {}
    for name in getattr(module, "__all__", []):
        member = getattr(module, name)
        functions = {name: member} if inspect.isfunction(member) else {}
        if inspect.isclass(member):
            functions = {
                f"{name}.{attribute}": value
                for attribute, value in vars(member).items()
                if inspect.isfunction(value)
                and (attribute == "__init__" or not attribute.startswith("_"))
                and inspect.unwrap(value).__module__.startswith("sklearn_mlcl")
            }
        missing |= {key: lacking for key, f in functions.items() if (lacking := unannotated(f))}
    assert not missing
