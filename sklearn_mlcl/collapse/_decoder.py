"""The fitted one-nearest-neighbour decoder: plain arrays in, label sets and marginals out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.special import logsumexp

from sklearn_mlcl.collapse._label_sets import as_rows, is_sparse, map_blocks, row_blocks
from sklearn_mlcl.collapse._search import (
    Found,
    nearest_cosine,
    nearest_equinorm,
    nearest_prototype,
    nearest_tags,
    observed_marginals,
    subset_marginals,
)

#: From the scores of the tags to the nearest sets and their distances.
Search = Callable[[np.ndarray], Found]


@dataclass(frozen=True)
class ONNDecoder:
    r"""Decoder by the nearest label-set prototype, as `fit_onn_decoder` returns it.

    Prototypes are :math:`P_S = g + \alpha_m \sum_{k\in S} t_k` for the candidate sizes m, beside
    listed sets with prototypes of their own. Every attribute is an array, a CSR array, a number
    or a string; `to_arrays` and `from_arrays` turn the whole into plain arrays and back.

    Attributes
    ----------
    variant : str
        "tags", "etf", "cosine" or "observed".
    n_labels : int
        K, the width of what `decode` returns.
    labels : ndarray of shape (K',), int
        Labels with a tag vector. Others are predicted only within a set of `own_sets`.
    tags, intercept : ndarrays of shape (K', d) and (d,)
        t_k and g.
    sizes, scales, log_prior : ndarrays of shape (M,)
        Candidate sizes m, alpha_m > 0, and the log prior of one set of that size.
    own_sets, own_prototypes, own_log_prior : csr_array (U, K), ndarrays (U, d) and (U,)
        Sets with prototypes of their own: the empty and the full set if seen; for "observed"
        every set seen.
    seen_sets, seen_log_prior : csr_array (V, K') and ndarray (V,)
        Training sets of the candidate sizes: the support of the marginals under general tags.
    variance : float
        Isotropic variance v of the features about their prototypes, per dimension.
    prior : float
        Strength t of the prior in `decode`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import fit_onn_decoder, simplex_etf
    >>> Y = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
    >>> T = simplex_etf(3)
    >>> fit_onn_decoder(Y @ T, Y).decode(np.array([[0, 1, 1]]) @ T).toarray()
    array([[0, 1, 1]], dtype=int8)
    """

    variant: str
    n_labels: int
    labels: np.ndarray
    tags: np.ndarray
    intercept: np.ndarray
    sizes: np.ndarray
    scales: np.ndarray
    log_prior: np.ndarray
    own_sets: sp.csr_array
    own_prototypes: np.ndarray
    own_log_prior: np.ndarray
    seen_sets: sp.csr_array
    seen_log_prior: np.ndarray
    variance: float
    prior: float

    def decode(self, features: Any, *, max_candidates: int = 4096) -> sp.csr_array:
        """Label set of the nearest prototype of each row.

        Parameters
        ----------
        features : {array-like, CSR, memory map, torch tensor} of shape (n, d)
            Rows h.
        max_candidates : int, default=4096
            For general tags: list the sets, which is exact, up to this number; see `nearest_tags`.

        Returns
        -------
        csr_array of shape (n, K), int8
            Indicator rows.

        Raises
        ------
        ValueError
            If the features have another width than in the fit, or hold NaN or infinity.
        """
        nearest = self._modelled_search(max_candidates) if len(self.sizes) else None
        parts = map_blocks(
            lambda block: self._decode_block(block, nearest),
            self._checked(features),
            width=len(self.labels),
        )
        if not parts:
            parts = [sp.csr_array((0, self.n_labels), dtype=np.int8)]
        return sp.csr_array(sp.vstack(parts, format="csr"))

    def marginals(self, features: Any) -> np.ndarray:
        r"""Probability of each label under :math:`P(S|h) \propto \pi(S) e^{-\|h-P_S\|^2/2v}`.

        Exact over all sets of the candidate sizes where the norm of a tag sum depends on the size
        alone (variants "etf" and "cosine", or tags on a simplex ETF); otherwise over the label
        sets seen in training.

        Parameters
        ----------
        features : {array-like, CSR, memory map, torch tensor} of shape (n, d)
            Rows h.

        Returns
        -------
        ndarray of shape (n, K), float64
            In [0, 1]; not clipped.
        """
        features = self._checked(features)
        out = np.empty((features.shape[0], self.n_labels))
        exact = self.marginals_are_exact()
        work = self._exact_marginals if exact else self._listed_marginals
        width = len(self.labels) * (2 + self.sizes.max(initial=0)) if exact else self._n_listed()
        for index, block in row_blocks(features, width=width):
            out[index] = work(block - self.intercept)
        return np.clip(out, 0.0, 1.0)  # rounding of sums of probabilities

    def marginals_are_exact(self) -> bool:
        """Whether `marginals` sums over all sets of the candidate sizes, not over those seen.

        Returns
        -------
        bool
            True where they are exact.
        """
        return len(self.sizes) > 0 and self.equinorm()

    def listed_sets(self) -> tuple[np.ndarray, np.ndarray, sp.csr_array]:
        """List the sets seen in training: the support of `marginals` where they are not exact.

        Returns
        -------
        points : ndarray of shape (U, d)
            Prototypes, less the intercept.
        log_prior : ndarray of shape (U,)
            Their log priors.
        sets : csr_array of shape (U, K)
            Their indicator rows.
        """
        scale = self.scales[np.searchsorted(self.sizes, np.diff(self.seen_sets.indptr))]
        seen = scale[:, None] * (self.seen_sets @ self.tags)
        wide = sp.csr_array(
            (self.seen_sets.data, self.labels[self.seen_sets.indices], self.seen_sets.indptr),
            (self.seen_sets.shape[0], self.n_labels),
        )
        points = np.concatenate([seen, self.own_prototypes - self.intercept])
        log_prior = np.concatenate([self.seen_log_prior, self.own_log_prior])
        return points, log_prior, sp.csr_array(sp.vstack([wide, self.own_sets]))

    def equinorm(self) -> bool:
        """Tell whether the size of a set alone fixes the norm of its tag sum.

        Returns
        -------
        bool
            True where the search and the marginals are exact.
        """
        if self.variant in ("etf", "cosine"):
            return True
        K = len(self.labels)
        gram = self.tags @ self.tags.T
        ideal = np.trace(gram) * (np.eye(K) - 1 / K) / max(K - 1, 1)
        return bool(np.linalg.norm(gram - ideal) <= 1e-9 * np.linalg.norm(gram))

    def size_costs(self) -> np.ndarray:
        """Compute the squared norms of prototypes on a simplex ETF.

        Returns
        -------
        ndarray of shape (M,)
            For every candidate size alpha_m^2 tau^2 m(K'-m)/(K'-1).
        """
        K, m = len(self.labels), self.sizes
        tau2 = (self.tags**2).sum() / max(K, 1)
        return self.scales**2 * tau2 * m * (K - m) / max(K - 1, 1)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the state as plain arrays.

        Returns
        -------
        dict of str to ndarray
            Strings and numbers are 0-d arrays, a CSR array is its indices and its indptr.
        """
        out = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if is_sparse(value):
                out[f"{field.name}.indices"], out[f"{field.name}.indptr"] = (
                    value.indices,
                    value.indptr,
                )
            else:
                out[field.name] = np.asarray(value)
        return out

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> ONNDecoder:
        """Rebuild the decoder from what `to_arrays` returned.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            The state.

        Returns
        -------
        ONNDecoder
            The decoder.
        """
        width = {"own_sets": int(arrays["n_labels"]), "seen_sets": len(arrays["labels"])}
        values: dict[str, Any] = {}
        for field in fields(cls):
            name = field.name
            if name in width:
                indices, indptr = arrays[f"{name}.indices"], arrays[f"{name}.indptr"]
                shape = (len(indptr) - 1, width[name])
                values[name] = sp.csr_array((np.ones(len(indices)), indices, indptr), shape=shape)
            else:
                value = arrays[name]
                values[name] = value.item() if np.ndim(value) == 0 else np.asarray(value)
        return cls(**values)

    def _checked(self, features: Any) -> Any:
        features = as_rows(features)
        if features.shape[1] != len(self.intercept):
            raise ValueError(
                f"features has {features.shape[1]} columns; the decoder was fitted on "
                f"{len(self.intercept)}."
            )
        return features

    def _n_listed(self) -> int:
        return len(self.own_log_prior) + len(self.seen_log_prior)

    def _decode_block(self, block: np.ndarray, nearest: Search | None) -> sp.csr_array:
        centered = block - self.intercept
        if nearest is None:
            return self._own(centered)[0]
        sets, distances = nearest(centered @ self.tags.T)
        sets = sp.csr_array(
            (sets.data, self.labels[sets.indices], sets.indptr), (len(block), self.n_labels)
        )
        if self.variant == "cosine" or not len(self.own_log_prior):
            return sets
        own, own_distances = self._own(centered)
        closer = own_distances < distances
        if not closer.any():
            return sets
        stacked = sp.vstack([sets, own], format="csr")
        return stacked[np.arange(len(block)) + len(block) * closer]

    def _modelled_search(self, max_candidates: int) -> Search:
        """The search over the sets of the tag model, as a function of the tag scores."""
        costs = -2 * self.variance * self.prior * self.log_prior
        sizes, scales = self.sizes, self.scales
        # All the labels with a tag have no direction in common; only norms can tell that set apart.
        if self.variant == "cosine" and sizes[-1] < len(self.labels):
            return partial(nearest_cosine, sizes=sizes)
        if self.equinorm():
            costs = costs + self.size_costs()
            return partial(nearest_equinorm, sizes=sizes, slopes=scales, costs=costs)
        return partial(
            nearest_tags,
            gram=self.tags @ self.tags.T,
            sizes=sizes,
            scales=scales,
            costs=costs,
            max_candidates=max_candidates,
        )

    def _own(self, centered: np.ndarray) -> tuple[sp.csr_array, np.ndarray]:
        costs = -2 * self.variance * self.prior * self.own_log_prior
        index, distances = nearest_prototype(centered, self.own_prototypes - self.intercept, costs)
        return self.own_sets[index].astype(np.int8), distances

    def _exact_marginals(self, centered: np.ndarray) -> np.ndarray:
        v, scores = self.variance, centered @ self.tags.T
        offsets = self.log_prior - self.size_costs() / (2 * v)
        given_size, log_mass = subset_marginals(scores, self.sizes, self.scales / v, offsets)
        own = self._log_weights(centered, self.own_prototypes - self.intercept, self.own_log_prior)
        log_all = np.concatenate([log_mass, own], axis=1)
        share = np.exp(log_all - logsumexp(log_all, axis=1, keepdims=True))
        out = (self.own_sets.T @ share[:, len(self.sizes) :].T).T
        out[:, self.labels] += np.einsum("nm,nmk->nk", share[:, : len(self.sizes)], given_size)
        return out

    def _listed_marginals(self, centered: np.ndarray) -> np.ndarray:
        points, log_prior, sets = self.listed_sets()
        return observed_marginals(self._log_weights(centered, points, log_prior), sets)

    def _log_weights(
        self, centered: np.ndarray, prototypes: np.ndarray, log_prior: np.ndarray
    ) -> np.ndarray:
        """log pi(S) - ||h - P_S||^2 / 2v, up to a term of the row, as _exact_marginals has it."""
        half = (prototypes**2).sum(axis=1) / 2
        return (centered @ prototypes.T - half) / self.variance + log_prior
