"""Calibrated probabilities around any classifier of label matrices."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_mlcl.calibration._scaling import METHODS, fit_calibration
from sklearn_mlcl.model_selection._crossfit import HeldOutClassifier, logits_of
from sklearn_mlcl.utils._sklearn_compat import StrOptions
from sklearn_mlcl.utils.set_output import in_chosen_container

LOWEST_FLOOR = 1e-7


class MultiLabelCalibratedClassifierCV(HeldOutClassifier):
    """Classifier whose probabilities are calibrated, label by label, on held-out rows.

    The estimator is fitted on the training part of each fold and scores the other part; one
    calibration is fitted on the scores of all held-out rows together by
    :func:`sklearn_mlcl.calibration.fit_calibration`; then the estimator is fitted on all rows.
    scikit-learn's ``CalibratedClassifierCV`` refuses label matrices.

    Parameters
    ----------
    estimator : classifier
        Any with ``predict_proba`` or ``decision_function`` for label matrices.
    method : {"platt", "temperature"}, default="platt"
        Slope and offset of the log odds of each label, or the slope alone. Temperature scaling
        wants log odds to begin with: probabilities, or a ``decision_function`` of that kind.
    response_method : {"auto", "predict_proba", "decision_function"}, default="auto"
        What is calibrated; "auto" takes ``decision_function`` where there is one. Probabilities
        become log odds, kept away from 0 and 1 by half the smallest distance that held-out rows
        show (1e-7 at least): a forest's 0 is not a certainty.
    cv : int, float, splitter, iterable of splits, "prefit" or None, default=None
        Where held-out rows come from, as in
        :class:`~sklearn_mlcl.thresholds._meta.MultiLabelThresholdClassifierCV`.
    refit : bool, default=True
        Whether to fit on all rows after cross-fitting. False only with a single split.
    n_jobs : int or None, default=None
        Folds fitted at the same time.
    random_state : int, RandomState instance or None, default=None
        Shuffles the rows before they are dealt to folds; None deals them as they come.
    missing_label : float, default=NaN
        What marks an unknown cell of y beside NaN, for example -1, as in
        :class:`~sklearn_mlcl.thresholds._meta.MultiLabelThresholdClassifierCV`.

    Attributes
    ----------
    calibration_ : LabelCalibration
        Slopes and offsets, shape (L,) each.
    probability_floor_ : float or None
        How near to 0 and 1 probabilities may come before they become log odds; None for a
        ``decision_function``.
    estimator_ : classifier
        The fitted classifier.
    classes_ : ndarray
        ``arange(L)``, or the two classes of a binary target.
    label_names_ : ndarray of str
        Column names of a DataFrame y.
    n_features_in_, feature_names_in_
        As the estimator has them.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from sklearn_mlcl.calibration import MultiLabelCalibratedClassifierCV
    >>> X, Y = make_multilabel_classification(200, n_classes=3, random_state=0)
    >>> forest = RandomForestClassifier(20, random_state=0)
    >>> MultiLabelCalibratedClassifierCV(forest, cv=3).fit(X, Y).predict_proba(X).shape
    (200, 3)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **HeldOutClassifier._parameter_constraints,
        "method": [StrOptions(set(METHODS))],
    }
    _methods = ("decision_function", "predict_proba")

    def __init__(
        self,
        estimator: Any,
        *,
        method: str = "platt",
        response_method: str = "auto",
        cv: Any = None,
        refit: bool = True,
        n_jobs: int | None = None,
        random_state: Any = None,
        missing_label: float = np.nan,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.response_method = response_method
        self.cv = cv
        self.refit = refit
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.missing_label = missing_label

    def _learn(self, Y: Any, scores: np.ndarray, weight: np.ndarray | None) -> None:
        self.probability_floor_ = None
        if self._method == "predict_proba":
            self.probability_floor_ = _floor_of(scores)
        self.calibration_ = fit_calibration(
            Y, self._as_logits(scores), method=self.method, sample_weight=weight
        )

    def _as_logits(self, scores: np.ndarray) -> np.ndarray:
        floor = self.probability_floor_
        return scores if floor is None else logits_of(scores, floor)

    def _logits(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "estimator_")
        return self._as_logits(self._scores(X, self._method))

    @in_chosen_container
    def decision_function(self, X: Any) -> np.ndarray:
        """Return calibrated log odds.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            As the estimator takes it.

        Returns
        -------
        logits : ndarray of shape (n, L), or (n,) for a binary target
            Log-odds.
        """
        logits = self._logits(X)
        return self._format.decisions(self.calibration_.logits(logits))

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
        logits = self._logits(X)
        return self._format.probabilities(self.calibration_.probabilities(logits))

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
        logits = self._logits(X)
        return self._format.predictions(self.calibration_.probabilities(logits), 0.5)


def _floor_of(probabilities: np.ndarray) -> float:
    """Half the smallest distance from 0 or 1 that is not 0."""
    distance = np.minimum(probabilities, 1 - probabilities)
    distance = distance[distance > 0]
    return max(float(distance.min()) / 2, LOWEST_FLOOR) if len(distance) else LOWEST_FLOOR
