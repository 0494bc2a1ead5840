"""Many fits and loads in one process; see ``tests.fuzz_soak``."""

from __future__ import annotations

from tests.fuzz_soak import soak
from tests.processes import in_process


def test_a_short_run() -> None:
    """Memory is that of a process of its own, where nothing else comes and goes."""
    assert in_process(soak, "MultiLabelMLPClassifier", 6, 60) == []
