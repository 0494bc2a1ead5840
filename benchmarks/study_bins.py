"""What quantile bins of few dense features are worth, on held-out training samples.

``python -m benchmarks.study_bins`` writes the table that ``doc/choosing.rst`` shows. Of each data
set 30 % of the training samples are held out, three times, and the default is fitted with and
without bins on the rest. No test samples are used. waterquality, emotions and yeast are looked for
in the directory that the environment variable SKLEARN_MLCL_DATA names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from threadpoolctl import threadpool_limits

from benchmarks.study_losses import found, load
from sklearn_mlcl import ContrastiveMultiLabelClassifier
from sklearn_mlcl.metrics._probabilities import held_out_scores
from sklearn_mlcl.model_selection import MultilabelStratifiedShuffleSplit

SETS = ("waterquality", "emotions", "yeast")
N_SPLITS, HELD_OUT = 3, 0.3
TABLE = Path(__file__).parents[1] / "doc" / "_data" / "bins.csv"
#: Bins of a feature of yeast, which has none by default.
BINS_OF_YEAST = 2
SCORES = {
    "f1_samples": "example-F1",
    "f1_micro": "micro-F1",
    "f1_macro": "macro-F1",
    "average_precision": "mAP",
    "log_loss": "log loss",
}

Samples = tuple[np.ndarray, np.ndarray]


def above(values: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """Return whether each value is above quantiles of its column, a label for each of those."""
    return np.concatenate([values > np.quantile(values, q, axis=0) for q in shares], axis=1)


def digits() -> Samples:
    """Return digits of 4 x 4 pixels and five properties of the number."""
    data = load_digits()
    X = data.images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
    groups = ((0, 2, 4, 6, 8), (2, 3, 5, 7), (5, 6, 7, 8, 9), (0, 6, 8, 9), (0, 3, 6, 9))
    return X, np.stack([np.isin(data.target, group) for group in groups], axis=1)


def breast_cancer() -> Samples:
    """Return means and errors of ten sizes; labels are large worst ones, and the diagnosis."""
    X, y = load_breast_cancer(return_X_y=True)
    return X[:, :20], np.column_stack([y == 1, above(X[:, 20:], (0.75,))])


def wine() -> Samples:
    """Return eight features; labels are large values of five others, and the class."""
    X, y = load_wine(return_X_y=True)
    return X[:, :8], np.column_stack([y[:, None] == np.arange(3), above(X[:, 8:], (0.7,))])


def diabetes() -> Samples:
    """Return four features; labels are large values of six others and of the target."""
    X, y = load_diabetes(return_X_y=True)
    return X[:, :4], np.column_stack([above(X[:, 4:], (0.7,)), above(y[:, None], (0.5, 0.75))])


def drawn(kind: str) -> Samples:
    """Return 1,500 samples of 12 features, whose effects on 8 labels are of one kind."""
    rng = np.random.default_rng(0)
    X, (w, c) = rng.standard_normal((1500, 12)), rng.standard_normal((2, 12, 8))
    x = X[:, :, None]
    # A feature has an effect on four of ten labels.
    w = w * (rng.random(w.shape) < 0.4)
    effects = {
        "bumps": 3 * np.exp(-np.square((x - c) / 0.5)),
        "steps": 2 * (x > c),
        "lines": x,
        "products": x * np.roll(x, 1, axis=1),
    }
    z = (w * effects[kind]).sum(axis=1)
    z -= np.quantile(z, 0.65, axis=0)
    return X, rng.random(z.shape) < 1 / (1 + np.exp(-z))


TABLES: dict[str, Callable[[], Samples]] = {
    "digits": digits,
    "breast cancer": breast_cancer,
    "wine": wine,
    "diabetes": diabetes,
    **{kind: lambda kind=kind: drawn(kind) for kind in ("bumps", "steps", "lines", "products")},
}


def training_samples(name: str) -> Samples:
    """Return features and labels of a data set, those of its training part alone."""
    if name in TABLES:
        X, Y = TABLES[name]()
        return X.astype(np.float32), Y.astype(np.int64)
    data = load(name)
    return data.X, data.Y


def gains(name: str) -> dict[str, str | int]:
    """Return how much bins change each score, in thousandths, with the standard error."""
    X, Y = training_samples(name)
    n_bins = BINS_OF_YEAST if name == "yeast" else "auto"
    splitter = MultilabelStratifiedShuffleSplit(N_SPLITS, test_size=HELD_OUT, random_state=0)
    changes = []
    for seed, (train, test) in enumerate(splitter.split(X, Y)):
        without, binned = (
            scores(X[train], Y[train], X[test], Y[test], bins, seed) for bins in (0, n_bins)
        )
        changes.append([1000 * (binned[score] - without[score]) for score in SCORES])
    means, deviations = np.mean(changes, axis=0), np.std(changes, axis=0, ddof=1)
    cells = [
        f"{mean:+.0f} ± {error:.0f}"
        for mean, error in zip(means, deviations / np.sqrt(N_SPLITS), strict=True)
    ]
    return {"data set": name, "features": X.shape[1]} | dict(
        zip(SCORES.values(), cells, strict=True)
    )


def scores(
    X: np.ndarray, Y: np.ndarray, X_test: np.ndarray, Y_test: np.ndarray, n_bins: object, seed: int
) -> dict[str, float]:
    """Return the scores of a fit, decisions by its own threshold."""
    clf = ContrastiveMultiLabelClassifier(net_params={"n_bins": n_bins}, random_state=seed)
    clf.fit(X, Y)
    return held_out_scores(Y_test, clf.predict_proba(X_test), clf.threshold_)


def main() -> None:
    """Write the table."""
    with threadpool_limits(1):
        rows = [gains(name) for name in (*found(SETS), *TABLES)]
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    table.to_csv(TABLE, index=False)


if __name__ == "__main__":
    main()
