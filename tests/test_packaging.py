"""What the package asks for and promises about itself."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

import sklearn_mlcl

ROOT = Path(__file__).parents[1]
RUNTIME = {"numpy", "safetensors", "scikit-learn", "scipy", "skorch", "torch"}
LINE = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(>=(?P<lowest>[0-9.]+))?")


@pytest.fixture(scope="module")
def config() -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def requirements(text: str) -> dict[str, str | None]:
    """Return the lowest versions by name; references to other extras are left out."""
    lines = [line for line in text.split("\n") if line and not line.startswith("%")]
    return {m["name"]: m["lowest"] for line in lines if (m := LINE.match(line))}


def test_runtime_requirements_are_these_and_no_others(config: configparser.RawConfigParser) -> None:
    assert set(requirements(config["options"]["install_requires"])) == RUNTIME


def test_every_requirement_has_a_lower_bound(config: configparser.RawConfigParser) -> None:
    texts = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    unbound = {name for text in texts for name, low in requirements(text).items() if low is None}
    assert not unbound


def test_every_make_target_has_its_extra(config: configparser.RawConfigParser) -> None:
    wanted = set(re.findall(r"\$\(VENV\)/with-(\w+)", (ROOT / "Makefile").read_text()))
    assert wanted <= set(config["options.extras_require"])


def test_ci_runs_the_versions_that_the_package_names(config: configparser.RawConfigParser) -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    pythons = re.findall(r"Python :: (3\.\d+)", config["metadata"]["classifiers"])
    assert all(f'"{version}"' in workflow for version in pythons) and pythons[0] == "3.11"
    lowest = requirements(config["options"]["install_requires"])["scikit-learn"]
    assert f"scikit-learn {lowest}" in workflow
    assert set(re.findall(r"run: make (\w+)", workflow)) <= targets()


def targets() -> set[str]:
    return set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def test_the_papers_and_the_version_can_be_cited() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {sklearn_mlcl.__version__}\n" in citation
    for identifier in ("2412.00101", "2112.00976", "2310.15903"):
        assert identifier in citation
