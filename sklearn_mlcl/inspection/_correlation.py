"""Phi coefficients of labels, known or predicted, and an order with similar ones together."""

from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from sklearn_mlcl.collapse._etf import phi_coefficient


def implied_phi(values: np.ndarray, known: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Phi coefficients of labels that are drawn with given probabilities, each on its own.

    Parameters
    ----------
    values : ndarray of shape (n, L)
        Probabilities; or the labels themselves, of which it makes the observed coefficients.
    known : ndarray of bool, shape (n, L)
        Cells that count: a pair of labels is compared over the rows where both are known.
    weight : ndarray of shape (n,)
        Weights of the rows.

    Returns
    -------
    phi : ndarray of shape (L, L)
        1 on the diagonal; NaN where a label shows a single value.
    """
    rows = known.astype(np.float64)
    weighted = rows * weight[:, None]
    p = rows * values
    positives = (weighted * p).T @ rows
    together = (weighted * p).T @ p
    # The rows of a pair stand where the labels stand in the phi coefficient of two label sets.
    phi = phi_coefficient(together, positives, positives.T, weighted.T @ rows)
    np.fill_diagonal(phi, np.where(np.isnan(np.diag(phi)), np.nan, 1.0))
    return phi


def cluster_order(correlation: np.ndarray) -> np.ndarray:
    """Order of the leaves of an average-linkage tree; a pair without a correlation has 0."""
    if len(correlation) < 3:
        return np.arange(len(correlation))
    # Rounding takes a correlation beyond 1.
    distance = np.clip(1 - np.nan_to_num(correlation), 0, None)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return leaves_list(tree)
