"""What the package asks for: few requirements, each with a lower bound that CI runs."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import sklearn_mlcl

ROOT = Path(__file__).parents[1]
RUNTIME = {"numpy", "safetensors", "scikit-learn", "scipy", "skorch", "torch"}
CONFIG = configparser.RawConfigParser()
CONFIG.read(ROOT / "setup.cfg")


def requirements(text: str) -> dict[str, str]:
    """Lowest versions by name, "" where there is none; references to other extras are left out."""
    lines = [line for line in text.splitlines() if line and not line.startswith("%")]
    return dict(
        re.match(r"([\w.-]+)(?:\[[^]]*\])?(?:>=([\d.]+))?", line).groups("") for line in lines
    )


def test_requirements_have_lower_bounds() -> None:
    runtime = requirements(CONFIG["options"]["install_requires"])
    assert set(runtime) == RUNTIME
    extras = [requirements(text) for text in CONFIG["options.extras_require"].values()]
    assert all(lowest for names in (runtime, *extras) for lowest in names.values())
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert f"scikit-learn {runtime['scikit-learn']}" in workflow
    pythons = re.findall(r"Python :: (3\.\d+)", CONFIG["metadata"]["classifiers"])
    assert CONFIG["options"]["python_requires"] == f">={pythons[0]}"
    assert all(f'"{version}"' in workflow for version in pythons)


def test_targets_and_extras_that_are_used_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    extras = set(re.findall(r"\$\(VENV\)/with-(\w+)", makefile))
    assert extras <= set(CONFIG["options.extras_require"])
    targets = set(re.findall(r"^(\w[\w-]*):", makefile, flags=re.MULTILINE))
    assert set(re.findall(r"run: make (\w+)", workflow)) <= targets


def test_the_citation_has_the_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {sklearn_mlcl.__version__}\n" in citation
