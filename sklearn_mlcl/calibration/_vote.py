"""How several classifiers vote: calibrated, weighed, and cut by thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_mlcl.calibration._meta import floor_of
from sklearn_mlcl.calibration._scaling import fit_calibration
from sklearn_mlcl.metrics import multilabel_log_loss
from sklearn_mlcl.thresholds import tune_thresholds
from sklearn_mlcl.utils.answers import logit, sigmoid
from sklearn_mlcl.utils.samples import chunks
from sklearn_mlcl.utils.validation import check_probabilities, check_threshold

#: A label with this weight of positives has its cut half way between its own and the common one.
POSITIVES_FOR_A_CUT = 200.0
#: A calibration must lower the log loss by this share.
LEAST_GAIN = 0.03
MAX_STEPS = 100


@dataclass(frozen=True)
class CommonCalibration:
    """Calibrated log-odds, one line for all labels.

    Attributes
    ----------
    slope, offset : float
        Of the line.
    floor : float
        Probabilities are clipped to this distance from 0 and 1 first.
    """

    slope: float
    offset: float
    floor: float

    def probabilities(self, probabilities: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, in the dtype of the given ones."""
        log_odds = logit(np.clip(probabilities, self.floor, 1 - self.floor))
        return sigmoid(self.slope * log_odds + self.offset)


def common_calibration(
    Y: Any, probabilities: np.ndarray, sample_weight: np.ndarray | None = None
) -> CommonCalibration | None:
    """Return Platt's line for all labels together, None if it hardly lowers the log loss.

    A line that gains little moves rare labels for the sake of frequent ones.
    """
    entries = check_probabilities(Y, probabilities, sample_weight)
    known, floor = entries.known_mask(), floor_of(entries.values)
    line = fit_calibration(
        entries.positive[known].astype(float)[:, None],
        logit(np.clip(entries.values, floor, 1 - floor))[known][:, None],
        sample_weight=entries.entry_weight()[known],
    )
    found = CommonCalibration(float(line.slope[0]), float(line.offset[0]), floor)
    before, after = (
        multilabel_log_loss(Y, each, sample_weight=sample_weight)
        for each in (probabilities, found.probabilities(probabilities))
    )
    return found if after < (1 - LEAST_GAIN) * before else None


def calibrated(
    lines: Sequence[CommonCalibration | None], probabilities: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Return the probabilities of each model, calibrated where it has a line."""
    pairs = zip(lines, probabilities, strict=True)
    return [each if line is None else line.probabilities(each) for line, each in pairs]


def weighted_mean(probabilities: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Return the mean of matrices (n, L), in their dtype and inside [0, 1]."""
    mean = np.zeros_like(probabilities[0])
    for weight, part in zip(weights, probabilities, strict=True):
        mean = mean + float(weight) * part
    return np.clip(mean, 0, 1)


def vote_thresholds(
    threshold: Any,
    Y: Any,
    probabilities: np.ndarray,
    sample_weight: np.ndarray | None = None,
    label_names: Any = None,
) -> float | np.ndarray:
    """Return the thresholds that a parameter stands for, on held-out samples.

    A number, or one for each label, stands for itself. The name of an objective is the common
    threshold that is best for it. "auto" is one threshold per label: the best for the F1 of this
    label, and for rare labels close to the common threshold that is best for micro-F1.
    """
    if not isinstance(threshold, str):
        return check_threshold(threshold, probabilities.shape[1], label_names)
    by_label = threshold == "auto"
    cuts = tune_thresholds(
        Y,
        probabilities,
        objective="f1_macro" if by_label else threshold,
        per_label=by_label,
        shrinkage=POSITIVES_FOR_A_CUT if by_label else 0.0,
        sample_weight=sample_weight,
    )
    return cuts if by_label else float(cuts[0])


def vote_weights(
    Y: Any,
    probabilities: Sequence[np.ndarray],
    sample_weight: np.ndarray | None = None,
    shrinkage: float = 5.0,
) -> np.ndarray:
    r"""Return the weights whose mean probability has the smallest log loss on held-out samples.

    With :math:`q_{jm}` the probability that model m of M gives the true value of entry j, of weight
    :math:`v_j`, they minimise

    .. math:: -\sum_j v_j \log \sum_m w_m q_{jm} - \frac{k}{M} \sum_m \log w_m
        \quad\text{with}\quad w_m > 0,\ \sum_m w_m = 1.

    The second term is that of k entries which all models explain alike: it pulls the weights to
    equal ones where there are few entries. Both terms are convex, and the second strictly.

    Parameters
    ----------
    Y : {ndarray, CSR} of shape (n, L)
        Targets, NaN where missing.
    probabilities : list of ndarray of shape (n, L)
        The probabilities of the models.
    sample_weight : ndarray of shape (n,) or (n, L), default=None
        Weights of the samples or of the entries.
    shrinkage : float > 0, default=5.0
        The number k.

    Returns
    -------
    weights : ndarray of shape (M,)
        Positive, with sum 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.calibration._vote import vote_weights
    >>> Y = np.array([[1], [0]] * 50)
    >>> right, wrong = np.array([[0.9], [0.1]] * 50), np.array([[0.1], [0.9]] * 50)
    >>> vote_weights(Y, [right, wrong]).round(2)
    array([0.97, 0.03])
    """
    parts = []
    for each in probabilities:
        entries = check_probabilities(Y, each, sample_weight)
        eps = np.finfo(entries.values.dtype).eps
        p = np.clip(entries.values, eps, 1 - eps).astype(np.float64)
        parts.append(np.where(entries.positive, p, 1 - p)[entries.known_mask()])
    v = entries.entry_weight()[entries.known_mask()]
    return _mixture_weights(np.stack(parts), v, shrinkage)


def _mixture_weights(q: np.ndarray, v: np.ndarray, k: float) -> np.ndarray:
    """Newton's method with backtracking, q (M, N).

    The constraint becomes a term (sum of v + k) * (sum of w): it is 1 at the optimum, as scaling
    w by c adds -log c to every logarithm.
    """
    n_models, total = len(q), float(v.sum()) + k
    w = np.full(n_models, 1 / n_models)
    value = _value(w, q, v, k)
    for _ in range(MAX_STEPS):
        gradient = total - k / n_models / w
        hessian = np.diag(k / n_models / w**2)
        for part in chunks(q.shape[1]):
            ratio = q[:, part] / (w @ q[:, part])
            gradient -= ratio @ v[part]
            hessian += (ratio * v[part]) @ ratio.T
        # Beside large weights the pull does not tell equal models apart: the shortest step does.
        step = -np.linalg.lstsq(hessian, gradient)[0]
        decrement = -float(gradient @ step)
        shrinking = step < 0
        length = min(1.0, 0.9 * float((w[shrinking] / -step[shrinking]).min(initial=np.inf)))
        # Close to the optimum a full step is right, and rounding hides the gain.
        while decrement > 1e-9 * total:
            moved = _value(w + length * step, q, v, k)
            if moved <= value - 0.1 * length * decrement:
                value = moved
                break
            length /= 2
        w = w + length * step
        if decrement < 1e-14 * total:
            break
    return w / w.sum()


def _value(w: np.ndarray, q: np.ndarray, v: np.ndarray, k: float) -> float:
    logs = sum(float(v[part] @ np.log(w @ q[:, part])) for part in chunks(q.shape[1]))
    return (float(v.sum()) + k) * float(w.sum()) - logs - k * float(np.log(w).mean())
