"""The fitted one-nearest-neighbour decoder: features in, label sets and marginals out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.special import softmax

from sklearn_mlcl.collapse._label_sets import as_rows, row_blocks
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


#: Parts of a decoder that are no real numbers.
_MAY_BE_INTEGERS = {"labels", "sizes", "own_sets", "seen_sets"}


@dataclass(frozen=True)
class ONNDecoder:
    r"""Decoder by the nearest label-set prototype, as `fit_onn_decoder` returns it.

    Prototypes are :math:`P_S = g + \alpha_m \sum_{k\in S} t_k` for the candidate sizes m, beside
    listed sets with prototypes of their own.

    Attributes
    ----------
    variant : str
        "tags", "etf", "cosine" or "observed".
    n_labels : int
        Number of labels L.
    labels : ndarray of shape (L',), int
        Labels with a tag vector. Others are predicted only within a set of `own_sets`.
    tags, intercept : ndarrays of shape (L', d) and (d,)
        t_k and g.
    sizes, scales, log_prior : ndarrays of shape (M,)
        Candidate sizes m, alpha_m > 0, and the log prior of one set of that size.
    own_sets, own_prototypes, own_log_prior : csr_array (U, L), ndarrays (U, d) and (U,)
        Sets with own prototypes: the empty and the full set if seen; for "observed"
        every set seen.
    seen_sets, seen_log_prior : csr_array (V, L') and ndarray (V,)
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

    def __post_init__(self) -> None:
        """Refuse parts that do not fit together: sparse products trust labels and sets."""
        L, M, d = len(self.labels), len(self.sizes), len(self.intercept)
        n_own, n_seen = len(self.own_log_prior), len(self.seen_log_prior)
        shapes = {
            "labels": (L,),
            "tags": (L, d),
            "intercept": (d,),
            "sizes": (M,),
            "scales": (M,),
            "log_prior": (M,),
            "own_sets": (n_own, self.n_labels),
            "own_prototypes": (n_own, d),
            "own_log_prior": (n_own,),
            "seen_sets": (n_seen, L),
            "seen_log_prior": (n_seen,),
        }
        for name, shape in shapes.items():
            part = getattr(self, name)
            # The labels and sizes are integers, and sets may be.
            wrong = part.dtype.kind not in ("f" if name not in _MAY_BE_INTEGERS else "biuf")
            if part.shape != shape or wrong:
                raise ValueError(
                    f"{name} of the decoder must have shape {shape}, got {part.dtype} of shape "
                    f"{part.shape}."
                )
        for name, values, end in (
            ("labels", self.labels, self.n_labels - 1),
            ("sizes", self.sizes, L),
        ):
            if values.dtype.kind not in "iu" or ((values < 0) | (values > end)).any():
                raise ValueError(f"{name} of the decoder must be integers from 0 to {end}.")

    def decode(self, features: Any) -> sp.csr_array:
        """Label set of the prototype that is nearest to each sample.

        Parameters
        ----------
        features : {array-like, CSR, memory map, torch tensor} of shape (n, d)
            Features h.

        Returns
        -------
        csr_array of shape (n, L), int8
            Indicator rows.

        Raises
        ------
        ValueError
            If the features have another width than in the fit, or hold NaN or infinity.
        """
        features = self._checked(features)
        nearest = self._modelled_search() if len(self.sizes) else None
        parts = [
            self._decode_block(block - self.intercept, nearest)
            for _, block in row_blocks(features, width=len(self.labels))
        ]
        return sp.csr_array(sp.vstack(parts, format="csr"))

    def marginals(self, features: Any) -> np.ndarray:
        r"""Probability of each label under :math:`P(S|h) \propto \pi(S) e^{-\|h-P_S\|^2/2v}`.

        If the norm of a tag sum depends on its size alone, the sum over all sets of the candidate
        sizes is exact. This holds for the variants "etf" and "cosine", and for tags on a simplex
        ETF. Otherwise the sum is over the label sets seen in training.

        Parameters
        ----------
        features : {array-like, CSR, memory map, torch tensor} of shape (n, d)
            Features h.

        Returns
        -------
        ndarray of shape (n, L), float64
            In [0, 1], the ends included.
        """
        features = self._checked(features)
        work, width = self._listed_marginals, len(self.own_log_prior) + len(self.seen_log_prior)
        if self.marginals_are_exact():
            work, width = self._exact_marginals, len(self.labels) * (2 + self.sizes.max())
        out = np.empty((features.shape[0], self.n_labels))
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
        return len(self.sizes) > 0 and self._equinorm()

    def listed_sets(self) -> tuple[np.ndarray, np.ndarray, sp.csr_array]:
        """List the sets seen in training: the support of `marginals` where they are not exact.

        Returns
        -------
        points : ndarray of shape (U, d)
            Prototypes, less the intercept.
        log_prior : ndarray of shape (U,)
            Their log priors.
        sets : csr_array of shape (U, L)
            Their indicator rows.
        """
        scale = self.scales[np.searchsorted(self.sizes, np.diff(self.seen_sets.indptr))]
        seen = scale[:, None] * (self.seen_sets @ self.tags)
        points = np.concatenate([seen, self.own_prototypes - self.intercept])
        log_prior = np.concatenate([self.seen_log_prior, self.own_log_prior])
        sets = sp.csr_array(sp.vstack([self._widened(self.seen_sets), self.own_sets]))
        return points, log_prior, sets

    def _checked(self, features: Any) -> Any:
        features = as_rows(features)
        if features.shape[1] != len(self.intercept):
            raise ValueError(
                f"features has {features.shape[1]} columns; the decoder was fitted on "
                f"{len(self.intercept)}."
            )
        return features

    def _widened(self, sets: sp.csr_array) -> sp.csr_array:
        """Sets of the L' labels with a tag as sets of all labels."""
        shape = (sets.shape[0], self.n_labels)
        return sp.csr_array((sets.data, self.labels[sets.indices], sets.indptr), shape)

    def _equinorm(self) -> bool:
        """Whether the size of a set alone fixes the norm of its tag sum."""
        if self.variant in ("etf", "cosine"):
            return True
        L = len(self.labels)
        gram = self.tags @ self.tags.T
        ideal = np.trace(gram) * (np.eye(L) - 1 / L) / (L - 1)
        return bool(np.linalg.norm(gram - ideal) <= 1e-9 * np.linalg.norm(gram))

    def _size_costs(self) -> np.ndarray:
        """Squared norms of the prototypes on a simplex, alpha_m^2 tau^2 m(L'-m)/(L'-1), (M,)."""
        L, m = len(self.labels), self.sizes
        tau2 = (self.tags**2).sum() / L
        return self.scales**2 * tau2 * m * (L - m) / (L - 1)

    def _decode_block(self, centered: np.ndarray, nearest: Search | None) -> sp.csr_array:
        if nearest is None:
            return self._own(centered)[0]
        found, distances = nearest(centered @ self.tags.T)
        sets = self._widened(found)
        if self.variant == "cosine" or not len(self.own_log_prior):
            return sets
        own, own_distances = self._own(centered)
        n = len(centered)
        return sp.vstack([sets, own], format="csr")[np.arange(n) + n * (own_distances < distances)]

    def _modelled_search(self) -> Search:
        """The search over the sets of the tag model, as a function of the tag scores."""
        if self.variant == "cosine":
            return partial(nearest_cosine, sizes=self.sizes)
        costs = -2 * self.variance * self.prior * self.log_prior
        if self._equinorm():
            costs = costs + self._size_costs()
            return partial(nearest_equinorm, sizes=self.sizes, slopes=self.scales, costs=costs)
        return partial(
            nearest_tags,
            gram=self.tags @ self.tags.T,
            sizes=self.sizes,
            scales=self.scales,
            costs=costs,
        )

    def _own(self, centered: np.ndarray) -> tuple[sp.csr_array, np.ndarray]:
        """Nearest of the sets with prototypes of their own."""
        costs = -2 * self.variance * self.prior * self.own_log_prior
        index, distances = nearest_prototype(centered, self.own_prototypes - self.intercept, costs)
        return self.own_sets[index].astype(np.int8), distances

    def _exact_marginals(self, centered: np.ndarray) -> np.ndarray:
        v, scores = self.variance, centered @ self.tags.T
        offsets = self.log_prior - self._size_costs() / (2 * v)
        given_size, log_mass = subset_marginals(scores, self.sizes, self.scales / v, offsets)
        own = self._log_weights(centered, self.own_prototypes - self.intercept, self.own_log_prior)
        share = softmax(np.concatenate([log_mass, own], axis=1), axis=1)
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
