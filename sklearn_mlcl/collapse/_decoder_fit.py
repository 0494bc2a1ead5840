"""Fit of the nearest-prototype decoder to features and label sets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.special import gammaln

from sklearn_mlcl.collapse._decoder import ONNDecoder
from sklearn_mlcl.collapse._label_sets import LabelSets, grouped, row_blocks, set_means
from sklearn_mlcl.collapse._tags import fit_tags, no_tags
from sklearn_mlcl.utils._sklearn_compat import num_samples
from sklearn_mlcl.utils.fit_data import in_units
from sklearn_mlcl.utils.parameters import AT_LEAST_1, SHARE, check_arguments
from sklearn_mlcl.utils.validation import check_weights

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

    over all sets of the sizes seen in training whose alpha is positive. The tag model
    gives no direction to the empty and the full set: if seen, the means of their samples take part.

    Parameters
    ----------
    features : {array-like, CSR, memory map, torch tensor} of shape (n, d)
        Training features, those of the net in evaluation mode.
    Y : {array-like, CSR} of shape (n, L)
        Indicator matrix; samples with a missing label (NaN) are dropped.
    sample_weight : array-like of shape (n,), default=None
        Weights of the samples.
    variant : {"tags", "etf", "cosine", "observed"}, default="tags"
        Prototypes and distance. "tags": fitted tags with their own Gram matrix. "etf": fitted
        tags, norms as on a simplex ETF; exact search for any L. "cosine": the largest cosine with
        the sum of tags, as on a simplex ETF (no scales; never the empty or the full set).
        "observed": the means of the label sets seen, and no other set.
    max_labels : int, default=None
        Largest number of labels of a prediction. None: the 0.999 quantile in training.
    prior : float, default=0.0
        Strength t in [0, 1] of the prior :math:`\pi(S) = \pi_m / \binom{L}{m}`
        (frequencies of the sets for "observed"); unused by "cosine".
    validation : tuple (features, Y), default=None
        Held-out samples for the variance v. None: the training samples, whose features may have
        collapsed; v is then too small.

    Returns
    -------
    ONNDecoder
        The fitted decoder.

    Raises
    ------
    ValueError
        If an argument is outside its range, the lengths differ, or no label set has at most
        `max_labels` labels.

    References
    ----------
    .. [1] Li, Li, Wang, Qu, "Neural Collapse in Multi-label Learning with Pick-all-label Loss",
       ICML 2024, arXiv 2310.15903 (the rule; search, scales and prior are derived from it).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import fit_onn_decoder, simplex_etf
    >>> Y = np.array(
    ...     [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0]]
    ... )
    >>> T = simplex_etf(4)
    >>> decoder = fit_onn_decoder(Y @ T, Y)
    >>> decoder.decode(np.array([[0, 0, 1, 1]]) @ T).toarray()
    array([[0, 0, 1, 1]], dtype=int8)
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {VARIANTS}, got {variant!r}.")
    check_arguments(
        "fit_onn_decoder", prior=(prior, SHARE), max_labels=(max_labels, AT_LEAST_1, None)
    )
    if sample_weight is not None:  # shares of the total count alone
        sample_weight, _ = in_units(check_weights(sample_weight, num_samples(Y), None))
    features, groups = grouped(features, Y, sample_weight)
    means = set_means(features, groups)
    decoder = decoder_from_means(groups, means, variant, max_labels, prior)
    held_out = (features, groups) if validation is None else grouped(*validation)
    return replace(decoder, variance=_residual_variance(decoder, *held_out))


def decoder_from_means(
    groups: LabelSets, means: np.ndarray, variant: str, max_labels: int | None, prior: float
) -> ONNDecoder:
    """The decoder from the means of the label sets, its variance still 1."""
    largest, proper = _largest_size(groups, max_labels), groups.proper()
    total = groups.weights.sum()
    if variant == "observed" or not proper.any():
        fitted = no_tags(groups.n_labels, groups.weights @ means / total)
        own = groups.sizes <= largest
    else:
        fitted = fit_tags(means, groups)
        own = ~proper & (groups.sizes <= largest)
    # A size whose scale is not positive has lost its direction: its prototypes would all be g.
    usable = (fitted.multiplicities <= largest) & (fitted.scales > 0)
    sizes = fitted.multiplicities[usable]
    if not own.any() and not len(sizes):
        raise ValueError(f"No label set of Y has at most max_labels={largest} labels.")
    seen = proper & np.isin(groups.sizes, sizes)
    size_share = np.bincount(groups.sizes, groups.weights)[sizes] / total
    log_share = np.log(groups.weights / total)
    return ONNDecoder(
        variant=variant,
        n_labels=groups.n_labels,
        labels=fitted.labels,
        tags=fitted.tags[fitted.labels],
        intercept=fitted.intercept,
        sizes=sizes,
        scales=fitted.scales[usable],
        log_prior=np.log(size_share) - _log_comb(len(fitted.labels), sizes),
        own_sets=groups.sets[own],
        own_prototypes=means[own],
        own_log_prior=log_share[own],
        seen_sets=sp.csr_array(groups.sets[seen][:, fitted.labels]),
        seen_log_prior=log_share[seen],
        variance=1.0,
        prior=float(prior),
    )


def _largest_size(groups: LabelSets, max_labels: int | None) -> int:
    if max_labels is None:
        share = np.cumsum(groups.weights) / groups.weights.sum()  # sets are sorted by size
        return int(groups.sizes[min(int(np.searchsorted(share, 0.999)), len(share) - 1)])
    return int(max_labels)


def _log_comb(L: int, m: np.ndarray) -> np.ndarray:
    return gammaln(L + 1) - gammaln(m + 1) - gammaln(L - m + 1)


def _residual_variance(decoder: ONNDecoder, features: Any, groups: LabelSets) -> float:
    """Mean squared residual per dimension in the span of the prototypes, about the true sets."""
    directions = decoder.tags
    if not len(decoder.sizes):
        directions = decoder.own_prototypes - decoder.intercept
    _, s, Vt = np.linalg.svd(directions, full_matrices=False)
    basis = Vt[s > 1e-9 * s.max(initial=0.0)]
    prototypes = _prototypes_of(decoder, groups.sets)
    rows = np.flatnonzero(groups.of_row >= 0)
    rows = rows[~np.isnan(prototypes[groups.of_row[rows], 0])]
    weight = groups.row_weight[rows].sum() * len(basis)
    if not weight:
        return 1.0
    total = 0.0
    for index, block in row_blocks(features, rows):
        residual = (block - prototypes[groups.of_row[index]]) @ basis.T
        total += groups.row_weight[index] @ (residual**2).sum(axis=1)
    spread = np.mean((decoder.tags if len(decoder.tags) else decoder.own_prototypes) ** 2)
    floor = max(1e-12 * spread, np.finfo(float).tiny)  # exact collapse leaves no residual
    return float(max(total / weight, floor))


def _prototypes_of(decoder: ONNDecoder, sets: sp.csr_array) -> np.ndarray:
    """(U, d) prototypes of label sets; NaN rows where the decoder has none."""
    tags = np.full((decoder.n_labels, len(decoder.intercept)), np.nan)
    tags[decoder.labels] = decoder.tags
    scale = np.full(decoder.n_labels + 1, np.nan)
    scale[decoder.sizes] = decoder.scales
    out = decoder.intercept + scale[np.diff(sets.indptr)][:, None] * (sets @ tags)
    own = dict(zip(_keys(decoder.own_sets), decoder.own_prototypes, strict=True))
    for row, key in zip(out, _keys(sets), strict=True):
        row[:] = own.get(key, row)
    return out


def _keys(sets: sp.csr_array) -> list[bytes]:
    """The labels of each set as a string."""
    ends = zip(sets.indptr[:-1], sets.indptr[1:], strict=True)
    return [sets.indices[start:stop].astype(np.int64).tobytes() for start, stop in ends]
