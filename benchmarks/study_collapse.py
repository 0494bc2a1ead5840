"""What breaks the geometry of multi-label collapse, and what decoding by it is worth.

``python -m benchmarks.study_collapse`` writes the tables that ``doc/collapse.rst`` shows; parts are
named on the command line (``ufm digits sets``). The sets are looked for in the directory that the
environment variable SKLEARN_MLCL_DATA names.

- ``ufm``: free features and a linear head at the minimum of the penalised pick-all-label loss, on
  label sets that are balanced, uneven between the numbers of labels, or uneven within one.
- ``digits``: nets on composed digits whose training rows are uneven in the same ways.
- ``sets``: emotions, scene, yeast and the digits: rules of decision under cross-entropy and under
  the pick-all-label loss. Thresholds, priors and the choice of "auto" come from held-out training
  rows of the fit itself; the official test rows are scored once. Means of three seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from threadpoolctl import threadpool_limits

from benchmarks.bench_onn import NEAREST, PAL_ETF, SHIPPED, available, best_cut, load, softmax_of
from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.collapse import (
    etf_deviation,
    fit_tag_prototypes,
    neural_collapse_metrics,
)
from sklearn_mlcl.datasets import make_multilabel_digits
from sklearn_mlcl.metrics import f1_micro, jaccard_samples, subset_accuracy
from sklearn_mlcl.model_selection import MultilabelStratifiedShuffleSplit
from sklearn_mlcl.recipes import PAL_COLLAPSE

SEEDS = range(3)
DATA = Path(__file__).parents[1] / "doc" / "_data"

# ---------------------------------------------------------------------- free features

Counts = dict[tuple[int, ...], int]


def rows_per_set(K: int, per_size: dict[int, int]) -> Counts:
    """Return as many rows for every label set of a size."""
    return {S: n for m, n in per_size.items() for S in combinations(range(K), m)}


def with_singles(counts: Counts, singles: Sequence[int]) -> Counts:
    """Return the counts with other numbers of single-label rows."""
    return {**counts, **{(k,): n for k, n in enumerate(singles) if n}}


def uneven_pairs(K: int) -> Counts:
    """Return seven rows a label, and 20, 6 or 2 rows a pair in turn."""
    pairs = list(combinations(range(K), 2))
    return {**rows_per_set(K, {1: 7}), **{S: (20, 6, 2)[i % 3] for i, S in enumerate(pairs)}}


BALANCED = rows_per_set(5, {1: 7, 2: 4, 3: 3})
#: Layout -> (rows of every label set, dimensions of the features).
LAYOUTS: dict[str, tuple[Counts, int]] = {
    "balanced": (BALANCED, 8),
    "between sizes: 40, 4, 1 rows a set": (rows_per_set(5, {1: 40, 2: 4, 3: 1}), 8),
    "pairs alone": (rows_per_set(5, {2: 4}), 8),
    "within pairs: 20, 6, 2 rows": (uneven_pairs(5), 8),
    "within singles: 30, 12, 7, 4, 2 rows": (
        with_singles(rows_per_set(5, {1: 7, 2: 4}), (30, 12, 7, 4, 2)), 8,
    ),
    "within singles: 60, 20, 10, 5, 1 rows": (
        with_singles(rows_per_set(5, {1: 7, 2: 4}), (60, 20, 10, 5, 1)), 8,
    ),
    "balanced, 3 dimensions": (BALANCED, 3),
}  # fmt: skip


def free_optimum(counts: Counts, d: int, penalty: float = 5e-3) -> tuple[np.ndarray, np.ndarray]:
    """Return classifier rows (K, d) and the feature (U, d) of every label set at the minimum.

    Rows of one set share their feature: the loss is strictly convex in the features.
    """
    K = 1 + max(max(S) for S in counts)
    Y = np.array([[float(k in S) for k in range(K)] for S in counts])
    share = np.array(list(counts.values())) / sum(counts.values())
    m = Y.sum(axis=1)

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        W, H = np.split(flat.reshape(-1, d), [K])
        logits = H @ W.T
        loss = -(share[:, None] * Y * log_softmax(logits, axis=1)).sum()
        loss += penalty * ((W**2).sum() + share @ (H**2).sum(axis=1))
        G = share[:, None] * (m[:, None] * softmax(logits, axis=1) - Y)
        dW = G.T @ H + 2 * penalty * W
        dH = G @ W + 2 * penalty * share[:, None] * H
        return float(loss), np.concatenate([dW, dH]).ravel()

    start = np.random.default_rng(0).standard_normal((K + len(counts)) * d)
    options = {"maxiter": 20000, "maxfun": 40000, "ftol": 1e-16, "gtol": 1e-11, "maxcor": 50}
    found = minimize(value, start, jac=True, method="L-BFGS-B", options=options).x
    W, H = np.split(found.reshape(-1, d), [K])
    return W, H


def angle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Angles in degrees between the rows."""
    u, v = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (u, v))
    return np.degrees(2 * np.arctan2(np.linalg.norm(u - v, axis=1), np.linalg.norm(u + v, axis=1)))


def ufm_row(counts: Counts, d: int) -> dict[str, float]:
    """Return how far the optimum of a layout is from the geometry of the balanced one."""
    W, H = free_optimum(counts, d)
    Y = np.array([[int(k in S) for k in range(len(W))] for S in counts])
    weight = np.array(list(counts.values()), dtype=float)
    tags = fit_tag_prototypes(H, Y, sample_weight=weight)
    larger = Y.sum(axis=1) > 1
    return {
        "classifier off the simplex": etf_deviation(W),
        "tags off the simplex": etf_deviation(tags.tags),
        "tags off the classifier": etf_deviation(W, tags.tags),
        "largest angle to sums of tags": angle(
            H[larger] - tags.intercept, Y[larger] @ tags.tags
        ).max(),
        "largest angle to sums of classifier rows": angle(
            H[larger], Y[larger] @ (W - W.mean(axis=0))
        ).max(),
    }


def ufm_table() -> pd.DataFrame:
    """Return a line for each layout."""
    return pd.DataFrame({name: ufm_row(*layout) for name, layout in LAYOUTS.items()}).T.rename_axis(
        "rows"
    )


# ---------------------------------------------------------------------- digits


def thinned(Y: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Rows of which the label sets of a size keep a share that falls with the set, to a tenth."""
    rng = np.random.default_rng(seed)
    sets, of_row = np.unique(Y, axis=0, return_inverse=True)
    at = np.flatnonzero(sets.sum(axis=1) == size)
    share = np.ones(len(sets))
    share[rng.permutation(at)] = np.geomspace(1.0, 0.1, len(at))
    return np.flatnonzero(rng.random(len(Y)) < share[of_row])


def digit_rows(layout: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return training rows of a layout; the test digits are those of the default set."""
    per_set = {"between sizes": (200, 4, 1), "pairs and triples": (0, 20, 5)}
    if layout in per_set:
        return make_multilabel_digits(per_set[layout], subset="train", return_X_y=True)
    data = load("digits")
    if layout == "balanced":
        return data.X, data.Y
    rows = thinned(data.Y, {"within singles": 1, "within pairs": 2}[layout], seed)
    return data.X[rows], data.Y[rows]


DIGIT_LAYOUTS = (
    "balanced", "between sizes", "within singles", "within pairs", "pairs and triples",
)  # fmt: skip


METRICS = {
    "nc2_w": "classifier off the simplex",
    "nc2_h": "tags off the simplex",
    "nc3": "tags off the classifier",
    "phi_rmse": "cosines off phi",
}


def digits_row(layout: str, seed: int) -> dict[str, float]:
    """Return metrics of the training rows and scores of the test digits."""
    X, Y = digit_rows(layout, seed)
    test = load("digits")
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=0.1, random_state=seed)
    fitted, cut_rows = next(splitter.split(X, Y))
    clf = MultiLabelMLPClassifier(**PAL_COLLAPSE, decision=NEAREST, random_state=seed)
    clf.fit(X[fitted], Y[fitted])
    W = clf.net_.criterion_.head.weight.detach().numpy()
    report = neural_collapse_metrics(clf.transform(X[fitted]), Y[fitted], W)
    cut = best_cut(Y[cut_rows], softmax_of(clf, X[cut_rows]))
    return {
        "training rows": len(X),
        **{title: report[name] for name, title in METRICS.items()},
        "Jaccard, nearest prototype": jaccard_samples(test.Y_test, clf.predict(test.X_test)),
        "Jaccard, softmax cut": jaccard_samples(test.Y_test, softmax_of(clf, test.X_test) >= cut),
    }


def digits_table() -> pd.DataFrame:
    """Return a line for each layout, means over the seeds."""
    lines = {
        name: pd.DataFrame([digits_row(name, seed) for seed in SEEDS]).mean()
        for name in DIGIT_LAYOUTS
    }
    return pd.DataFrame(lines).T.rename_axis("rows").astype({"training rows": int})


# ---------------------------------------------------------------------- sets

MODELS: dict[str, dict[str, Any]] = {
    "cross-entropy": SHIPPED,
    "pick-all-label": {**SHIPPED, "loss": "pal"},
    "pick-all-label, collapse": PAL_COLLAPSE,
    "pick-all-label, fixed frame": PAL_ETF,
}
SCORES: dict[str, Callable[..., float]] = {
    "micro-F1": f1_micro,
    "Jaccard": jaccard_samples,
    "subset accuracy": subset_accuracy,
}


def sets_row(name: str, model: str, seed: int) -> dict[str, float]:
    """Return the scores of both rules of one fit on the test rows, and which one "auto" took."""
    data = load(name)
    clf = MultiLabelMLPClassifier(**MODELS[model], decision="auto", random_state=seed)
    clf.fit(data.X, data.Y)
    predicted = {
        "threshold": (clf.predict_proba(data.X_test) >= clf.threshold_).astype(int),
        "prototype": clf.decoder_.decode(clf.transform(data.X_test)).toarray(),
    }
    scores = {
        f"{score}, {rule}": f(data.Y_test, P)
        for score, f in SCORES.items()
        for rule, P in predicted.items()
    }
    tag_r2 = neural_collapse_metrics(clf.transform(data.X), data.Y)["tag_r2"]
    took = float(clf.decision_.rule == "onn")
    return {**scores, "R² of the tag model": tag_r2, "auto took the prototype": took}


def sets_table() -> pd.DataFrame:
    """Return a line for each set and model, means over the seeds."""
    rows = [
        {"set": name, "model": model, **sets_row(name, model, seed)}
        for name in available()
        for model in MODELS
        for seed in SEEDS
    ]
    return pd.DataFrame(rows).groupby(["set", "model"], sort=False).mean()


# ---------------------------------------------------------------------- all

PARTS: dict[str, Callable[[], pd.DataFrame]] = {
    "ufm": ufm_table,
    "digits": digits_table,
    "sets": sets_table,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Compute, print and write the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    options = parser.parse_args(argv)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part named {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    DATA.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for name in options.parts or PARTS:
            table = PARTS[name]()
            print(table.to_string(float_format="%.3f"), flush=True)
            table.to_csv(DATA / f"study_collapse_{name}.csv", float_format="%.3f")


if __name__ == "__main__":
    main()
