"""Probabilities of labels that few rows show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logit

from sklearn_mlcl.utils.class_weight import weighted_counts
from sklearn_mlcl.utils.probabilities import clip_open_interval, sigmoid


def label_counts(Y: Any, weights: np.ndarray | None) -> np.ndarray:
    """Return how many rows have each label and how many lack it, of shape (2, L).

    A row counts as one whatever it weighs, unless that is 0; unknown labels do not count.
    """
    return np.stack(weighted_counts(Y, None if weights is None else (weights > 0).astype(float)))


@dataclass(frozen=True)
class RareLabels:
    r"""What is done about labels that few rows show.

    What is fitted with regularisation shrinks a label of few rows towards its absence. The
    log-odds of each label are raised by

    .. math:: \log\frac{c + a}{c} - \log\frac{m + a}{m}

    with :math:`c` rows that have the label, :math:`m` that lack it and :math:`a` the prior count:
    nothing among hundreds of rows, and nothing for a label with a single value. Of a label that
    one row alone shows either the net or the regressions on the features may have learnt: its
    probability is that either of the two says so, where both have a share. What both are worth
    was measured on folds and on labels cut down to a few rows: ``doc/choosing.rst``.

    Attributes
    ----------
    shift : ndarray of shape (L,)
        What the log-odds are raised by.
    single : ndarray of shape (L,), bool
        The labels that one row shows, where both models have a share.
    """

    shift: np.ndarray
    single: np.ndarray

    @classmethod
    def of(cls, counts: np.ndarray, prior_count: float, linear_share: float) -> RareLabels:
        """Return it for labels of which ``counts`` (2, L) are given; a prior of 0 does nothing."""
        shift, several = np.zeros(counts.shape[1]), (counts > 0).all(axis=0)
        positive, negative = np.log1p(prior_count / counts[:, several])
        shift[several] = positive - negative
        return cls(shift, (counts[0] == 1) & (prior_count > 0) & (0 < linear_share < 1))

    def blended(self, net: np.ndarray, linear: np.ndarray, share: float) -> np.ndarray:
        """Return the log-odds of the net, of shape (n, L), blended with the regressions'."""
        blend = net + share * (linear - net)
        single = np.flatnonzero(self.single)
        blend[:, single] = either(net[:, single], linear[:, single])
        return blend


def either(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the log-odds of p + q - pq, from those of p and q."""
    p, q = sigmoid(first), sigmoid(second)
    return logit(clip_open_interval(p + q - p * q))
