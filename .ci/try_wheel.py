"""Install the wheel of a folder into an environment of its own, with nothing else, and use it.

    python .ci/try_wheel.py FOLDER CONSTRAINTS

The wheel may have 1 MB, and may bring what README names and nothing else.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

LARGEST = 1_000_000
RUNTIME = {"numpy", "safetensors", "scikit-learn", "scipy", "skorch", "torch"}
SMOKE = Path(__file__).with_name("smoke.py")


def required(wheel: Path) -> set[str]:
    """Return the names that the wheel asks for without any extra."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        message = Parser().parsestr(archive.read(metadata).decode())
    lines = message.get_all("Requires-Dist", [])
    return {line.split(">=")[0].strip() for line in lines if "extra ==" not in line}


def try_out(wheel: Path, constraints: Path) -> None:
    """Install the wheel in a new environment and run the smoke script far from the sources."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = next(Path(folder).glob("[bS]*/python*"))
        install = [python, "-m", "pip", "install", "--quiet", "--constraint", constraints, wheel]
        subprocess.run(install, check=True)
        subprocess.run([python, "-m", "pip", "check"], check=True)
        subprocess.run([python, "-W", "error", SMOKE], cwd=folder, check=True)


def main(folder: Path, constraints: Path) -> None:
    (wheel,) = folder.glob("*.whl")
    size = wheel.stat().st_size
    if size > LARGEST:
        sys.exit(f"{wheel.name} has {size} bytes, more than {LARGEST}")
    if required(wheel) != RUNTIME:
        sys.exit(f"{wheel.name} asks for {sorted(required(wheel))}, not for {sorted(RUNTIME)}")
    try_out(wheel.resolve(), constraints.resolve())
    print(f"{wheel.name}: {size / 1000:.0f} kB, asks for {', '.join(sorted(RUNTIME))}; it works")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
