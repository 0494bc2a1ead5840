"""Many fits and loads in one process; see ``tests.fuzz_soak``."""

from __future__ import annotations

import subprocess
import sys


def test_a_short_run() -> None:
    """Memory is that of a process of its own, where nothing else comes and goes."""
    command = [sys.executable, "-m", "tests.fuzz_soak", "MultiLabelMLPClassifier", "6", "60"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
