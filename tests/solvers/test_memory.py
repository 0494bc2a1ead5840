"""The memory budget: many rows and labels never make a temporary of all entries."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from sklearn_mlcl.solvers import fit_logistic
from tests.processes import in_process

BUDGET = 2**24
ENTRIES = 60_000 * 120


def grown() -> int:
    """Return by how many bytes two solves raise the peak of a process of their own."""
    import resource

    def solve(X: Any, Y: Any, weight: Any) -> None:
        fit_logistic(X, Y, sample_weight=weight, max_iter=1, memory_budget=BUDGET)

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60_000, 3))
    Y = rng.integers(0, 2, (60_000, 120), dtype=np.uint8)
    weight = rng.random(60_000)
    A = sp.csr_array(X)
    B = sp.random_array((60_000, 120), density=0.01, random_state=rng, format="csr")
    B.data[:] = 1.0
    solve(X[:1000], Y[:1000], weight[:1000])
    solve(A[:1000], B[:1000], None)
    before = peak()
    solve(X, Y, None)
    solve(A, B, weight)
    return peak() - before


def test_peak_stays_near_the_budget() -> None:
    # beside the budget: X in working coordinates, in both precisions, and its transpose
    assert in_process(grown) < BUDGET + 2**25 < 8 * ENTRIES
