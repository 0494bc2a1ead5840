"""The batched logistic heads against scikit-learn's one-vs-rest fits: same optimum, and time.

Run with ``python -m benchmarks.bench_heads [--json FILE] [--threads 2]``. The bars on bibtex and
delicious need the environment variable SKLEARN_MLCL_DATA, the folder of the real data sets.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from benchmarks._report import Bar, interleaved, median_ratio, report
from sklearn_mlcl.solvers import LogisticSolution, fit_logistic, fit_logistic_path

REPEATS = 3
# The times compare solutions of equal objective to 1e-8, for which this is ample (tol ** 2).
TOL = 1e-6
# At this tolerance the objective of lbfgs is within 1e-8 of the optimum; at its default it is not.
EQUAL_TOL = 1e-6
PATH = [10.0**k for k in range(-3, 4)]
DENSE = {"rows": 10_000, "features": 128, "C": 1.0, "tol": TOL, "n_jobs of the peers": 2}
HARD_C = 100.0
HARD_STEP = 8  # every eighth label for the peer, which needs minutes for all


def problem(n: int, d: int, L: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlated features of uneven scale, labels of 5 to 50 per cent."""
    rng = np.random.default_rng(0)
    mixing = np.eye(d) + 0.3 * rng.standard_normal((d, d)) / np.sqrt(d)
    X = rng.standard_normal((n, d)) * np.exp(0.5 * rng.standard_normal(d)) @ mixing
    logits = X @ rng.standard_normal((d, L)) / np.sqrt(d) + rng.standard_normal(L) - 1.5
    return X, (rng.random((n, L)) < expit(logits)).astype(np.int64)


def training_rows(name: str) -> tuple[sp.csr_array, np.ndarray] | None:
    """Training rows of a sparse data set, or None without the data."""
    path = Path(os.environ.get("SKLEARN_MLCL_DATA", "")) / f"{name}.npz"
    if not path.exists():
        print(f"{name}.npz not found in $SKLEARN_MLCL_DATA: its bars are not measured")
        return None
    with np.load(path) as z:
        X, Y = (
            sp.csr_array(
                (z[f"{k}_data"], z[f"{k}_indices"], z[f"{k}_indptr"].astype(np.int32)),
                z[f"{k}_shape"],
            )
            for k in "XY"
        )
        X, Y = X[z["train_idx"]].astype(np.float64), Y[z["train_idx"]]
    return X, Y.toarray().astype(np.int64)


def with_ones(X: sp.csr_array) -> sp.csr_array:
    """X with a column of ones: liblinear penalises the intercept, and so must we."""
    return sp.csr_array(sp.hstack([X, np.ones((X.shape[0], 1))]))


def objective(
    X: np.ndarray | sp.csr_array, Y: np.ndarray, W: np.ndarray, b: np.ndarray
) -> np.ndarray:
    """Objective per label at C = 1, of coefficients (L, d)."""
    sign = 1 - 2 * Y
    return 0.5 * np.square(W).sum(1) + np.logaddexp(0.0, sign * (X @ W.T + b)).sum(0)


def one_vs_rest(X, Y, **options) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (L, d) and intercepts (L,) of scikit-learn's fits, two processes."""
    model = OneVsRestClassifier(LogisticRegression(**options), n_jobs=2).fit(X, Y)
    return (
        np.vstack([one.coef_ for one in model.estimators_]),
        np.array([float(np.ravel(one.intercept_)[0]) for one in model.estimators_]),
    )


def excess(X, Y, ours: LogisticSolution, theirs: tuple[np.ndarray, np.ndarray]) -> float:
    """Largest relative amount by which our objective is above theirs."""
    reference = objective(X, Y, *theirs)
    return float(np.max(objective(X, Y, ours.coef, ours.intercept) / reference - 1))


def optimum(X: np.ndarray, Y: np.ndarray) -> Iterator[Bar]:
    """Distance to scikit-learn's tight optimum."""
    ours = fit_logistic(X, Y, tol=TOL)
    theirs = one_vs_rest(X, Y, tol=1e-8, max_iter=1000)
    gap = np.linalg.norm(ours.coef - theirs[0], axis=1) / np.linalg.norm(theirs[0], axis=1)
    config = DENSE | {"labels": Y.shape[1]}
    yield Bar(
        "dense: coefficients, relative to lbfgs (tol 1e-8)", 1e-3, gap.max(), "", config=config
    )
    above = excess(X, Y, ours, theirs)
    yield Bar("dense: objective above that of lbfgs, relative", 1e-8, above, "", config=config)


def dense_times(X: np.ndarray, Y: np.ndarray, repeats: int) -> Iterator[Bar]:
    """Time against one-vs-rest: the solver with Cholesky factors, the default, lbfgs as exact."""
    L = Y.shape[1]
    config = DENSE | {"labels": L, "repeats": repeats}
    seconds = interleaved(
        {
            "ours": lambda: fit_logistic(X, Y, tol=TOL),
            "newton-cholesky": lambda: one_vs_rest(X, Y, solver="newton-cholesky"),
            "default": lambda: one_vs_rest(X, Y),
        },
        repeats,
    )
    ours = seconds.pop("ours")
    yield Bar(f"dense, {L} labels: ours", None, min(ours), "s", config=config)
    ratios = {name: median_ratio(times, ours) for name, times in seconds.items()}
    for name, ratio in ratios.items():
        goal = 15 if name == "default" else None
        yield Bar(f"dense, {L} labels: {name} / ours", goal, ratio, "x", True, config)
    fastest = min(ratios.values())
    yield Bar(f"dense, {L} labels: fastest of these / ours", 8, fastest, "x", True, config)


def dense_variants(X: np.ndarray, Y: np.ndarray) -> Iterator[Bar]:
    """The path over C against one solve; the default tolerance; lbfgs of the same objective."""
    config = DENSE | {"labels": Y.shape[1]}
    seconds = interleaved(
        {
            "ours": lambda: fit_logistic(X, Y, tol=TOL),
            "tight": lambda: fit_logistic(X, Y),
            "path": lambda: fit_logistic_path(X, Y, PATH, tol=TOL),
            "equal": lambda: one_vs_rest(X, Y, tol=EQUAL_TOL),
        },
        REPEATS,
    )
    ours = seconds["ours"]
    ratio = {name: median_ratio(times, ours) for name, times in seconds.items()}
    yield Bar("dense: path of 7 values / one", 2.5, ratio["path"], config=config | {"C": PATH})
    yield Bar("dense: tol 1e-10 / tol 1e-6", None, ratio["tight"], config=config)
    equal = config | {"tol of lbfgs": EQUAL_TOL}
    yield Bar("dense: lbfgs of equal objective / ours", None, ratio["equal"], "x", True, equal)


def sparse(X: sp.csr_array, Y: np.ndarray) -> Iterator[Bar]:
    """Bibtex at the optimum of liblinear."""
    options = {"solver": "liblinear", "fit_intercept": False}
    config = {"rows": X.shape[0], "features": X.shape[1], "labels": Y.shape[1], "tol": TOL}
    calls = {
        "ours": lambda: fit_logistic(X, Y, fit_intercept=False, tol=TOL),
        "path": lambda: fit_logistic_path(X, Y, PATH, fit_intercept=False, tol=TOL),
        "liblinear": lambda: one_vs_rest(X, Y, **options),
    }
    seconds = interleaved(calls, REPEATS)
    above = excess(X, Y, calls["ours"](), calls["liblinear"]())
    yield Bar("bibtex: objective above that of liblinear", 1e-8, above, "", config=config)
    yield Bar("bibtex: ours", None, min(seconds["ours"]), "s", config=config)
    ratio = median_ratio(seconds["liblinear"], seconds["ours"])
    yield Bar("bibtex: liblinear / ours", 2, ratio, "x", True, config | {"n_jobs of the peer": 2})
    ratio = median_ratio(seconds["path"], seconds["ours"])
    yield Bar("bibtex: path of 7 values / one", None, ratio, config=config | {"C": PATH})


def hard(X: sp.csr_array, Y: np.ndarray) -> Iterator[Bar]:
    """Delicious at C = 100, where the systems of many labels are badly conditioned."""
    config = {"rows": X.shape[0], "features": X.shape[1], "C": HARD_C, "tol": TOL}
    some = Y[:, ::HARD_STEP]
    options = {"solver": "liblinear", "fit_intercept": False, "C": HARD_C}
    calls = {
        "ours": lambda: fit_logistic(X, some, C=HARD_C, fit_intercept=False, tol=TOL),
        "liblinear": lambda: one_vs_rest(X, some, **options),
    }
    seconds = interleaved(calls, 1)
    config = config | {"labels": some.shape[1]}
    yield Bar("delicious, C = 100: ours", None, min(seconds["ours"]), "s", config=config)
    ratio = median_ratio(seconds["liblinear"], seconds["ours"])
    yield Bar("delicious, C = 100: liblinear / ours", None, ratio, "x", True, config)


def bars() -> Iterator[Bar]:
    """All bars."""
    X, Y = problem(10_000, 128, 100)
    yield from optimum(X, Y)
    yield from dense_times(X, Y, REPEATS)
    yield from dense_variants(X, Y)
    yield from dense_times(*problem(10_000, 128, 1000), 1)
    if (data := training_rows("bibtex")) is not None:
        yield from sparse(with_ones(data[0]), data[1])
    if (data := training_rows("delicious")) is not None:
        yield from hard(with_ones(data[0]), data[1])


def main(argv: Sequence[str] | None = None) -> list[Bar]:
    """Measure, print, and write the table where ``--json`` says."""
    return report(bars, __doc__ or "", argv, threads=2)


if __name__ == "__main__":
    main()
