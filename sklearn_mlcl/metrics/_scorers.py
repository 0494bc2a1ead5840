"""Scorer objects for ``scoring=``, for label matrices with missing labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import clone

from sklearn_mlcl.metrics import _decisions, _probabilities, _ranking
from sklearn_mlcl.utils._sklearn_compat import ScorerMixin, StrOptions, validate_parameters
from sklearn_mlcl.utils.answers import TargetFormat
from sklearn_mlcl.utils.parameters import (
    MISSING_LABEL,
    DeclaredParameters,
    named_in_errors,
    param,
    required,
)
from sklearn_mlcl.utils.response import METHODS, check_fitted_names, first_method, label_scores
from sklearn_mlcl.utils.targets import holds_strings, missing_as_nan

_RESPONSES = {"decision": METHODS[::-1], "proba": METHODS[:1]}


@named_in_errors
class MultiLabelScorer(ScorerMixin, DeclaredParameters):
    """Scorer ``scorer(estimator, X, y, sample_weight=None)`` made from a metric.

    It asks the estimator for decisions, scores or probabilities of shape (n, L). These may be one
    matrix, or a list of arrays as scikit-learn's forests return, also if a label had a single value
    in training. Missing labels (NaN in y) are allowed.

    Parameters
    ----------
    metric : callable
        ``metric(y_true, y_pred, *, sample_weight=None, **options)``, one number.
    response : {"predict", "decision", "proba"}
        Input of the metric: decisions, scores (``decision_function``, else ``predict_proba``) or
        probabilities.
    greater_is_better : bool
        If False, the score is the negative metric.
    options : dict or None
        More keyword arguments of the metric, such as ``{"k": 3}``.
    missing_label : float
        Value that marks a missing entry of y beside NaN, for example -1; the metric gets NaN.

    Raises
    ------
    ValueError
        When called: for an unknown ``response``, and whatever the metric raises.
    AttributeError
        When called: if the estimator lacks the method asked for.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn_mlcl.metrics import MultiLabelScorer, precision_at_k
    >>> X, Y = make_multilabel_classification(100, random_state=0)
    >>> scorer = MultiLabelScorer(
    ...     precision_at_k, response="proba", options={"k": 2}
    ... )
    >>> forest = RandomForestClassifier(10, random_state=0)
    >>> cross_val_score(forest, X, Y, scoring=scorer, cv=3).shape
    (3,)
    """

    metric: Callable[..., float] = required(callable, kw_only=False)
    response: str = param("predict", StrOptions({"predict", *_RESPONSES}))
    greater_is_better: bool = param(True, "boolean")
    options: dict[str, Any] | None = param(None, dict, None)
    missing_label: float = MISSING_LABEL

    def __call__(self, estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the score of a fitted estimator; as :meth:`score`."""
        return self.score(estimator, X, y, sample_weight)

    def score(self, estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the score of a fitted estimator on samples X with targets y.

        Parameters
        ----------
        estimator : classifier
            Fitted on a label matrix with the labels of ``y``.
        X : array-like of shape (n, n_features)
            Samples to score.
        y : {ndarray, DataFrame, sparse matrix} of shape (n, L) or (n,)
            Indicator matrix, NaN (and ``missing_label``) where missing; a DataFrame must have the
            labels of the fit in the same order. Or classes: the metric gets a column for each,
            one for the second of two.
        sample_weight : array-like of shape (n,) or (n, L), default=None
            Weights of the samples or of the entries.

        Returns
        -------
        score : float
            Greater is better.
        """
        validate_parameters(self)
        keywords = dict(self.options or {})
        if sample_weight is not None:
            keywords["sample_weight"] = sample_weight
        y_true = missing_as_nan(y, self.missing_label)
        check_fitted_names(estimator, y_true)
        classes = _classes_of(estimator, y_true)
        if classes is not None:
            y_true = classes.indicator(y_true).astype(np.float64)
        value = self.metric(y_true, self._answer(estimator, X, y_true, classes), **keywords)
        return value if self.greater_is_better else -value

    def _answer(self, estimator: Any, X: Any, y: Any, classes: TargetFormat | None) -> Any:
        if self.response == "predict":
            labels = estimator.predict(X)
            return labels if classes is None else classes.indicator(labels).astype(np.float64)
        method = first_method(estimator, _RESPONSES[self.response])
        shape = y.shape if hasattr(y, "shape") else np.shape(y)
        n_labels = shape[1] if len(shape) == 2 else 1
        return label_scores(estimator, X, n_labels, method, accept_sparse=True)


def _classes_of(estimator: Any, y: Any) -> TargetFormat | None:
    """Return the classes of an estimator that was fitted on 1-D targets.

    None for label matrices, and for 0 and 1, which are a label matrix of one column.
    """
    classes = getattr(estimator, "classes_", None)
    if classes is None or isinstance(classes, list) or np.ndim(classes) != 1:
        return None
    if holds_strings(y) or (np.ndim(y) == 1 and not np.isin(classes, (0, 1)).all()):
        kind = "binary" if len(classes) == 2 else "multiclass"
        return TargetFormat(kind, classes, classes.dtype)
    return None


def _ranked(metric: Callable[..., float], **options: Any) -> MultiLabelScorer:
    return MultiLabelScorer(metric, response="decision", options=options)


def _loss(metric: Callable[..., float], response: str = "proba") -> MultiLabelScorer:
    return MultiLabelScorer(metric, response=response, greater_is_better=False)


SCORERS = {
    "f1_samples": MultiLabelScorer(_decisions.f1_samples),
    "f1_micro": MultiLabelScorer(_decisions.f1_micro),
    "f1_macro": MultiLabelScorer(_decisions.f1_macro),
    "jaccard_samples": MultiLabelScorer(_decisions.jaccard_samples),
    "hamming_accuracy": MultiLabelScorer(_decisions.hamming_accuracy),
    "subset_accuracy": MultiLabelScorer(_decisions.subset_accuracy),
    "precision_at_1": _ranked(_ranking.precision_at_k, k=1),
    "precision_at_3": _ranked(_ranking.precision_at_k, k=3),
    "precision_at_5": _ranked(_ranking.precision_at_k, k=5),
    "ndcg": _ranked(_ranking.ndcg_at_k),
    "neg_coverage": _loss(_ranking.coverage, response="decision"),
    "average_precision_macro": _ranked(_probabilities.average_precision, average="macro"),
    "average_precision_micro": _ranked(_probabilities.average_precision, average="micro"),
    "roc_auc_macro": _ranked(_probabilities.roc_auc, average="macro"),
    "roc_auc_micro": _ranked(_probabilities.roc_auc, average="micro"),
    "neg_log_loss": _loss(_probabilities.multilabel_log_loss),
    "neg_brier_score": _loss(_probabilities.brier_score),
}


def get_scorer_names() -> list[str]:
    """Return the names that :func:`get_scorer` knows, in alphabetical order.

    Returns
    -------
    names : list of str
        Such as ``"f1_macro"``.

    Examples
    --------
    >>> from sklearn_mlcl.metrics import get_scorer_names
    >>> get_scorer_names()[:2]
    ['average_precision_macro', 'average_precision_micro']
    """
    return sorted(SCORERS)


def get_scorer(name: str, *, missing_label: float = np.nan) -> MultiLabelScorer:
    """Return a new scorer by name, for ``scoring=``.

    Parameters
    ----------
    name : str
        One of :func:`get_scorer_names`. A score that is a loss begins with ``neg_``.
    missing_label : float, default=NaN
        Value that marks a missing entry of y beside NaN, for example -1.

    Returns
    -------
    scorer : MultiLabelScorer
        To be called as ``scorer(estimator, X, y)``.

    Raises
    ------
    ValueError
        For an unknown name.

    Examples
    --------
    >>> from sklearn_mlcl.metrics import get_scorer
    >>> get_scorer("neg_log_loss").response
    'proba'
    """
    if not isinstance(name, str) or name not in SCORERS:
        raise ValueError(f"name must be one of {get_scorer_names()}, got {name!r}.")
    return clone(SCORERS[name]).set_params(missing_label=missing_label)
