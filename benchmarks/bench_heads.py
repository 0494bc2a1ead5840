"""The batched logistic heads against scikit-learn's one-vs-rest fits: same optimum, and time.

Run with ``python -m benchmarks.bench_heads [--json FILE] [--threads 2]``. The bar on bibtex needs
the environment variable SKLEARN_MLCL_DATA, the folder of the real data sets.
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


def problem(n: int, d: int, L: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlated features of uneven scale, labels of 5 to 50 per cent."""
    rng = np.random.default_rng(0)
    mixing = np.eye(d) + 0.3 * rng.standard_normal((d, d)) / np.sqrt(d)
    X = rng.standard_normal((n, d)) * np.exp(0.5 * rng.standard_normal(d)) @ mixing
    logits = X @ rng.standard_normal((d, L)) / np.sqrt(d) + rng.standard_normal(L) - 1.5
    return X, (rng.random((n, L)) < expit(logits)).astype(np.int64)


def bibtex() -> tuple[sp.csr_array, np.ndarray] | None:
    """Training rows of bibtex with a column of ones, or None without the data."""
    path = Path(os.environ.get("SKLEARN_MLCL_DATA", "")) / "bibtex.npz"
    if not path.exists():
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
    return sp.csr_array(sp.hstack([X, np.ones((X.shape[0], 1))])), Y.toarray().astype(np.int64)


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
    yield Bar("dense: coefficients, relative to lbfgs (tol 1e-8)", 1e-3, float(gap.max()), "")
    yield Bar(
        "dense: objective above that of lbfgs, relative", 1e-8, excess(X, Y, ours, theirs), ""
    )


def dense_times(X: np.ndarray, Y: np.ndarray) -> Iterator[Bar]:
    """Time against one-vs-rest, and of a path over C."""
    seconds = interleaved(
        {
            "ours": lambda: fit_logistic(X, Y, tol=TOL),
            "tight": lambda: fit_logistic(X, Y),
            "path": lambda: fit_logistic_path(X, Y, PATH, tol=TOL),
            "newton": lambda: one_vs_rest(X, Y, solver="newton-cholesky"),
            "default": lambda: one_vs_rest(X, Y),
            "equal": lambda: one_vs_rest(X, Y, tol=EQUAL_TOL),
        },
        REPEATS,
    )
    ours = seconds["ours"]
    yield Bar("dense: seconds, 100 labels, tol 1e-6", None, min(ours), "s")
    yield Bar("dense: seconds, 100 labels, default tol", None, min(seconds["tight"]), "s")
    for name, solver, goal in (
        ("newton", "newton-cholesky", 8),
        ("default", "default (objective 4e-6 above)", 10),
        ("equal", "lbfgs of equal objective", 15),
    ):
        ratio = median_ratio(seconds[name], ours)
        yield Bar(f"dense: one-vs-rest {solver} / ours", goal, ratio, at_least=True)
    yield Bar("dense: path of 7 values of C / one solve", 2.5, median_ratio(seconds["path"], ours))


def many_labels() -> Iterator[Bar]:
    """Ten times the labels cost ten times as much."""
    X, Y = problem(10_000, 128, 1000)
    seconds = interleaved(
        {"few": lambda: fit_logistic(X, Y[:, :100]), "many": lambda: fit_logistic(X, Y)}, REPEATS
    )
    yield Bar("dense: 1000 labels / 100 labels", 11, median_ratio(seconds["many"], seconds["few"]))


def sparse(X: sp.csr_array, Y: np.ndarray) -> Iterator[Bar]:
    """Bibtex at the optimum of liblinear, which penalises the intercept: a column of ones in X."""

    def liblinear() -> tuple[np.ndarray, np.ndarray]:
        return one_vs_rest(X, Y, solver="liblinear", fit_intercept=False)

    def ours() -> LogisticSolution:
        return fit_logistic(X, Y, fit_intercept=False, tol=TOL)

    seconds = interleaved({"ours": ours, "liblinear": liblinear}, REPEATS)
    yield Bar(
        "bibtex: objective above that of liblinear", 1e-8, excess(X, Y, ours(), liblinear()), ""
    )
    yield Bar("bibtex: seconds, 159 labels", None, min(seconds["ours"]), "s")
    ratio = median_ratio(seconds["liblinear"], seconds["ours"])
    yield Bar("bibtex: one-vs-rest liblinear / ours", 2, ratio, at_least=True)


def bars() -> Iterator[Bar]:
    """All bars."""
    X, Y = problem(10_000, 128, 100)
    yield from optimum(X, Y)
    yield from dense_times(X, Y)
    yield from many_labels()
    data = bibtex()
    if data is None:
        print("bibtex.npz not found in $SKLEARN_MLCL_DATA: its bars are not measured")
    else:
        yield from sparse(*data)


def main(argv: Sequence[str] | None = None) -> list[Bar]:
    """Measure, print, and write the table where ``--json`` says."""
    return report(bars, __doc__ or "", argv, threads=2)


if __name__ == "__main__":
    main()
