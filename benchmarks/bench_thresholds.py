"""Threshold search: seconds at n 100,000, L 1,000; tuned and calibrated forests on real sets.

Run with ``python -m benchmarks.bench_thresholds [--json FILE] [--threads 2]``. The bars on yeast,
scene and emotions need the environment variable SKLEARN_MLCL_DATA, the folder of the real sets.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier

from benchmarks._report import Bar, report
from sklearn_mlcl import MultiLabelThresholdClassifierCV, metrics
from sklearn_mlcl.calibration import MultiLabelCalibratedClassifierCV
from sklearn_mlcl.datasets import load_npz
from sklearn_mlcl.thresholds import tune_thresholds

SEEDS = (0, 1, 2)
REPEATS = 3
FOREST = RandomForestClassifier(300, n_jobs=2)


def seconds_of(Y: np.ndarray, scores: np.ndarray, **options: Any) -> float:
    """Seconds of the fastest of a few searches."""
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        tune_thresholds(Y, scores, **options)
        taken.append(time.perf_counter() - start)
    return min(taken)


def speed(n: int = 100_000, L: int = 1_000) -> Iterator[Bar]:
    """Searches over float32 scores with 3 % positives."""
    rng = np.random.default_rng(0)
    scores = rng.random((n, L), dtype=np.float32)
    Y = rng.random((n, L), dtype=np.float32) < 0.06 * scores
    absent = Y & (np.arange(L) % 10 > 0)
    weight = rng.random(n)
    cases: list[tuple[str, float | None, np.ndarray, dict[str, Any]]] = [
        ("f1_macro per label", 5, Y, {"objective": "f1_macro"}),
        ("f1_macro per label, a tenth absent", 5, absent, {"objective": "f1_macro"}),
        (
            "f1_macro per label, weighted",
            None,
            Y,
            {"objective": "f1_macro", "sample_weight": weight},
        ),
        ("f1_micro per label", None, Y, {"objective": "f1_micro"}),
        ("accuracy per label", None, Y, {"objective": "accuracy"}),
        ("f1_micro common", None, Y, {"objective": "f1_micro", "per_label": False}),
    ]
    for name, goal, targets, options in cases:
        yield Bar(
            f"search, n {n}, L {L}: {name}", goal, seconds_of(targets, scores, **options), "s"
        )


def parts(name: str) -> tuple[np.ndarray, ...] | None:
    """Dense training and test rows of a real set, or None without the data."""
    path = Path(os.environ.get("SKLEARN_MLCL_DATA", "")) / f"{name}.npz"
    if not path.exists():
        return None
    train = load_npz(path, subset="train", return_X_y=True)
    test = load_npz(path, subset="test", return_X_y=True)
    X, Y, X_test, Y_test = (m.toarray() if sp.issparse(m) else np.asarray(m) for m in train + test)
    return X, Y.astype(np.int64), X_test, Y_test.astype(np.int64)


def gains(name: str) -> Iterator[Bar]:
    """What thresholds tuned by default add to a forest's test scores at 0.5, mean of the seeds."""
    X, Y, X_test, Y_test = parts(name)
    names = ("f1_macro", "f1_samples")
    added = []
    for seed in SEEDS:
        forest = clone(FOREST).set_params(random_state=seed)
        model = MultiLabelThresholdClassifierCV(forest, random_state=seed)
        tuned = model.fit(X, Y).predict(X_test)
        half = (model.predict_proba(X_test) >= 0.5).astype(np.int64)
        scorers = [getattr(metrics, metric) for metric in names]
        added.append([score(Y_test, tuned) - score(Y_test, half) for score in scorers])
    for metric, gain, spread in zip(names, np.mean(added, 0), np.ptp(added, 0), strict=True):
        bar = f"{name}: {metric}, tuned less at 0.5 (spread {spread:.3f})"
        yield Bar(bar, 0.05, float(gain), "", at_least=True)


def calibrated(name: str) -> Iterator[Bar]:
    """Test log loss of a calibrated forest over that of the raw one, mean of the seeds.

    The raw probabilities are kept as far from 0 and 1 as the calibration keeps them: a forest's
    zeros alone, infinitely wrong where they are wrong, would make any calibration win.
    """
    X, Y, X_test, Y_test = parts(name)
    losses: dict[str, list[float]] = {"raw": [], "platt": [], "temperature": []}
    for seed in SEEDS:
        forest = clone(FOREST).set_params(random_state=seed)
        for method in ("platt", "temperature"):
            model = MultiLabelCalibratedClassifierCV(forest, method=method, random_state=seed)
            proba = model.fit(X, Y).predict_proba(X_test)
            losses[method].append(metrics.multilabel_log_loss(Y_test, proba))
        raw = np.column_stack([p[:, 1] for p in model.estimator_.predict_proba(X_test)])
        floor = model.probability_floor_
        losses["raw"].append(metrics.multilabel_log_loss(Y_test, np.clip(raw, floor, 1 - floor)))
    raw_loss = float(np.mean(losses["raw"]))
    yield Bar(f"{name}: log loss of the forest, zeros clipped", None, raw_loss, "")
    for method in ("platt", "temperature"):
        ratio = float(np.mean(losses[method])) / raw_loss
        yield Bar(f"{name}: log loss after {method} / before", 1, ratio)


def bars() -> Iterator[Bar]:
    """All bars."""
    yield from speed()
    if parts("yeast") is None:
        print("yeast.npz not found in $SKLEARN_MLCL_DATA: the bars on real sets are not measured")
        return
    for name in ("yeast", "scene"):
        yield from gains(name)
    for name in ("yeast", "scene", "emotions"):
        yield from calibrated(name)


def main(argv: Sequence[str] | None = None) -> list[Bar]:
    """Measure, print, and write the table where ``--json`` says."""
    return report(bars, __doc__ or "", argv, threads=2)


if __name__ == "__main__":
    main()
