"""Logistic heads on features or embeddings: scaling, choice of C, one batched solve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.preprocessing import StandardScaler

from sklearn_mlcl.model_selection import MultilabelStratifiedKFold
from sklearn_mlcl.model_selection._held_out import row_numbers
from sklearn_mlcl.solvers import LogisticSolution, fit_logistic, select_C
from sklearn_mlcl.solvers.select import DEFAULT_CS
from sklearn_mlcl.utils.class_weight import row_weights
from sklearn_mlcl.utils.targets import TargetFormat
from sklearn_mlcl.utils.validation import check_per_label

#: Tolerance on embeddings, which are float32: more digits than this are not theirs to give.
EMBEDDING_TOL = 1e-6
#: Stored entries of X times labels up to which ``tol="auto"`` is EXACT_TOL. Of more, LARGE_TOL
#: leaves P@k as it is. In a tree of labels TREE_TOL is better than exact: a solver that stops early
#: is a good prior of labels with few samples. Twice that can be better still, four times is worse.
EXACT_WORK, EXACT_TOL, LARGE_TOL, TREE_TOL = 10**8, 1e-10, 1e-3, 0.05


def tolerance(tol: float | str, X: Any, n_labels: int, has_tree: bool = False) -> float:
    """Return the parameter ``tol`` of regressions of all labels, "auto" resolved."""
    if not isinstance(tol, str):
        return float(tol)
    n_entries = X.nnz if sp.issparse(X) else X.size
    if n_entries * n_labels <= EXACT_WORK:
        return EXACT_TOL
    return TREE_TOL if has_tree else LARGE_TOL


def C_of_labels(C: Any, name: str, target_format: TargetFormat) -> Any:
    """Return a parameter C as an array, checked; "cv" stays."""
    if isinstance(C, str):
        return C
    values = check_per_label(C, target_format.n_labels, target_format.label_names, name)
    if not ((values > 0) & (values < np.inf)).all():
        raise ValueError(f"{name} must be positive and finite, got {C!r}.")
    return values


def fit_heads(
    X: np.ndarray | sp.csr_matrix,
    Y: Any,
    sample_weight: np.ndarray | None,
    C: float | np.ndarray | str,
    *,
    Cs: Sequence[float],
    cv: Any = 5,
    **solver_options: Any,
) -> LogisticSolution:
    """Solve one logistic regression per label; ``C="cv"`` chooses C per label first.

    Parameters
    ----------
    X : ndarray or CSR of shape (n, d)
        Features or embeddings.
    Y : ndarray or CSR of shape (n, L)
        Indicator matrix, NaN where missing.
    sample_weight : ndarray of shape (n,) or (n, L), or None
        Weights of the samples or of the entries.
    C : float, ndarray of shape (L,) or "cv"
        Inverse regularisation.
    Cs : sequence of float
        Grid for ``C="cv"``.
    cv : int or splitter
        Folds for ``C="cv"``.
    **solver_options
        As for :func:`sklearn_mlcl.solvers.fit_logistic`.
    """
    if isinstance(C, str):
        intercept = {k: v for k, v in solver_options.items() if k == "fit_intercept"}
        if isinstance(cv, Integral):
            n_splits = min(int(cv), X.shape[0])
            cv = MultilabelStratifiedKFold(n_splits, shuffle=True, random_state=0)
        splits = row_numbers(cv, X, Y)
        C = select_C(X, Y, Cs, cv=splits, sample_weight=sample_weight, **intercept).C
    return fit_logistic(X, Y, C=C, sample_weight=sample_weight, **solver_options)


def fit_embedding_heads(
    embedding: np.ndarray,
    Y: Any,
    sample_weight: np.ndarray | None,
    C: float | np.ndarray | str,
) -> LogisticSolution:
    """Solve heads on the standardised embedding and state them for the embedding as it is.

    Parameters
    ----------
    embedding : ndarray of shape (n, h)
        What an encoder makes of the samples.
    Y, sample_weight, C
        As for :func:`fit_heads`.
    """
    embedding = embedding.astype(np.float64)
    scaler = StandardScaler().fit(embedding, sample_weight=row_weights(Y, sample_weight))
    standardised = scaler.transform(embedding)
    heads = fit_heads(standardised, Y, sample_weight, C, Cs=DEFAULT_CS, tol=EMBEDDING_TOL)
    coef = heads.coef / scaler.scale_
    return replace(heads, coef=coef, intercept=heads.intercept - coef @ scaler.mean_)
