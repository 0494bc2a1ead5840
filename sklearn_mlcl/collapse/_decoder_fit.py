"""Building an ONN decoder from features and label sets."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.special import gammaln

from sklearn_mlcl.collapse._decoder import ONNDecoder
from sklearn_mlcl.collapse._label_sets import LabelSets, grouped, row_blocks, set_means
from sklearn_mlcl.collapse._tags import fit_tags

VARIANTS = ("tags", "etf", "cosine", "observed")


def fit_onn_decoder(
    features: Any,
    Y: Any,
    *,
    sample_weight: Any = None,
    variant: str = "tags",
    max_labels: int | None = None,
    prior: float = 0.0,
    validation: tuple[Any, Any] | None = None,
) -> ONNDecoder:
    r"""Fit the one-nearest-neighbour decoder of label sets to features.

    Tags :math:`t_k`, intercept g and scales :math:`\alpha_m` come from `fit_tag_prototypes`; the
    decoder then predicts

    .. math:: \arg\min_S \|h - P_S\|^2 - 2 v t \log \pi(S), \qquad
       P_S = g + \alpha_{|S|} \sum_{k\in S} t_k,

    over all sets of the sizes seen in training whose alpha is positive. The empty and the full
    set, to which the tag model gives no direction, take part with the mean of their rows if seen.

    Parameters
    ----------
    features : {array-like, CSR, memory map, torch tensor} of shape (n, d)
        Training features, those of the net in evaluation mode.
    Y : {array-like, CSR} of shape (n, K)
        Indicator matrix; rows with a missing label (NaN) are left out.
    sample_weight : array-like of shape (n,), default=None
        Row weights.
    variant : {"tags", "etf", "cosine", "observed"}, default="tags"
        Prototypes and distance. "tags": fitted tags with their own Gram matrix. "etf": fitted
        tags, norms as on a simplex ETF; exact search for any K. "cosine": the largest cosine with
        the sum of tags, as on a simplex ETF (no scales; never the empty or the full set).
        "observed": the means of the label sets seen, and no other set.
    max_labels : int, default=None
        Largest number of labels of a prediction. None: the 0.999 quantile of the training rows.
    prior : float, default=0.0
        Strength t in [0, 1] of the prior :math:`\pi(S) = \pi_m / \binom{K}{m}`
        (frequencies of the sets for "observed"); unused by "cosine".
    validation : tuple (features, Y), default=None
        Held-out rows for the variance v. Training rows, used without them, make v too small:
        their features have collapsed.

    Returns
    -------
    ONNDecoder
        The fitted decoder, plain arrays.

    Raises
    ------
    ValueError
        If an argument is outside its range, the rows disagree, or no label set has at most
        `max_labels` labels.

    References
    ----------
    .. [1] Li, Li, Wang, Qu, "Neural Collapse in Multi-label Learning with Pick-all-label Loss",
       ICML 2024, arXiv 2310.15903 (the rule; search, scales and prior are derived from it).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import fit_onn_decoder, simplex_etf
    >>> Y = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0]])
    >>> T = simplex_etf(4)
    >>> decoder = fit_onn_decoder(Y @ T, Y)
    >>> decoder.decode(np.array([[0, 0, 1, 1]]) @ T).toarray()
    array([[0, 0, 1, 1]], dtype=int8)
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {VARIANTS}, got {variant!r}.")
    if not 0 <= prior <= 1:
        raise ValueError(f"prior must be in [0, 1], got {prior!r}.")
    features, groups = grouped(features, Y, sample_weight)
    decoder = decoder_from_means(
        groups, set_means(features, groups), variant=variant, max_labels=max_labels, prior=prior
    )
    held_out = (features, groups) if validation is None else grouped(*validation)
    return replace(decoder, variance=_residual_variance(decoder, *held_out))


def decoder_from_means(
    groups: LabelSets,
    means: np.ndarray,
    *,
    variant: str = "tags",
    max_labels: int | None = None,
    prior: float = 0.0,
) -> ONNDecoder:
    """The decoder from the means of the label sets, its variance still 1."""
    largest = _largest_size(groups, max_labels)
    tagged = variant != "observed" and groups.proper().any()
    tag_state = _tag_state(groups, means, largest) if tagged else _no_tags(groups, means)
    own = groups.sizes <= largest
    own = own if variant == "observed" else own & ~groups.proper()
    if not own.any() and not len(tag_state["sizes"]):
        raise ValueError(f"No label set of Y has at most max_labels={largest} labels.")
    return ONNDecoder(
        variant=variant,
        n_labels=groups.n_labels,
        own_sets=groups.sets[own],
        own_prototypes=means[own],
        own_log_prior=np.log(groups.weights[own] / groups.weights.sum()),
        variance=1.0,
        prior=float(prior),
        **tag_state,
    )


def _largest_size(groups: LabelSets, max_labels: int | None) -> int:
    if max_labels is not None:
        if not isinstance(max_labels, Integral) or max_labels < 1:
            raise ValueError(f"max_labels must be None or an int >= 1, got {max_labels!r}.")
        return int(max_labels)
    share = np.cumsum(groups.weights) / groups.weights.sum()  # sets are sorted by size
    return int(groups.sizes[min(int(np.searchsorted(share, 0.999)), len(share) - 1)])


def _no_tags(groups: LabelSets, means: np.ndarray) -> dict[str, Any]:
    return {
        "labels": np.zeros(0, dtype=np.intp),
        "tags": np.zeros((0, means.shape[1])),
        "intercept": groups.weights @ means / groups.weights.sum(),
        "sizes": np.zeros(0, dtype=np.intp),
        "scales": np.zeros(0),
        "log_prior": np.zeros(0),
        "seen_sets": sp.csr_array((0, 0)),
        "seen_log_prior": np.zeros(0),
    }


def _tag_state(groups: LabelSets, means: np.ndarray, largest: int) -> dict[str, Any]:
    proper = groups.proper()
    fitted = fit_tags(means, groups)
    # A size whose scale is not positive has lost its direction: its prototypes would all be g.
    usable = (fitted.multiplicities <= largest) & (fitted.scales > 0)
    sizes, K = fitted.multiplicities[usable], len(fitted.labels)
    seen = proper & np.isin(groups.sizes, sizes)
    total = groups.weights.sum()
    size_share = np.bincount(groups.sizes, groups.weights)[sizes] / total
    return {
        "labels": fitted.labels,
        "tags": fitted.tags[fitted.labels],
        "intercept": fitted.intercept,
        "sizes": sizes,
        "scales": fitted.scales[usable],
        "log_prior": np.log(size_share) - _log_comb(K, sizes),
        "seen_sets": sp.csr_array(groups.sets[seen][:, fitted.labels]),
        "seen_log_prior": np.log(groups.weights[seen] / total),
    }


def _log_comb(K: int, m: np.ndarray) -> np.ndarray:
    return gammaln(K + 1) - gammaln(m + 1) - gammaln(K - m + 1)


def _residual_variance(decoder: ONNDecoder, features: Any, groups: LabelSets) -> float:
    """Mean squared residual per dimension in the span of the prototypes, about the true sets."""
    prototypes = _prototypes_of(decoder, groups.sets)
    basis = _span(decoder)
    rows = np.flatnonzero(groups.of_row >= 0)
    rows = rows[~np.isnan(prototypes[groups.of_row[rows], 0])]
    total = weight = 0.0
    for index, block in row_blocks(features, rows):
        residual = (block - prototypes[groups.of_row[index]]) @ basis.T
        total += groups.row_weight[index] @ (residual**2).sum(axis=1)
        weight += groups.row_weight[index].sum()
    spread = np.mean((decoder.tags if len(decoder.tags) else decoder.own_prototypes) ** 2)
    floor = max(1e-12 * spread, np.finfo(float).tiny)  # exact collapse leaves no residual
    return float(max(total / (weight * len(basis)), floor)) if weight and len(basis) else 1.0


def _span(decoder: ONNDecoder) -> np.ndarray:
    """(r, d) orthonormal basis of the directions that tell prototypes apart."""
    directions = decoder.tags
    if not len(decoder.sizes):
        directions = decoder.own_prototypes - decoder.intercept
    _, s, Vt = np.linalg.svd(directions, full_matrices=False)
    return Vt[s > 1e-9 * s.max(initial=0.0)]


def _prototypes_of(decoder: ONNDecoder, sets: sp.csr_array) -> np.ndarray:
    """(U, d) prototypes of label sets; NaN rows where the decoder has none."""
    out = np.full((sets.shape[0], len(decoder.intercept)), np.nan)
    size = np.diff(sets.indptr)
    outside = np.ones(decoder.n_labels)
    outside[decoder.labels] = 0
    modelled = np.isin(size, decoder.sizes) & (sets @ outside == 0)
    scale = decoder.scales[np.searchsorted(decoder.sizes, size[modelled])]
    inside = sets[modelled][:, decoder.labels]
    out[modelled] = decoder.intercept + scale[:, None] * (inside @ decoder.tags)
    own = {_key(decoder.own_sets, u): u for u in range(decoder.own_sets.shape[0])}
    for u in range(sets.shape[0]):
        if (at := own.get(_key(sets, u))) is not None:
            out[u] = decoder.own_prototypes[at]
    return out


def _key(sets: sp.csr_array, row: int) -> bytes:
    return sets.indices[sets.indptr[row] : sets.indptr[row + 1]].astype(np.int64).tobytes()
