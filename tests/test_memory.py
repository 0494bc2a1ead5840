"""Peaks of memory of fits and predictions, as the page on reliability states them."""

from __future__ import annotations

import ctypes
import re
import tracemalloc
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sklearn_mlcl import ContrastiveMultiLabelClassifier, MultiLabelLogisticRegression
from sklearn_mlcl.utils import fit_data
from tests.processes import in_process
from tests.small import PLAIN, every_classifier, small

N, D, L = 6_000, 200, 400
#: Bytes for each cell of X and of Y in a fit, for each cell of the answer in a prediction, and what
#: chunks of samples take in both.
PEAKS: dict[str, tuple[Any, int, int, int, int]] = {
    "logistic": (MultiLabelLogisticRegression(), 36, 10, 13, 0),
    "contrastive": (
        ContrastiveMultiLabelClassifier(hidden_layer_sizes=(32,), max_epochs=1), 16, 85, 13, 2**28
    ),
}  # fmt: skip
#: What else small arrays take.
SMALL = 2**25


def memory(name: str) -> int:
    """Return the bytes that the system says this process has."""
    status = Path("/proc/self/status").read_text()
    found = re.search(name + r":\s+(\d+)", status)
    assert found is not None
    return 1024 * int(found[1])


def peak_of(call: Callable[[], Any]) -> int:
    getattr(ctypes.CDLL(None), "malloc_trim", int)(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory("VmRSS")
    call()
    return memory("VmHWM") - before


def peaks() -> dict[str, tuple[int, int]]:
    """Return the peaks of fits and predictions, in a process that does nothing else."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, D), dtype=np.float32)
    Y = (rng.random((N, L), dtype=np.float32) < 0.1).astype(np.uint8)
    found = {}
    for name, (clf, *_) in PEAKS.items():
        clf.fit(X[:200], Y[:200]).predict_proba(X[:200])
        found[name] = peak_of(partial(clf.fit, X, Y)), peak_of(partial(clf.predict_proba, X))
    return found


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux says peaks")
def test_peaks_stay_near_those_of_the_page() -> None:
    for name, (fit, prediction) in in_process(peaks).items():
        _, of_X, of_Y, of_answer, of_chunks = PEAKS[name]
        assert fit < of_X * N * D + of_Y * N * L + of_chunks + SMALL, name
        assert prediction < of_answer * N * L + of_chunks + SMALL, name


@every_classifier
def test_a_fit_keeps_a_byte_for_each_label(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came as float32 with NaN is not copied. Half a byte is for blocks."""
    monkeypatch.setattr(fit_data, "COUNTED_AT_ONCE", 2**16)
    Y = np.zeros((2_000, 1_000), dtype=np.int64)
    Y[::10] = 1
    missing = Y.astype(np.float32)
    missing[::7] = np.nan
    X = np.random.default_rng(0).random((len(Y), 1), dtype=np.float32)
    known = make().get_params()
    quick: dict[str, Any] = PLAIN | {"batch_size": 500, "max_epochs": 1, "lambda_contrastive": 0.0}
    clf = small(make, **{name: value for name, value in quick.items() if name in known})
    clf.fit(X[:100], Y[:100])  # imports
    for y, n_bytes in ((Y, 1), (missing, 0)):
        tracemalloc.start()
        clf.fit(X, y)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < (n_bytes + 0.7) * Y.size
