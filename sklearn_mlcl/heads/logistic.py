"""Logistic heads on features or embeddings: scaling, choice of C, one batched solve."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.preprocessing import StandardScaler

from sklearn_mlcl.model_selection import MultilabelStratifiedKFold
from sklearn_mlcl.model_selection._held_out import row_numbers
from sklearn_mlcl.solvers import LogisticSolution, fit_logistic, fit_logistic_path, select_C
from sklearn_mlcl.solvers.select import DEFAULT_CS
from sklearn_mlcl.training._parallel import by_first, in_parts
from sklearn_mlcl.utils.answers import TargetFormat
from sklearn_mlcl.utils.class_weight import row_weights
from sklearn_mlcl.utils.validation import check_per_label

#: Tolerance on embeddings, which are float32: more digits than this are not theirs to give.
EMBEDDING_TOL = 1e-6
#: Stored entries of X times labels up to which ``tol="auto"`` is EXACT_TOL. Of more, LARGE_TOL
#: leaves P@k as it is. In a tree of labels TREE_TOL is better than exact: a solver that stops early
#: is a good prior of labels with few samples. Twice that can be better still, four times is worse.
EXACT_WORK, EXACT_TOL, LARGE_TOL, TREE_TOL = 10**8, 1e-10, 1e-3, 0.05


def tolerance(tol: float | str, X: Any, n_labels: int, has_tree: bool) -> float:
    """Return the parameter ``tol`` of regressions of all labels, "auto" resolved."""
    if not isinstance(tol, str):
        return float(tol)
    n_entries = X.size  # of CSR: the stored ones
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
        C = _selected(X, Y, sample_weight, Cs, cv, **intercept)
    return fit_logistic(X, Y, C=C, sample_weight=sample_weight, **solver_options)


def _selected(
    X: Any, Y: Any, sample_weight: np.ndarray | None, Cs: Sequence[float], cv: Any, **options: Any
) -> np.ndarray:
    """Return the C of each label by cross-validation."""
    if isinstance(cv, Integral):
        n_splits = min(int(cv), X.shape[0])
        cv = MultilabelStratifiedKFold(n_splits, shuffle=True, random_state=0)
    C: np.ndarray = select_C(
        X, Y, Cs, cv=row_numbers(cv, X, Y), sample_weight=sample_weight, **options
    ).C
    return C


def weights_of(sample_weight: np.ndarray | None, labels: slice) -> np.ndarray | None:
    """Return the weights for some labels."""
    if sample_weight is None or sample_weight.ndim == 1:
        return sample_weight
    return sample_weight[:, labels]


def fit_embedding_heads(
    embedding: np.ndarray,
    Y: Any,
    sample_weight: np.ndarray | None,
    C: float | np.ndarray | str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return coefficients (L, h), intercepts (L,) and C (L,) of heads on an embedding.

    They are solved on the standardised embedding, and stated for the embedding as it is.

    Parameters
    ----------
    embedding : ndarray of shape (n, h)
        What an encoder makes of the samples.
    Y, sample_weight, C
        As for :func:`fit_heads`.
    """
    rows, scaler = standardised(embedding, Y, sample_weight)
    if isinstance(C, str):
        # Rare labels share a choice: it needs all of them.
        C = by_first(lambda: _selected(rows, Y, sample_weight, DEFAULT_CS, 5))
    of_label = np.full(Y.shape[1], C, dtype=np.float64)

    def solved(part: slice) -> np.ndarray:
        weight = weights_of(sample_weight, part)
        heads = fit_logistic(
            rows, Y[:, part], C=of_label[part], sample_weight=weight, tol=EMBEDDING_TOL
        )
        return np.column_stack([heads.coef, heads.intercept])

    found = in_parts(Y.shape[1], solved)
    return *_of_embedding(found[:, :-1], found[:, -1], scaler), of_label


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
        rows, scaler = standardised(embedding, Y, sample_weight)
        path = fit_logistic_path(rows, Y, Cs, sample_weight=sample_weight, tol=tol)
        paths.append([_of_embedding(heads.coef, heads.intercept, scaler) for heads in path])
    members = (zip(*each, strict=True) for each in zip(*paths, strict=True))
    return [(np.stack(coef), np.stack(intercept)) for coef, intercept in members]


def standardised(
    embedding: np.ndarray, Y: Any, sample_weight: np.ndarray | None
) -> tuple[np.ndarray, StandardScaler]:
    """Return a standardised embedding in float64, and what standardises it."""
    embedding = embedding.astype(np.float64)
    scaler = StandardScaler().fit(embedding, sample_weight=row_weights(Y, sample_weight))
    return scaler.transform(embedding), scaler


def _of_embedding(
    coef: np.ndarray, intercept: np.ndarray, scaler: StandardScaler
) -> tuple[np.ndarray, np.ndarray]:
    """Return heads of standardised embeddings as heads of the embeddings as they are."""
    coef = coef / scaler.scale_
    return coef, intercept - coef @ scaler.mean_
