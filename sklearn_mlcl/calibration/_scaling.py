"""Temperature and Platt scaling of every label at once, by Newton steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_mlcl.utils.answers import logit, sigmoid
from sklearn_mlcl.utils.docstrings import document
from sklearn_mlcl.utils.samples import chunks
from sklearn_mlcl.utils.validation import LabelEntries, check_numbers, check_scores, read_values

METHODS = ("platt", "temperature")
LABELS_PER_BLOCK = 64
LOWEST_SLOPE = 0.01  # a temperature of 100
MAX_STEPS, MAX_HALVINGS, TOLERANCE = 100, 30, 1e-10


@dataclass(frozen=True)
class LabelCalibration:
    r"""Calibrated log-odds of each label, :math:`a_l z + b_l`.

    Attributes
    ----------
    slope : ndarray of float64, shape (L,)
        :math:`a_l`; the inverse temperature.
    offset : ndarray of float64, shape (L,)
        :math:`b_l`; zeros for temperature scaling.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.calibration import LabelCalibration
    >>> calibration = LabelCalibration(
    ...     slope=np.array([0.5]), offset=np.array([0.0])
    ... )
    >>> (
    ...     calibration.probabilities(np.array([[4.0]])).round(3),
    ...     calibration.temperature,
    ... )
    (array([[0.881]]), array([2.]))
    """

    slope: np.ndarray
    offset: np.ndarray

    @property
    def temperature(self) -> np.ndarray:
        """Inverse of the slope, shape (L,)."""
        return 1 / self.slope

    def logits(self, logits: np.ndarray) -> np.ndarray:
        """Return calibrated logits.

        Parameters
        ----------
        logits : ndarray of shape (n, L)
            Log-odds, or for Platt scaling any scores.

        Returns
        -------
        ndarray of shape (n, L)
            In the dtype of the given ones.
        """
        logits = check_numbers(logits, "logits", ("n_samples", len(self.slope)))
        dtype = np.result_type(logits.dtype, np.float32)
        return self.slope.astype(dtype) * logits + self.offset.astype(dtype)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities.

        Parameters
        ----------
        logits : ndarray of shape (n, L)
            Log-odds, or for Platt scaling any scores.

        Returns
        -------
        ndarray of shape (n, L)
            Strictly inside (0, 1).
        """
        return sigmoid(self.logits(logits))


@document(check_scores)
def fit_calibration(
    y_true: Any,
    logits: Any,
    *,
    method: str = "platt",
    sample_weight: Any = None,
    missing_label: float = np.nan,
) -> LabelCalibration:
    r"""Fit temperature or Platt scaling of each label on held-out logits.

    Minimises for each label, over the samples where it is not missing,

    .. math:: \sum_i w_i \left[ \log(1 + e^{u_i}) - t_i u_i \right], \qquad u_i = a z_i + b

    with :math:`b = 0` and :math:`a \ge 0.01` for "temperature" (:math:`a = 1/T`), both free for
    "platt". The targets are Platt's: :math:`t_i = (N_+ + 1) / (N_+ + 2)` for a positive and
    :math:`1 / (N_- + 2)` for a negative, N the weight of either. So separable and constant labels
    have a finite optimum. All labels take Newton steps together, each with its own step length,
    halved until its loss does not rise.

    Parameters
    ----------
    <y_true>
    logits : array-like of shape (n, L)
        Finite log-odds, or for "platt" any score, of samples that the classifier was not fitted on.
    method : {"platt", "temperature"}, default="platt"
        Slope and offset, or the slope alone.
    <sample_weight>
    <missing_label>

    Returns
    -------
    calibration : LabelCalibration
        A label whose entries are all missing keeps its logits.

    Raises
    ------
    ValueError
        For shapes that differ, other entries, logits that are not finite, or another method.

    References
    ----------
    .. [1] Platt, "Probabilistic outputs for support vector machines and comparisons to
       regularized likelihood methods", Advances in Large Margin Classifiers, 1999.
    .. [2] Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.calibration import fit_calibration
    >>> Y = np.tile([[1], [0], [1], [0]], (100, 1))
    >>> z = np.tile([[4.0], [-4.0], [4.0], [4.0]], (100, 1))  # right in 3 of 4 rows
    >>> fit_calibration(Y, z, method="temperature").temperature.round(1)
    array([3.7])
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, got {method!r}.")
    entries = read_values(y_true, logits, "logits", sample_weight, missing_label).whole()
    blocks = [
        _fit_block(entries.take(labels=block), method)
        for block in chunks(entries.shape[1], LABELS_PER_BLOCK)
    ]
    return LabelCalibration(*np.concatenate(blocks, axis=1))


def _fit_block(part: LabelEntries, method: str) -> np.ndarray:
    """Slope and offset of a block of labels, shape (2, number of labels)."""
    w, z = part.entry_weight(), part.values.astype(np.float64)
    mass = np.where(w.any(axis=0), w.sum(axis=0), 1.0)
    scale = np.sqrt((w * z**2).sum(axis=0) / mass)
    scale = np.where(scale > 0, scale, 1.0)
    positives = (w * part.positive).sum(axis=0)
    targets = np.where(part.positive, (positives + 1) / (positives + 2), 1 / (mass - positives + 2))
    start = np.zeros((2, len(mass)))
    if method == "platt":
        features, lowest = np.stack([z / scale, np.ones_like(z)]), np.full(len(mass), -np.inf)
        start[1] = logit((w * targets).sum(axis=0) / mass)
    else:
        features, lowest = (z / scale)[None], LOWEST_SLOPE * scale
        start[0] = lowest
    start[: len(features)] = _minimum(features, targets, w, start[: len(features)], lowest)
    return np.where(w.any(axis=0), start / [scale, np.ones_like(scale)], [[1.0], [0.0]])


def _minimum(
    features: np.ndarray, targets: np.ndarray, w: np.ndarray, at: np.ndarray, lowest: np.ndarray
) -> np.ndarray:
    """Coefficients (k, L) of a logistic regression of each label on its features (k, n, L)."""

    def loss_at(at: np.ndarray) -> np.ndarray:
        u = np.einsum("kl,knl->nl", at, features)
        return (w * (np.logaddexp(0, u) - targets * u)).sum(axis=0)

    loss = loss_at(at)
    for _ in range(MAX_STEPS):
        p = sigmoid(np.einsum("kl,knl->nl", at, features))
        gradient = np.einsum("knl,nl->lk", features, w * (p - targets))
        hessian = np.einsum("jnl,knl->ljk", features * (w * p * (1 - p)), features)
        # The ridge keeps a constant z, whose slope and offset are one thing, from dividing by 0.
        ridge = 1e-9 * hessian.trace(axis1=1, axis2=2) + 1e-100
        hessian += ridge[:, None, None] * np.eye(len(features))
        step = -np.linalg.solve(hessian, gradient[..., None])[..., 0].T
        promise = -(step * gradient.T).sum(axis=0)
        # Halve the steps of the labels whose loss would rise; a label may stay.
        for _ in range(MAX_HALVINGS):
            moved = np.maximum(at + step, lowest)
            fallen = loss_at(moved)
            rising = ~(fallen <= loss)
            if not rising.any():
                break
            step = np.where(rising, step / 2, step)
        converged = (promise <= TOLERANCE * (1 + loss)) | ~(fallen < loss)
        at, loss = np.where(rising, at, moved), np.where(rising, loss, fallen)
        if converged.all():
            break
    return at
