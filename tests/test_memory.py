"""Peaks of memory of fits and predictions, as the page on reliability states them."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sklearn_mlcl.utils import fit_data
from tests.small import PLAIN, every_classifier, small

N, D, L = 6_000, 200, 400
#: Bytes for each cell of X and of Y in a fit, for each cell of the answer in a prediction, and
#: what chunks of samples take in both.
PEAKS = {
    "MultiLabelLogisticRegression()": (36, 10, 13, 0),
    "ContrastiveMultiLabelClassifier(hidden_layer_sizes=(32,), max_epochs=1)": (16, 85, 13, 2**28),
}
#: What else small arrays take.
SMALL = 2**25

SCRIPT = f"""
import ctypes, json, re, sys, warnings
from pathlib import Path
import numpy as np
import torch
from sklearn_mlcl import ContrastiveMultiLabelClassifier, MultiLabelLogisticRegression

torch.set_num_threads(1)
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
X = rng.standard_normal(({N}, {D}), dtype=np.float32)
Y = (rng.random(({N}, {L}), dtype=np.float32) < 0.1).astype(np.uint8)

def memory(name):
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(name + r":\\s+(\\d+)", status)[1])

def peak_of(call):
    getattr(ctypes.CDLL(None), "malloc_trim", int)(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory("VmRSS")
    call(X)
    return memory("VmHWM") - before

peaks = {{}}
for name in sys.argv[1:]:
    clf = eval(name)
    clf.fit(X[:200], Y[:200]).predict_proba(X[:200])
    peaks[name] = peak_of(lambda X: clf.fit(X, Y)), peak_of(clf.predict_proba)
print(json.dumps(peaks))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux says peaks")
def test_peaks_stay_near_those_of_the_page() -> None:
    command = [sys.executable, "-c", SCRIPT, *PEAKS]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for clf, (fit, prediction) in json.loads(done.stdout).items():
        of_X, of_Y, of_answer, of_chunks = PEAKS[clf]
        assert fit < of_X * N * D + of_Y * N * L + of_chunks + SMALL, clf
        assert prediction < of_answer * N * L + of_chunks + SMALL, clf


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
