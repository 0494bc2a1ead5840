"""Cross-validated thresholds around any classifier of label matrices."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_mlcl.model_selection._crossfit import HeldOutClassifier, has_method
from sklearn_mlcl.thresholds._engine import OBJECTIVES, threshold_score, tune_thresholds
from sklearn_mlcl.utils._sklearn_compat import Interval, StrOptions
from sklearn_mlcl.utils.probabilities import clip_open_interval, logit
from sklearn_mlcl.utils.set_output import in_chosen_container


class MultiLabelThresholdClassifierCV(HeldOutClassifier):
    """Classifier with thresholds, one or one per label, tuned on held-out samples.

    The estimator is fitted on the training part of each fold and scores the other part.
    :func:`sklearn_mlcl.thresholds.tune_thresholds` searches the thresholds on all held-out scores
    together. Then the estimator is fitted on all samples. scikit-learn's
    ``TunedThresholdClassifierCV`` refuses label matrices.

    Parameters
    ----------
    estimator : classifier
        Any with ``predict_proba`` or ``decision_function`` for label matrices. They return a
        matrix or, as scikit-learn's forests do, a list of arrays. A fold may lack positives of a
        label.
    objective : str or callable, default="f1_micro"
        "f1_micro", "f1_macro", "f1_samples", "jaccard", "accuracy" (Hamming accuracy),
        "subset_accuracy", "cardinality", a metric or a scorer; see
        :func:`~sklearn_mlcl.thresholds.tune_thresholds`.
    per_label : bool, default=True
        Whether each label gets its own threshold.
    shrinkage : float, default=0.0
        Pulls the thresholds of rare labels to the common one. At this number of positives a label
        gets the middle of its own threshold and the common one. Use 5 to 20 with "f1_macro" and
        labels of a few positives, whose own best threshold may accept nearly every sample.
    response_method : {"auto", "predict_proba", "decision_function"}, default="auto"
        Scores that the thresholds are compared with; "auto" takes ``predict_proba`` if there is
        one.
    cv : int, float, splitter, iterable of splits, "prefit" or None, default=None
        Number of folds of :class:`~sklearn_mlcl.model_selection.MultilabelStratifiedKFold` (None:
        5). A float in (0, 1) is the held-out share of one stratified split. With "prefit" the
        estimator is already fitted, and all samples given to ``fit`` are held-out samples.
    refit : bool, default=True
        Whether to fit on all samples after a search with ``cv``. False only with a single split.
    n_jobs : int or None, default=None
        Number of folds fitted at the same time.
    random_state : int, RandomState instance or None, default=None
        Shuffles the samples before they are dealt to folds; None keeps their order.
    missing_label : float, default=NaN
        What marks a missing entry of y beside NaN, for example -1. The estimator gets y as it is
        and needs a ``missing_label`` of its own. So does a splitter or scorer given here.

    Attributes
    ----------
    thresholds_ : ndarray of shape (L,)
        A label is positive if its score is at least its threshold.
    best_score_ : float
        The objective on the held-out samples.
    estimator_ : classifier
        The fitted classifier.
    classes_ : ndarray
        ``arange(L)``, or the two classes of a binary target.
    label_names_ : ndarray of str
        Column names of a DataFrame y.
    n_features_in_, feature_names_in_
        As the estimator has them.

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
    >>> tuned = MultiLabelThresholdClassifierCV(forest, objective="f1_macro", cv=3).fit(X, Y)
    >>> tuned.thresholds_.shape
    (3,)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **HeldOutClassifier._parameter_constraints,
        "objective": [StrOptions(set(OBJECTIVES)), callable],
        "per_label": ["boolean"],
        "shrinkage": [Interval(Real, 0.0, None, closed="left")],
    }
    _methods = ("predict_proba", "decision_function")

    def __init__(
        self,
        estimator: Any,
        *,
        objective: str | Callable[..., float] = "f1_micro",
        per_label: bool = True,
        shrinkage: float = 0.0,
        response_method: str = "auto",
        cv: Any = None,
        refit: bool = True,
        n_jobs: int | None = None,
        random_state: Any = None,
        missing_label: float = np.nan,
    ) -> None:
        self.estimator = estimator
        self.objective = objective
        self.per_label = per_label
        self.shrinkage = shrinkage
        self.response_method = response_method
        self.cv = cv
        self.refit = refit
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.missing_label = missing_label

    def _learn(self, Y: Any, scores: np.ndarray, weight: np.ndarray | None) -> None:
        self.thresholds_ = tune_thresholds(
            Y,
            scores,
            objective=self.objective,
            per_label=self.per_label,
            shrinkage=self.shrinkage,
            sample_weight=weight,
        )
        self.best_score_ = threshold_score(
            Y, scores, self.thresholds_, objective=self.objective, sample_weight=weight
        )

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
        check_is_fitted(self, "estimator_")
        scores = self._scores(X, self._method)
        return self._format.predictions(scores, self.thresholds_)

    @available_if(has_method("predict_proba"))
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
        proba = self._scores(X, "predict_proba")
        if self._format.kind == "multilabel":
            proba = clip_open_interval(proba)
        return self._format.probabilities(proba)

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
        check_is_fitted(self, "estimator_")
        if hasattr(self.estimator_, "decision_function"):
            return self._format.decisions(self._scores(X, "decision_function"))
        proba = self._scores(X, "predict_proba")
        eps = np.finfo(proba.dtype).eps
        return self._format.decisions(logit(np.clip(proba, eps, 1 - eps)))
