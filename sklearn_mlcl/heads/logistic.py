"""Logistic heads on features or embeddings: scaling, choice of C, one batched solve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.preprocessing import StandardScaler

from sklearn_mlcl.model_selection import MultilabelStratifiedKFold
from sklearn_mlcl.model_selection._held_out import row_numbers
from sklearn_mlcl.solvers import LogisticSolution, fit_logistic, fit_logistic_path, select_C
from sklearn_mlcl.solvers.select import DEFAULT_CS
from sklearn_mlcl.utils.class_weight import row_weights
from sklearn_mlcl.utils.targets import TargetFormat
from sklearn_mlcl.utils.validation import check_per_label

#: Tolerance on embeddings, which are float32: more digits than this are not theirs to give.
EMBEDDING_TOL = 1e-6


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
    standardised, scaler = _standardised(embedding, Y, sample_weight)
    heads = fit_heads(standardised, Y, sample_weight, C, Cs=DEFAULT_CS, tol=EMBEDDING_TOL)
    return _of_embedding(heads, scaler)


class EmbeddedSamples(NamedTuple):
    """What a head is fitted on.

    Attributes
    ----------
    embedding : ndarray of shape (n, h)
        What an encoder makes of the samples.
    Y, sample_weight
        As for :func:`fit_heads`.
    """

    embedding: np.ndarray
    Y: Any
    sample_weight: np.ndarray | None


def embedding_path(
    parts: Sequence[EmbeddedSamples], Cs: Sequence[float], tol: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return coefficients (M, L, h) and intercepts (M, L) of heads at each C.

    Parameters
    ----------
    parts : sequence of EmbeddedSamples
        The samples of each of M members.
    Cs : sequence of float
        Inverse regularisations, in ascending order.
    tol : float
        Tolerance of the solves.
    """
    paths = []
    for embedding, Y, sample_weight in parts:
        standardised, scaler = _standardised(embedding, Y, sample_weight)
        path = fit_logistic_path(standardised, Y, Cs, sample_weight=sample_weight, tol=tol)
        paths.append([_of_embedding(heads, scaler) for heads in path])
    return [
        (np.stack([heads.coef for heads in each]), np.stack([heads.intercept for heads in each]))
        for each in zip(*paths, strict=True)
    ]


def _standardised(
    embedding: np.ndarray, Y: Any, sample_weight: np.ndarray | None
) -> tuple[np.ndarray, StandardScaler]:
    embedding = embedding.astype(np.float64)
    scaler = StandardScaler().fit(embedding, sample_weight=row_weights(Y, sample_weight))
    return scaler.transform(embedding), scaler


def _of_embedding(heads: LogisticSolution, scaler: StandardScaler) -> LogisticSolution:
    """Return heads of standardised embeddings as heads of the embeddings as they are."""
    coef = heads.coef / scaler.scale_
    return replace(heads, coef=coef, intercept=heads.intercept - coef @ scaler.mean_)
