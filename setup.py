"""The long description: README.md with absolute links. All else stands in setup.cfg."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
#: A link or a picture of Markdown to a file of this repository.
RELATIVE = re.compile(r"(!?)\[([^]]*)\]\((?!https?:)([^)#]+)\)")


def source_url() -> str:
    """Return the address of the repository in setup.cfg; empty where it has none yet."""
    config = configparser.RawConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["metadata"].get("project_urls", "").splitlines()
    urls = dict(re.split(r"\s*=\s*", line, maxsplit=1) for line in lines if line)
    return urls.get("Source", "").rstrip("/")


def with_absolute_links(text: str, source: str, revision: str) -> str:
    """Return Markdown with links to files of a revision; without a source, with their names."""

    def absolute(match: re.Match[str]) -> str:
        picture, name, path = match.groups()
        if not source:
            return "" if picture else name
        return f"{picture}[{name}]({source}/{'raw' if picture else 'blob'}/{revision}/{path})"

    return RELATIVE.sub(absolute, text)


if __name__ == "__main__":
    version = re.search(r'"(.+)"\n$', (ROOT / "sklearn_mlcl" / "_version.py").read_text())[1]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    revision = "main" if ".dev" in version else f"v{version}"
    setup(long_description=with_absolute_links(readme, source_url(), revision))
