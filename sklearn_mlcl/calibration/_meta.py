"""Calibrated probabilities around any classifier of label matrices."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from sklearn_mlcl.calibration._scaling import METHODS, fit_calibration
from sklearn_mlcl.thresholds._crossfit import HeldOutClassifier
from sklearn_mlcl.utils._sklearn_compat import StrOptions
from sklearn_mlcl.utils.answers import in_chosen_container, logit, sigmoid
from sklearn_mlcl.utils.parameters import named_in_errors, param
from sklearn_mlcl.utils.state import check_arrays

LOWEST_FLOOR = 1e-7


@named_in_errors
class MultiLabelCalibratedClassifierCV(HeldOutClassifier):
    """Classifier with probabilities calibrated per label on held-out samples.

    The estimator is fitted on the training part of each fold and scores the other part.
    :func:`sklearn_mlcl.calibration.fit_calibration` fits one calibration on all held-out scores
    together. Then the estimator is fitted on all samples. scikit-learn's
    ``CalibratedClassifierCV`` refuses label matrices.

    Parameters
    ----------
    method : {"platt", "temperature"}
        Slope and offset of the log-odds of each label, or the slope alone. Temperature scaling
        needs probabilities, or a ``decision_function`` that returns log-odds.
    response_method : {"auto", "predict_proba", "decision_function"}
        Scores to calibrate; "auto" takes ``decision_function`` if there is one. Probabilities
        become log-odds, and a forest's 0 is not a certainty. So they are kept away from 0 and 1 by
        half the smallest distance among the held-out samples (at least 1e-7).

    Attributes
    ----------
    estimator_ : classifier
        The fitted classifier.
    calibration_ : LabelCalibration
        Slopes and offsets, shape (L,) each.
    probability_floor_ : float or None
        Probabilities are clipped to this distance from 0 and 1; None for a ``decision_function``.
    {shared_attributes}

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from sklearn_mlcl.calibration import MultiLabelCalibratedClassifierCV
    >>> X, Y = make_multilabel_classification(200, n_classes=3, random_state=0)
    >>> forest = RandomForestClassifier(20, random_state=0)
    >>> MultiLabelCalibratedClassifierCV(forest, cv=3).fit(X, Y).predict_proba(
    ...     X
    ... ).shape
    (200, 3)
    """

    method: str = param("platt", StrOptions(set(METHODS)))
    _methods = ("decision_function", "predict_proba")
    _without_fit: ClassVar[set[str]] = {"method"}

    def _learn(self, Y: Any, scores: list[np.ndarray], weight: np.ndarray | None) -> None:
        from_proba = self._method == "predict_proba"
        self.probability_floor_ = floor_of(scores[0]) if from_proba else None
        self.calibration_ = fit_calibration(
            Y, self._as_logits(scores[0]), method=self.method, sample_weight=weight
        )

    def _check_state(self) -> None:
        super()._check_state()
        each = (self._format.n_labels,)
        check_arrays(self.calibration_, {"slope": each, "offset": each})

    def _as_logits(self, scores: np.ndarray) -> np.ndarray:
        floor = self.probability_floor_
        return scores if floor is None else logit(np.clip(scores, floor, 1 - floor))

    def _calibrated(self, X: Any) -> np.ndarray:
        scores = self._scores(X)
        return self.calibration_.logits(self._as_logits(scores))

    @in_chosen_container
    def decision_function(self, X: Any) -> np.ndarray:
        """Return calibrated log-odds.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            As the estimator takes it.

        Returns
        -------
        logits : ndarray of shape (n, L), or (n,) for a binary target
            Log-odds.
        """
        return self._format.decisions(self._calibrated(X))

    @in_chosen_container
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return calibrated probabilities, strictly inside (0, 1).

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            As the estimator takes it.

        Returns
        -------
        probabilities : ndarray of shape (n, L), or (n, 2) for a binary target
            Strictly inside (0, 1).
        """
        return self._format.probabilities(sigmoid(self._calibrated(X)))

    @in_chosen_container
    def predict(self, X: Any) -> Any:
        """Decide at a calibrated probability of 0.5.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            As the estimator takes it.

        Returns
        -------
        labels : ndarray or CSR matrix of shape (n, L), or ndarray of shape (n,)
            In the form and dtype of the y given to ``fit``; integer if that had NaN.
        """
        return self._format.predictions(sigmoid(self._calibrated(X)), 0.5)


def floor_of(probabilities: np.ndarray) -> float:
    """Half the smallest distance from 0 or 1 that is not 0."""
    distance = np.minimum(probabilities, 1 - probabilities)
    distance = distance[distance > 0]
    return max(float(distance.min()) / 2, LOWEST_FLOOR) if len(distance) else LOWEST_FLOOR
