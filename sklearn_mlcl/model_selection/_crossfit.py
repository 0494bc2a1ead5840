"""Base of the meta-estimators that learn from scores of held-out samples."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils import Bunch, Tags, get_tags, indexable
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from sklearn_mlcl.metrics import subset_accuracy
from sklearn_mlcl.model_selection._held_out import cross_fit, splits_of
from sklearn_mlcl.model_selection._splitters import n_rows_of
from sklearn_mlcl.persistence._saving import Persistent
from sklearn_mlcl.utils._sklearn_compat import (
    DocumentationLinks,
    HasMethods,
    Interval,
    StrOptions,
    fit_context,
    safe_indexing,
)
from sklearn_mlcl.utils.response import first_method, label_scores
from sklearn_mlcl.utils.set_output import LabelFrames
from sklearn_mlcl.utils.targets import as_1d_target, infer_format
from sklearn_mlcl.utils.validation import check_weights


class HeldOutClassifier(
    Persistent, DocumentationLinks, LabelFrames, ClassifierMixin, MetaEstimatorMixin, BaseEstimator
):
    """Base of the meta-estimators that learn something small from held-out scores.

    A subclass stores the parameters of the table below. It lists in ``_methods`` the methods of the
    estimator that it can use, and learns in ``_learn``.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [
            HasMethods(["fit", "predict_proba"]),
            HasMethods(["fit", "decision_function"]),
        ],
        "response_method": [StrOptions({"auto", "predict_proba", "decision_function"})],
        "cv": ["cv_object", StrOptions({"prefit"}), Interval(Real, 0.0, 1.0, closed="neither")],
        "refit": ["boolean"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "missing_label": [Real],
    }
    _methods: tuple[str, ...]
    estimator: Any
    response_method: str
    cv: Any
    refit: bool
    n_jobs: int | None
    random_state: Any
    missing_label: float

    @abstractmethod
    def _learn(self, Y: Any, scores: np.ndarray, weight: np.ndarray | None) -> None:
        """Learn from targets (n, L), scores (n, L) and weights of held-out samples."""

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, **params: Any) -> HeldOutClassifier:
        """Score held-out samples by cross-fitting, learn from the scores, and fit on all samples.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            As the estimator takes it.
        y : {ndarray, DataFrame, sparse matrix} of shape (n, L) or (n,)
            Indicator matrix as the estimator takes it, NaN (and ``missing_label``) where missing,
            or a binary target.
        sample_weight : array-like of shape (n,) or (n, L), default=None
            Weights of the held-out samples or entries. The estimator's fit gets them too if it
            takes weights, in the same shape, so it must know weights of entries if these are such.
        **params : dict
            Further metadata for the estimator's ``fit``, and with metadata routing enabled for
            the splitter.

        Returns
        -------
        self : object
            The fitted meta-estimator.

        Raises
        ------
        ValueError
            For a missing or multiclass ``y``, weights that are negative or all zero, or
            ``refit=False`` with several folds.
        """
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, "
                "but the target y is None."
            )
        X, y = indexable(X, y)
        self._format = infer_format(y, missing_label=self.missing_label)
        if self._format.kind == "multiclass":
            raise ValueError(
                "Only binary classification is supported. Beside label matrices y must hold two "
                f"classes, got {len(self._format.classes)} class(es)."
            )
        if self._format.kind == "binary":
            y = as_1d_target(y)
        weight = check_weights(sample_weight, n_rows_of(X), self._format.n_labels)
        routed = self._routed(sample_weight, params)
        options = self._methods if self.response_method == "auto" else (self.response_method,)
        self._method = first_method(self.estimator, options)
        rows, scores = self._held_out(X, y, routed)
        Y = self._format.indicator(safe_indexing(y, rows))
        self._learn(Y, scores, None if weight is None else weight[rows])
        self.classes_ = self._format.classes
        if self._format.label_names is not None:
            self.label_names_ = self._format.label_names
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
        return self

    def _response(self, method: str) -> dict[str, Any]:
        positive = self._format.classes[1] if self._format.kind == "binary" else 1
        return {"n_labels": self._format.n_labels, "method": method, "positive_class": positive}

    def _scores(self, X: Any, method: str) -> np.ndarray:
        """Scores (n, L) of the fitted estimator."""
        check_is_fitted(self, "estimator_")
        return label_scores(self.estimator_, X, **self._response(method))

    def _held_out(self, X: Any, y: Any, routed: Any) -> tuple[np.ndarray, np.ndarray]:
        """Fit ``estimator_`` and return row numbers and scores of held-out rows."""
        if isinstance(self.cv, str):
            check_is_fitted(self.estimator)
            self.estimator_ = self.estimator
            scores = self._scores(X, self._method)
            return np.arange(len(scores)), scores
        splits = splits_of(
            self.cv, X, y, self.random_state, routed.splitter.split, self.missing_label
        )
        if not self.refit and len(splits) > 1:
            raise ValueError(
                f"refit=False needs a single split, got cv={self.cv!r} with {len(splits)} folds."
            )
        fit_params, response = routed.estimator.fit, self._response(self._method)
        self.estimator_, rows, scores = cross_fit(
            self.estimator, X, y, splits, fit_params, self.n_jobs, **response
        )
        if self.refit:
            self.estimator_ = clone(self.estimator).fit(X, y, **fit_params)
        return rows, scores

    def _routed(self, sample_weight: Any, params: dict[str, Any]) -> Any:
        """What goes to the estimator's ``fit`` and to the splitter."""
        if get_config()["enable_metadata_routing"]:
            return process_routing(self, "fit", sample_weight=sample_weight, **params)
        fit_params = dict(params)
        if sample_weight is not None and has_fit_parameter(self.estimator, "sample_weight"):
            fit_params["sample_weight"] = sample_weight
        elif sample_weight is not None:
            warnings.warn(
                f"{type(self.estimator).__name__}.fit takes no sample_weight: the weights count "
                f"in {type(self).__name__} only.",
                UserWarning,
                stacklevel=4,
            )
        return Bunch(splitter=Bunch(split={}), estimator=Bunch(fit=fit_params))

    def get_metadata_routing(self) -> MetadataRouter:
        """Return the routing of metadata: to itself, to the estimator and to the splitter.

        Returns
        -------
        routing : MetadataRouter
        """
        to_fit = MethodMapping().add(caller="fit", callee="fit")
        to_split = MethodMapping().add(caller="fit", callee="split")
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(estimator=self.estimator, method_mapping=to_fit)
            .add(splitter=self.cv, method_mapping=to_split)
        )

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the subset accuracy without missing labels, or the accuracy of a binary target.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            Samples to predict.
        y : array-like of shape (n, L) or (n,)
            Their targets, NaN (and ``missing_label``) where missing.
        sample_weight : array-like of shape (n,) or (n, L), default=None
            Weights of the samples or of the entries.

        Returns
        -------
        score : float
            In [0, 1].
        """
        check_is_fitted(self, "estimator_")
        if self._format.kind == "binary":
            return super().score(X, y, sample_weight)
        return subset_accuracy(
            y, self.predict(X), sample_weight=sample_weight, missing_label=self.missing_label
        )

    def __sklearn_tags__(self) -> Tags:
        """Tags of the wrapped estimator, without multiclass targets."""
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.classifier_tags.multi_class = False
        if inner.classifier_tags is not None:
            tags.classifier_tags.multi_label = inner.classifier_tags.multi_label
        tags.input_tags.sparse = inner.input_tags.sparse
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        return tags


def has_method(name: str) -> Any:
    """Check for ``available_if``: whether the wrapped estimator has a method."""

    def check(self: HeldOutClassifier) -> bool:
        getattr(getattr(self, "estimator_", self.estimator), name)
        return True

    return check
