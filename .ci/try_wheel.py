"""Install the wheel of a folder into an environment of its own, with nothing else, and use it.

    python .ci/try_wheel.py FOLDER CONSTRAINTS [ENVIRONMENT]

CONSTRAINTS is a file for pip; an empty one means the newest versions. A named environment is kept
for the next run. The wheel may have 1 MB, and may bring what README names and nothing else.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from release_check import metadata_of

LARGEST = 1_000_000
RUNTIME = {"numpy", "safetensors", "scikit-learn", "scipy", "skorch", "torch"}
SMOKE = Path(__file__).with_name("smoke.py")


def required(wheel: Path) -> set[str]:
    """Return the names that the wheel asks for without any extra."""
    lines = metadata_of(wheel).get_all("Requires-Dist", [])
    return {line.split(">=")[0].strip() for line in lines if "extra ==" not in line}


def try_out(wheel: Path, constraints: Path, folder: Path) -> None:
    """Install the wheel in an environment and run the smoke script far from the sources."""
    if not (folder / "pyvenv.cfg").is_file():
        venv.create(folder, with_pip=True)
    python = next(folder.glob("[bS]*/python*")).absolute()
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", constraints]
    subprocess.run([*install, wheel], check=True)
    # The environment may have an earlier wheel of the same version.
    subprocess.run([*install, "--force-reinstall", "--no-deps", wheel], check=True)
    subprocess.run([python, "-m", "pip", "check"], check=True)
    subprocess.run([python, "-W", "error", SMOKE], cwd=folder, check=True)


def main(folder: Path, constraints: Path, environment: Path | None = None) -> None:
    """Check the wheel's size and requirements, then use it."""
    (wheel,) = folder.glob("*.whl")
    size = wheel.stat().st_size
    if size > LARGEST:
        sys.exit(f"{wheel.name} has {size} bytes, more than {LARGEST}")
    if required(wheel) != RUNTIME:
        sys.exit(f"{wheel.name} asks for {sorted(required(wheel))}, not for {sorted(RUNTIME)}")
    if environment:
        try_out(wheel.resolve(), constraints.resolve(), environment)
    else:
        with tempfile.TemporaryDirectory() as name:
            try_out(wheel.resolve(), constraints.resolve(), Path(name))
    print(f"{wheel.name}: {size / 1000:.0f} kB, asks for {', '.join(sorted(RUNTIME))}; it works")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
