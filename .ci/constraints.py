"""Print pip constraints for one column of the CI matrix: pinned, newest, lowest, scikit-learn X.Y.

"lowest" is the lower bound of every requirement in setup.cfg, extras included.
"""

from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*>=\s*([0-9.]+)")


def pinned() -> dict[str, str]:
    """Return the versions of constraints.txt by name."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def lowest() -> dict[str, str]:
    """Return the lower bounds of setup.cfg by name."""
    config = configparser.RawConfigParser()
    config.read(ROOT / "setup.cfg")
    texts = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    return dict(REQUIREMENT.findall("\n".join(texts)))


def chosen(column: str) -> dict[str, str]:
    """Return the versions of a column of the matrix by name."""
    columns = {"pinned": pinned, "newest": dict, "lowest": lowest}
    if column in columns:
        return columns[column]()
    name, _, version = column.partition(" ")
    if name not in pinned() or not version:
        sys.exit(f"the column must be one of {[*columns]} or 'PACKAGE VERSION', got {column!r}")
    return {**pinned(), name: f"{version}.*"}


if __name__ == "__main__":
    for name, version in chosen(" ".join(sys.argv[1:])).items():
        print(f"{name}=={version}")
