"""What the package asks for: few requirements, each with a lower bound that CI runs."""

from __future__ import annotations

import configparser
import re
import runpy
from pathlib import Path

import pytest

import sklearn_mlcl

ROOT = Path(__file__).parents[1]
RUNTIME = {"numpy", "safetensors", "scikit-learn", "scipy", "skorch", "torch"}
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
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
    workflow = "".join(path.read_text() for path in WORKFLOWS)
    extras = set(re.findall(r"\$\(VENV\)/with-(\w+)", makefile))
    assert extras <= set(CONFIG["options.extras_require"])
    targets = set(re.findall(r"^(\w[\w-]*):", makefile, flags=re.MULTILINE))
    assert set(re.findall(r"run: make ([\w-]+)", workflow)) <= targets


def test_the_citation_has_the_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {sklearn_mlcl.__version__}\n" in citation
    changes = (ROOT / "CHANGES.md").read_text()
    heading = re.search(r"^## ([\d.]+) \((\S+)\)$", changes, flags=re.MULTILINE)
    assert heading is None or f"version: {heading[1]}\ndate-released: {heading[2]}\n" in citation


def test_badges_are_the_metadata() -> None:
    badges = re.findall(r"^!\[(.+?)\]", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    pythons = re.findall(r"Python :: (3\.\d+)", CONFIG["metadata"]["classifiers"])
    lowest = requirements(CONFIG["options"]["install_requires"])["scikit-learn"]
    expected = [f"Python {', '.join(pythons)}", f"scikit-learn {lowest} or later"]
    assert badges[:3] == [*expected, f"Licence {CONFIG['metadata']['license_expression']}"]


def test_links_of_the_description() -> None:
    absolute = runpy.run_path(str(ROOT / "setup.py"))["with_absolute_links"]
    text = "![a map](doc/map.png) [guide](doc/guide.rst) [paper](https://arxiv.org/abs/1)"
    there = "https://example.org/x"
    assert absolute(text, there, "v1") == (
        f"![a map]({there}/raw/v1/doc/map.png) [guide]({there}/blob/v1/doc/guide.rst) "
        "[paper](https://arxiv.org/abs/1)"
    )
    assert absolute(text, "", "v1") == " guide [paper](https://arxiv.org/abs/1)"


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.stem)
def test_actions_are_pinned_and_there_are_no_secrets(workflow: Path) -> None:
    text = workflow.read_text()
    actions = re.findall(r"uses: (\S+)", text)
    assert actions and all(re.search(r"@v\d", action) for action in actions)
    assert "secrets." not in text and "-latest" not in text


def test_ci_runs_the_lowest_and_the_newest_versions_on_three_systems() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert re.search(r"os: \[macos-\d+, windows-\d+\]\n\s+versions: \[lowest, newest\]", text)
    assert re.search(r"ubuntu-[\s\S]+versions: \[pinned, newest\][\s\S]+versions: lowest", text)
