"""Logistic regressions: heads on embeddings, and the linear part on the features."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_mlcl.heads.held_out import Judgement
from sklearn_mlcl.model_selection import MultilabelStratifiedKFold
from sklearn_mlcl.model_selection._held_out import row_numbers
from sklearn_mlcl.modules import InputScaler
from sklearn_mlcl.solvers import LogisticSolution, fit_logistic, fit_logistic_path, select_C
from sklearn_mlcl.solvers.select import DEFAULT_CS
from sklearn_mlcl.training._parallel import added, agreed, by_first, in_parts, own_turns
from sklearn_mlcl.utils.answers import TargetFormat
from sklearn_mlcl.utils.fit_data import FitData, row_weights
from sklearn_mlcl.utils.validation import check_per_label

#: Tolerance on embeddings, which are float32: more digits than this are not theirs to give.
EMBEDDING_TOL = 1e-6
#: Stored entries of X times labels up to which ``tol="auto"`` is EXACT_TOL. Of more, LARGE_TOL
#: leaves P@k as it is. In a tree of labels TREE_TOL is better than exact: a solver that stops early
#: is a good prior of labels with few samples. Twice that can be better still, four times is worse.
EXACT_WORK, EXACT_TOL, LARGE_TOL, TREE_TOL = 10**8, 1e-10, 1e-3, 0.05
#: Labels up to which ``label_tree="auto"`` has a regression for each.
TREE_LABELS = 10_000


def wants_tree(label_tree: bool | str, n_labels: int) -> bool:
    """Return whether the parameter ``label_tree`` asks for a tree of so many labels."""
    return n_labels > TREE_LABELS if isinstance(label_tree, str) else bool(label_tree)


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


# ---------------------------------------------------------------------- the linear part

#: Grid and folds from which C is chosen, and the tolerance of those fits.
CS, N_FOLDS, CV_TOL = (0.001, 0.01, 0.1, 1.0), 3, 1e-3
#: The share of the linear part where nothing is chosen: of sparse features a single one often
#: decides.
SPARSE_WEIGHT = 0.3
#: Multiply-adds of one product of all samples and labels, for CSR and dense X, and coefficients, up
#: to which the solve is short beside the training.
AUTO_WORK, AUTO_DENSE_WORK, AUTO_COEFFICIENTS = 2 * 10**9, 2 * 10**8, 10**7
#: Relative tolerance of the solve: the third digit of a coefficient decides nothing.
LINEAR_TOL = 1e-4


def has_linear(weight: float | str, data: FitData) -> bool:
    """Return whether the parameter ``linear_weight`` asks for a linear part; "auto" if short."""
    if not isinstance(weight, str):
        return weight > 0
    return data.n_features * data.n_labels <= AUTO_COEFFICIENTS and _is_short(data)


def default_weight(data: FitData) -> float:
    """Return the share of the linear part that others must beat."""
    return SPARSE_WEIGHT if sp.issparse(data.X) else 0.0


def _is_short(data: FitData) -> bool:
    """Return whether the solve on all samples is short beside the training."""
    if sp.issparse(data.X):
        return data.X.nnz * data.n_labels <= AUTO_WORK
    return data.n_samples * data.n_features * data.n_labels <= AUTO_DENSE_WORK


def fit_linear(
    data: FitData, scaler: InputScaler, C: float | None, random_state: np.random.RandomState
) -> nn.Sequential:
    """Return a module that maps samples as they come to log-odds (n, L).

    Parameters
    ----------
    data : FitData
        The samples. Where the solve is short all count; of others a random subsample does.
    scaler : InputScaler
        Scales the features.
    C : float or None
        Inverse regularisation; None chooses it by cross-validation.
    random_state : RandomState
        Draws the subsample.
    """
    scaler = copy.deepcopy(scaler).cpu()
    if not _is_short(data):
        data = data.take(data.subsample(random_state))
    data = replace(data, X=_scaled(data.X, scaler))

    def solved() -> tuple[np.ndarray, np.ndarray]:
        heads = fit_heads(
            data.X, data.Y, data.copies, common_C(data) if C is None else C, Cs=(), tol=LINEAR_TOL
        )
        return heads.coef, heads.intercept

    # Not in parts: at this tolerance the answer for a label depends on those beside it.
    coef, intercept = by_first(solved)
    # Drawing weights that are then overwritten would move the random stream of a training.
    layer = nn.utils.skip_init(nn.Linear, data.n_features, data.n_labels, dtype=torch.float32)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(coef))
        layer.bias.copy_(torch.from_numpy(intercept))
    return nn.Sequential(scaler, layer)


def held_out_linear(
    parts: list[FitData],
    scalers: list[InputScaler],
    X: Any,
    fold: np.ndarray,
    judgement: Judgement,
) -> tuple[np.ndarray, float]:
    """Return log-odds of samples by regressions that never saw their fold, and the best C.

    Parameters
    ----------
    parts : list of FitData
        The samples outside each fold.
    scalers : list of InputScaler
        Scale the features, fitted on the same samples.
    X : ndarray or CSR of shape (n, d)
        The samples to judge.
    fold : ndarray of shape (n,)
        Their folds.
    judgement : Judgement
        Their labels.

    Returns
    -------
    log_odds : ndarray of shape (n, L), float32
        By the common C of the smallest log loss.
    C : float
        That C. A choice for each label would be one by chance for rare labels.
    """
    log_odds = np.zeros((len(CS), *judgement.Y.shape), dtype=np.float32)
    for k in own_turns(len(parts)):
        data, scaler = parts[k], scalers[k]
        A, own = _scaled(data.X, scaler), fold == k
        path = fit_logistic_path(A, data.Y, CS, sample_weight=data.copies, tol=CV_TOL)
        queries = _scaled(X[own], scaler)
        for scores, heads in zip(log_odds, path, strict=True):
            scores[own] = queries @ heads.coef.T + heads.intercept
    log_odds = added(log_odds)
    with np.errstate(invalid="ignore"):
        losses = [judgement.log_loss(scores) for scores in log_odds]
    # Weights of many sizes may leave no numbers at a small penalty.
    best = agreed(int(np.argmin(np.nan_to_num(losses, nan=np.inf))))
    return log_odds[best], CS[best]


def common_C(data: FitData) -> float:
    """Return the C of the smallest held-out log loss, a mean over labels; rare ones share it too.

    A choice for each label would be one by chance where a label has a few positive samples.
    """
    n_folds = min(N_FOLDS, data.n_samples)
    if n_folds < 2:
        return CS[0]
    Y: Any = data.Y
    Y = Y.astype(np.uint8).toarray() if sp.issparse(Y) else Y
    chosen = select_C(data.X, Y, CS, cv=n_folds, sample_weight=data.copies, tol=CV_TOL)
    # Of a label that no fold knows there is no loss.
    judged = ~np.isnan(chosen.log_loss).all(axis=0)
    if not judged.any():
        return CS[0]
    return CS[int(np.nanmean(chosen.log_loss[:, judged], axis=1).argmin())]


def _scaled(X: Any, scaler: InputScaler) -> Any:
    """Return scaled samples in float64; CSR stays CSR, as its scaler shifts nothing."""
    if sp.issparse(X):
        return scaler.of_csr(X, np.float64)
    with torch.inference_mode():
        return scaler(torch.from_numpy(np.array(X, dtype=np.float64))).numpy()
