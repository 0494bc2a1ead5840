"""Hidden labels: masked against filled with zeros, 40 % of yeast's labels hidden at random.

Run with ``python -m benchmarks.bench_missing [--json FILE]``; needs the environment variable
SKLEARN_MLCL_DATA, the folder of the real sets.

The training labels are hidden cell by cell; test labels are all known. Masked fits see NaN, filled
ones 0, which is what a matrix without a mark for "unknown" says. Both get one threshold a label,
tuned on cross-fitted training rows, each on the labels that it was given: for macro-F1, which is
what is measured, and for micro-F1, the default of MultiLabelThresholdClassifierCV. As a comparison,
the filled fits also get thresholds tuned on the known cells alone: that is how much of the
difference the thresholds make.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks._report import Bar, report
from benchmarks.bench_thresholds import parts
from sklearn_mlcl import ContrastiveMultiLabelClassifier, MultiLabelMLPClassifier
from sklearn_mlcl.metrics import f1_macro
from sklearn_mlcl.model_selection import MultilabelStratifiedKFold, cross_val_predict
from sklearn_mlcl.thresholds import tune_thresholds

SEEDS = (0, 1, 2)
HIDDEN = 0.4
FOLDS = 3
ESTIMATORS = {"mlp": MultiLabelMLPClassifier, "contrastive": ContrastiveMultiLabelClassifier}
#: What thresholds are tuned for, and the goal for the gain of masking.
OBJECTIVES = {"f1_macro": 0.02, "f1_micro": None}
#: The labels of a fit and those that its thresholds are tuned on, as places in (masked, filled).
WAYS = {"masked": (0, 0), "filled": (1, 1), "filled, thresholds on known cells": (1, 0)}


def hidden(Y: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return labels with NaN in place of a share of the cells, drawn at random."""
    unknown = np.random.default_rng(seed).random(Y.shape) < share
    return np.where(unknown, np.nan, Y)


def scores_of(
    Estimator: Any, data: tuple[np.ndarray, ...], seed: int
) -> dict[tuple[str, str], float]:
    """Return the test macro-F1 by objective of the thresholds and way to treat hidden labels."""
    X, Y, X_test, Y_test = data
    masked = hidden(Y, HIDDEN, seed)
    given = (masked, np.nan_to_num(masked))
    cv = MultilabelStratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    model = Estimator(random_state=seed)
    held_out = [cross_val_predict(model, X, labels, cv=cv) for labels in given]
    test = [model.fit(X, labels).predict_proba(X_test) for labels in given]
    scores = {}
    for objective in OBJECTIVES:
        for way, (fitted_on, tuned_on) in WAYS.items():
            cuts = tune_thresholds(given[tuned_on], held_out[fitted_on], objective=objective)
            decided = (test[fitted_on] >= cuts).astype(int)
            scores[objective, way] = f1_macro(Y_test, decided)
    return scores


def bars() -> Iterator[Bar]:
    """Mean gain of masking over the seeds, and the macro-F1 of every way."""
    data = parts("yeast")
    if data is None:
        print("yeast.npz not found in $SKLEARN_MLCL_DATA: nothing is measured")
        return
    for name, Estimator in ESTIMATORS.items():
        found = [scores_of(Estimator, data, seed) for seed in SEEDS]
        for objective, goal in OBJECTIVES.items():
            by_way = {way: np.array([s[objective, way] for s in found]) for way in WAYS}
            for way, values in by_way.items():
                yield Bar(
                    f"{name}, for {objective}: {way}{_spread(values)}",
                    None,
                    float(values.mean()),
                    "",
                )
            gain = by_way["masked"] - by_way["filled"]
            text = f"{name}, for {objective}: masked less filled{_spread(gain)}"
            yield Bar(text, goal, float(gain.mean()), "", at_least=True)


def _spread(values: np.ndarray) -> str:
    return f" (spread {np.ptp(values):.3f})"


def main(argv: Sequence[str] | None = None) -> list[Bar]:
    """Measure, print, and write the table where ``--json`` says."""
    return report(bars, __doc__ or "", argv)


if __name__ == "__main__":
    main()
