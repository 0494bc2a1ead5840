"""Defaults on few embeddings: 288 training rows, against logistic regressions.

``python -m benchmarks.study_few_rows --texts PATH`` prints, and writes to ``doc/_data``, how far
the scores of our estimators are from those of one-vs-rest logistic regressions. Rows to learn from
and rows to score are both drawn from the training rows; no test rows are used. Embeddings are those
of titles (``benchmarks/_pretrained_data.py``) and latent semantics of words (``enron/lsa``), which
is looked for in the directory that the environment variable SKLEARN_MLCL_DATA names.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks._accuracy_fit import loaded, scores_at, tuned_thresholds
from benchmarks._pretrained_data import read_titles, with_embeddings
from sklearn_mlcl import (
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
)
from sklearn_mlcl.metrics import average_precision
from sklearn_mlcl.model_selection import (
    MultilabelStratifiedKFold,
    MultilabelStratifiedShuffleSplit,
)
from sklearn_mlcl.solvers import select_C

N_ROWS, N_SCORED, N_SEEDS, N_FOLDS = 288, 1_500, 3, 3
CS = tuple(10.0 ** (power / 2) for power in range(-8, 5))
SCORES = {"f1_micro": "micro-F1", "f1_samples": "example-F1", "f1_macro": "macro-F1", "map": "mAP"}
#: Labels of the titles, the most frequent ones.
TITLES = {"titles, 28 labels": 28, "titles, 90 labels": 90}
WORDS = ("enron/lsa",)
OURS: dict[str, Callable[[int], BaseEstimator]] = {
    "contrastive": lambda seed: ContrastiveMultiLabelClassifier(random_state=seed),
    "contrastive, asl": lambda seed: ContrastiveMultiLabelClassifier(
        loss_params={"joint_loss": "asl"}, random_state=seed
    ),
    "MLP": lambda seed: MultiLabelMLPClassifier(random_state=seed),
    "MLP, asl": lambda seed: MultiLabelMLPClassifier(loss="asl", random_state=seed),
}
Held = tuple[np.ndarray, np.ndarray]


def logistic(X: np.ndarray, Y: np.ndarray, X_scored: np.ndarray, seed: int) -> Held:
    """Return held-out and new probabilities of regressions, with one C by the log loss of folds."""
    scaler = StandardScaler().fit(X)
    X, X_scored = scaler.transform(X), scaler.transform(X_scored)
    folds = MultilabelStratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    splits = [*folds.split(X, Y)]
    loss = select_C(X, Y, CS, cv=splits, tol=1e-6).log_loss.sum(axis=1)
    heads = MultiLabelLogisticRegression(C=CS[int(loss.argmin())], tol=1e-6)
    held_out = np.empty(Y.shape)
    for fitted, rest in splits:
        held_out[rest] = heads.fit(X[fitted], Y[fitted]).predict_proba(X[rest])
    return held_out, heads.fit(X, Y).predict_proba(X_scored)


def of_estimator(clf: BaseEstimator, X: np.ndarray, Y: np.ndarray, X_scored: np.ndarray) -> Held:
    """Return out-of-fold and new probabilities of a fit."""
    clf.fit(X, Y)
    return clf.oof_proba_, clf.predict_proba(X_scored)


def scores(Y: np.ndarray, held_out: np.ndarray, Y_scored: np.ndarray, proba: np.ndarray) -> dict:
    """Return mAP, and each F1 at the threshold that held-out rows choose for it."""
    known = ~np.isnan(held_out).any(axis=1)
    found = scores_at(Y_scored, proba, tuned_thresholds(Y[known], held_out[known]))
    return {**found, "map": average_precision(Y_scored, proba)}


def gains(X: np.ndarray, Y: np.ndarray, seed: int) -> Iterator[dict]:
    """Yield how far each of our estimators is from the regressions, by score."""
    splitter = MultilabelStratifiedShuffleSplit(1, train_size=N_ROWS, random_state=seed)
    fitted, rest = next(splitter.split(np.zeros((len(Y), 1)), Y))
    rest = np.random.default_rng(seed).permutation(rest)[:N_SCORED]
    parts = X[fitted], Y[fitted], X[rest]
    held_out, proba = logistic(*parts, seed)
    reference = scores(Y[fitted], held_out, Y[rest], proba)
    for name, make in OURS.items():
        held_out, proba = of_estimator(make(seed), *parts)
        own = scores(Y[fitted], held_out, Y[rest], proba)
        yield {"estimator": name, **{t: own[n] - reference[n] for n, t in SCORES.items()}}


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).parents[1]
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--embeddings", type=Path, default=root / "benchmarks" / "results")
    parser.add_argument("--table", type=Path, default=root / "doc" / "_data" / "few_rows.csv")
    options = parser.parse_args()
    titles = with_embeddings(read_titles(options.texts), options.embeddings)
    sets = {name: (titles.E, titles.Y[:, :n]) for name, n in TITLES.items()}
    sets |= {name: (data.X, data.Y) for name in WORDS for data in [loaded(name, 0)]}
    torch.set_num_threads(1)
    rows = []
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*labels? have a single value")
        for name, (X, Y) in sets.items():
            rows += [{"set": name, **r} for seed in range(N_SEEDS) for r in gains(X, Y, seed)]
    table = pd.DataFrame(rows).groupby(["set", "estimator"], sort=False).mean().round(3)
    print(table.to_string())
    table.to_csv(options.table, float_format="%+.3f")


if __name__ == "__main__":
    main()
