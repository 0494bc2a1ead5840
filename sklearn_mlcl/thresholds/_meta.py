"""Cross-validated thresholds around any classifier of label matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.utils.metaestimators import available_if

from sklearn_mlcl.thresholds._crossfit import HeldOutClassifier
from sklearn_mlcl.thresholds._engine import OBJECTIVES, threshold_score, tune_thresholds
from sklearn_mlcl.utils._sklearn_compat import StrOptions
from sklearn_mlcl.utils.answers import in_chosen_container
from sklearn_mlcl.utils.parameters import STRENGTH_OR_0, named_in_errors, param
from sklearn_mlcl.utils.state import check_arrays


def _has_probabilities(classifier: HeldOutClassifier) -> bool:
    return hasattr(getattr(classifier, "estimator_", classifier.estimator), "predict_proba")


@named_in_errors
class MultiLabelThresholdClassifierCV(HeldOutClassifier):
    """Classifier with thresholds, one or one per label, tuned on held-out samples.

    The estimator is fitted on the training part of each fold and scores the other part.
    :func:`sklearn_mlcl.thresholds.tune_thresholds` searches the thresholds on all held-out scores
    together. Then the estimator is fitted on all samples. scikit-learn's
    ``TunedThresholdClassifierCV`` refuses label matrices.

    Parameters
    ----------
    objective : str or callable
        "f1_micro", "f1_macro", "f1_samples", "jaccard", "accuracy" (Hamming accuracy),
        "subset_accuracy", "cardinality", a metric or a scorer; see
        :func:`~sklearn_mlcl.thresholds.tune_thresholds`.
    per_label : bool
        Whether each label gets its own threshold.
    shrinkage : float
        Moves the thresholds of rare labels towards the common one. With this number of positives, a
        label gets the mean of its own threshold and the common one. Use 5 to 20 with "f1_macro" and
        rare labels, whose own best threshold may accept nearly every sample.
    response_method : {"auto", "predict_proba", "decision_function"}
        Scores that the thresholds are compared with; "auto" takes ``predict_proba`` if there is
        one.

    Attributes
    ----------
    estimator_ : classifier
        The fitted classifier.
    thresholds_ : ndarray of shape (L,)
        A label is positive if its score is at least its threshold.
    best_score_ : float
        The objective on the held-out samples.
    {shared_attributes}

    See Also
    --------
    sklearn_mlcl.thresholds.tune_thresholds : The same search on given scores.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from sklearn_mlcl import MultiLabelThresholdClassifierCV
    >>> X, Y = make_multilabel_classification(200, n_classes=3, random_state=0)
    >>> forest = RandomForestClassifier(20, random_state=0)
    >>> tuned = MultiLabelThresholdClassifierCV(
    ...     forest, objective="f1_macro", cv=3
    ... ).fit(X, Y)
    >>> tuned.thresholds_.shape
    (3,)
    """

    objective: str | Callable[..., float] = param("f1_micro", StrOptions(set(OBJECTIVES)), callable)
    per_label: bool = param(True, "boolean")
    shrinkage: float = param(0.0, STRENGTH_OR_0)
    _methods = ("predict_proba", "decision_function")
    _without_fit: ClassVar[set[str]] = {"objective", "per_label", "shrinkage"}

    def _learn(self, Y: Any, scores: list[np.ndarray], weight: np.ndarray | None) -> None:
        options: dict[str, Any] = {"objective": self.objective, "sample_weight": weight}
        self.thresholds_ = tune_thresholds(
            Y, scores[0], per_label=self.per_label, shrinkage=self.shrinkage, **options
        )
        self.best_score_ = threshold_score(Y, scores[0], self.thresholds_, **options)

    def _check_state(self) -> None:
        super()._check_state()
        check_arrays(self, {"thresholds_": (self._format.n_labels,)})

    @in_chosen_container
    def predict(self, X: Any) -> Any:
        """Decide by the tuned thresholds.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            As the estimator takes it.

        Returns
        -------
        labels : ndarray or CSR matrix of shape (n, L), or ndarray of shape (n,)
            In the form and dtype of the y given to ``fit``; integer if that had NaN.
        """
        return self._format.predictions(self._scores(X), self.thresholds_)

    @available_if(_has_probabilities)
    @in_chosen_container
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the estimator's probabilities, kept strictly inside (0, 1) for a label matrix.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            As the estimator takes it.

        Returns
        -------
        probabilities : ndarray of shape (n, L), or (n, 2) for a binary target
            A matrix, whatever form the estimator's own answer has, without the thresholds.
        """
        return self._answer_in_probabilities(self._scores(X, "predict_proba"))

    @in_chosen_container
    def decision_function(self, X: Any) -> np.ndarray:
        """Return the estimator's scores, or the log odds of its probabilities if it has none.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            As the estimator takes it.

        Returns
        -------
        scores : ndarray of shape (n, L), or (n,) for a binary target
            The thresholds are not subtracted.
        """
        if hasattr(self.estimator_, "decision_function"):
            return self._format.decisions(self._scores(X, "decision_function"))
        return self._answer_in_log_odds(self._scores(X, "predict_proba"))
