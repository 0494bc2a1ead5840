"""Check that the files of a folder can be released as they are: version, metadata, links, content.

python .ci/release_check.py FOLDER
"""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\]\(((?!https?:|#)[^)]+)\)")
#: What an index shows, and pip reads.
FIELDS = {
    "Metadata-Version", "Name", "Version", "Summary", "Author", "License-Expression",
    "License-File", "Keywords", "Requires-Python", "Description-Content-Type",
}  # fmt: skip
MADE = re.compile(r"__pycache__|\.pyc$|doc/_build|auto_examples")
#: What a source distribution must have beside the package, so that its tests run.
SOURCES = ("CHANGES.md", "CITATION.cff", "LICENSE", "README.md", "doc/conf.py", "tests/conftest.py")


def metadata_of(wheel: Path) -> Message:
    """Return the metadata of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def problems_of_version(version: str) -> Iterator[str]:
    """Yield where the version is not that of a release, or not the same everywhere."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        yield f"{version} is no version of a release: edit sklearn_mlcl/_version.py"
    heading = re.search(r"^## (.+)$", (ROOT / "CHANGES.md").read_text(), re.MULTILINE)
    dated = heading and re.fullmatch(rf"{re.escape(version)} \((\d{{4}}-\d\d-\d\d)\)", heading[1])
    if not dated:
        yield f"CHANGES.md must begin with '## {version} (YYYY-MM-DD)'"
    else:
        citation = (ROOT / "CITATION.cff").read_text()
        expected = f"version: {version}\ndate-released: {dated[1]}\n"
        if expected not in citation:
            yield f"CITATION.cff must have the version and the date of CHANGES.md: {expected!r}"
    if not any((ROOT / "tests" / "persistence" / "golden" / version).glob("*.safetensors")):
        yield f"there are no model files of {version}: run python -m tests.persistence.golden"


def problems_of_metadata(metadata: Message) -> Iterator[str]:
    """Yield what an index would not show, or show wrongly."""
    if missing := sorted(FIELDS - {*metadata.keys()}):
        yield f"the metadata have no {', '.join(missing)}"
    if metadata["License-Expression"] != "BSD-3-Clause":
        yield f"License-Expression is {metadata['License-Expression']!r}"
    if relative := LINK.findall(str(metadata.get_payload())):
        yield f"relative links in the description: {', '.join(relative)}"


def problems_of_sources(sdist: Path) -> Iterator[str]:
    """Yield what the source distribution lacks, and what it should not have."""
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    yield from (f"{sdist.name} has no {name}" for name in SOURCES if name not in names)
    made = [name for name in names if MADE.search(name)]
    yield from (f"{sdist.name} has {name}" for name in made[:3])


def main(folder: Path) -> None:
    """Print what is wrong, and exit with an error if anything is."""
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    metadata = metadata_of(wheel)
    version = metadata["Version"]
    found = [
        *problems_of_version(version),
        *problems_of_metadata(metadata),
        *problems_of_sources(sdist),
    ]
    if found:
        sys.exit("\n".join(found))
    if not metadata["Project-URL"]:
        print("Note: setup.cfg names no project_urls, so the description has no links to files.")
    print(f"{wheel.name} and {sdist.name} can be released")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
