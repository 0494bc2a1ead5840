"""From probabilities to label sets: a threshold, the k largest, and the choice between rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sklearn_mlcl.utils.parameters import STRENGTH_OR_0, check_arguments
from sklearn_mlcl.utils.targets import as_label_matrix, label_names_in
from sklearn_mlcl.utils.topk import topk_decision
from sklearn_mlcl.utils.validation import check_decisions, check_numbers, check_per_label

SCORINGS = ("f1_micro", "f1_macro", "f1_samples")


def threshold_decision(probabilities: Any, threshold: ArrayLike) -> np.ndarray:
    """Predict the labels with a probability of at least the threshold.

    Parameters
    ----------
    probabilities : {array-like, DataFrame} of shape (n, L)
        Probabilities or any scores.
    threshold : float or array-like of shape (L,)
        One threshold, or one for each label.

    Returns
    -------
    ndarray of shape (n, L), bool
        True where a label is predicted.

    Raises
    ------
    ValueError
        If `threshold` is neither a number nor of length L.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.thresholds import threshold_decision
    >>> threshold_decision(np.array([[0.4, 0.6]]), [0.3, 0.7])
    array([[ True, False]])
    """
    p = check_numbers(probabilities, "probabilities", ("n_samples", "n_labels"), finite=False)
    names = label_names_in(probabilities)
    cuts = check_per_label(threshold, p.shape[1], names, "threshold")
    if np.isnan(cuts).any():
        raise ValueError(f"threshold must hold numbers, got {threshold!r}.")
    return np.asarray(p >= cuts)


def tune_topk(scores: ArrayLike, Y: Any, *, scoring: str = "f1_micro") -> int:
    """The one k for `topk_decision` that scores best on (held-out) samples.

    Parameters
    ----------
    scores : ndarray of shape (n, L)
        Probabilities or any scores.
    Y : {array-like, CSR} of shape (n, L)
        Indicator matrix; NaN entries are ignored.
    scoring : {"f1_micro", "f1_macro", "f1_samples"}, default="f1_micro"
        Score to maximise.

    Returns
    -------
    int
        In 1..L; the smallest on ties.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.thresholds import tune_topk
    >>> tune_topk(
    ...     np.array([[0.9, 0.8, 0.1], [0.1, 0.6, 0.7]]),
    ...     np.array([[1, 1, 0], [0, 1, 1]]),
    ... )
    2
    """
    scores = check_numbers(scores, "scores", _check_labels(Y, "Y"), finite=False)
    ks = range(1, scores.shape[1] + 1)
    values = [score_and_influence(topk_decision(scores, k), Y, scoring)[0] for k in ks]
    return 1 + int(np.argmax(values))


def choose_decision(
    predictions: Mapping[str, object], Y: Any, *, scoring: str = "f1_micro", n_se: float = 1.0
) -> tuple[str, dict[str, float]]:
    r"""The best decision rule on held-out samples: the first one unless another is clearly better.

    A rule replaces the first one, the safe rule, if its score is higher by more than `n_se`
    standard errors of the paired difference. The standard error is :math:`\hat\sigma(\psi_a -
    \psi_b)/\sqrt n` with :math:`\psi` the influence of a sample on the score. Of several such rules
    the best one is chosen.

    Parameters
    ----------
    predictions : mapping of str to {ndarray, CSR} of shape (n, L)
        Predictions of each rule on the held-out samples, the safe rule first.
    Y : {array-like, CSR} of shape (n, L)
        True label sets; NaN entries are ignored.
    scoring : {"f1_micro", "f1_macro", "f1_samples"}, default="f1_micro"
        Score to compare.
    n_se : float, default=1.0
        Number of standard errors that count as better.

    Returns
    -------
    name : str
        The rule to use.
    scores : dict of str to float
        The score of every rule.

    Raises
    ------
    ValueError
        If `predictions` is empty, a shape differs from Y's, or `scoring` is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.thresholds import choose_decision
    >>> Y = np.tile(np.eye(2, dtype=int), (20, 1))
    >>> choose_decision({"threshold": np.ones_like(Y), "onn": Y}, Y)[0]
    'onn'
    """
    check_arguments("choose_decision", n_se=(n_se, STRENGTH_OR_0))
    check_arguments("choose_decision", predictions=(predictions, Mapping))
    if not predictions:
        raise ValueError("predictions is empty; at least one rule is expected.")
    shape = _check_labels(Y, "Y")
    for name, P in predictions.items():
        if (found := _check_labels(P, f"predictions[{name!r}]")) != shape:
            raise ValueError(f"predictions[{name!r}] must have shape {shape} of Y, got {found}.")
    parts = {name: score_and_influence(P, Y, scoring) for name, P in predictions.items()}
    names = list(parts)
    base_score, base_influence = parts[names[0]]
    best = names[0]
    for name in names[1:]:
        score, influence = parts[name]
        error = np.std(influence - base_influence) / np.sqrt(len(influence))
        if score - base_score > n_se * error and score > parts[best][0]:
            best = name
    return best, {name: score for name, (score, _) in parts.items()}


def _check_labels(Y: Any, name: str) -> tuple[int, ...]:
    """Return the shape of a label matrix; raise for what is none."""
    shape: tuple[int, ...] = as_label_matrix(Y, name=name).shape
    return shape


def score_and_influence(prediction: Any, Y: Any, scoring: str) -> tuple[float, np.ndarray]:
    """Return an F1 and the influence of each sample on it, 0 where nothing is true or predicted."""
    if scoring not in SCORINGS:
        raise ValueError(f"scoring must be one of {SCORINGS}, got {scoring!r}.")
    entries = check_decisions(Y, prediction)
    predicted = entries.values & entries.known_mask()
    hits, marked = 2.0 * (predicted & entries.positive), 1.0 * predicted + entries.positive
    if scoring == "f1_samples":
        by_sample = _ratio(hits.sum(axis=1), marked.sum(axis=1))
        return float(by_sample.mean()), by_sample - by_sample.mean()
    if scoring == "f1_micro":
        hits, marked = hits.sum(axis=1, keepdims=True), marked.sum(axis=1, keepdims=True)
    score = _ratio(hits.sum(axis=0), marked.sum(axis=0))
    influence = _ratio(hits - score * marked, marked.mean(axis=0))
    return float(score.mean()), influence.mean(axis=1)


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Quotient, 0 where nothing is marked (the ``zero_division=0`` of scikit-learn)."""
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
