"""A joint fit on yeast against RealMLP-TD-S, one net per label, from pytabkit.

RealMLP takes no label matrix. Two of the fourteen labels are fitted and the time is scaled to all.
Needs pytabkit and SKLEARN_MLCL_DATA, the folder of the real data sets.

    python -m benchmarks.bench_realmlp [--json FILE] [--threads 1]
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks._report import Bar, report
from sklearn_mlcl import ContrastiveMultiLabelClassifier
from sklearn_mlcl.datasets import fetch_multilabel

LABELS_FITTED = (0, 6)
REPEATS = 3


def realmlp() -> Any | None:
    """Return the peer as it comes, None without pytabkit."""
    try:
        from pytabkit import RealMLP_TD_S_Classifier
    except ImportError:
        return None
    return RealMLP_TD_S_Classifier(device="cpu", random_state=0, n_threads=1)


def seconds_of(fit: Any) -> float:
    """Return the seconds of a call, warnings of the peer aside."""
    start = perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit()
    return perf_counter() - start


def bars() -> Iterator[Bar]:
    """The one bar, or a word about what is missing."""
    peer = realmlp()
    if peer is None or "SKLEARN_MLCL_DATA" not in os.environ:
        print("pytabkit or $SKLEARN_MLCL_DATA is missing: RealMLP is not measured")
        return
    X, Y = fetch_multilabel("yeast", subset="train", return_X_y=True)
    X, Y = np.asarray(X, dtype=np.float32), np.asarray(Y)
    ours = ContrastiveMultiLabelClassifier(random_state=0)
    ours.fit(X, Y)  # what a process does once is not counted
    joint = min(seconds_of(lambda: ours.fit(X, Y)) for _ in range(REPEATS))
    each = np.mean([seconds_of(lambda label=k: peer.fit(X, Y[:, label])) for k in LABELS_FITTED])
    config = {
        "set": "yeast, training rows",
        "ours": "ContrastiveMultiLabelClassifier()",
        "peer": f"RealMLP_TD_S_Classifier, {len(LABELS_FITTED)} labels, scaled to {Y.shape[1]}",
    }
    ratio = float(each * Y.shape[1] / joint)
    yield Bar("yeast: RealMLP-TD-S per label / joint fit", 10, ratio, "x", True, config)
    yield Bar("yeast: joint fit", None, joint, "s", config=config)
    yield Bar("yeast: RealMLP-TD-S, one label", None, float(each), "s", config=config)


def main(argv: Sequence[str] | None = None) -> list[Bar]:
    """Measure, print, and write the table where ``--json`` says."""
    return report(bars, __doc__ or "", argv, threads=1)


if __name__ == "__main__":
    main()
