"""Base of the meta-estimators that learn from scores of held-out samples."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.base import MetaEstimatorMixin, clone
from sklearn.utils import Bunch, Tags, get_tags, indexable
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from sklearn_mlcl.metrics._classifier import LabelMatrixClassifier, set_format
from sklearn_mlcl.model_selection._held_out import cross_fit, splits_of
from sklearn_mlcl.persistence._saving import Persistent
from sklearn_mlcl.utils._sklearn_compat import (
    DocumentationLinks,
    HasMethods,
    Interval,
    StrOptions,
    fit_context,
    num_samples,
    safe_indexing,
)
from sklearn_mlcl.utils.parameters import MISSING_LABEL, DeclaredParameters, param, required
from sklearn_mlcl.utils.response import METHODS, first_method, label_scores
from sklearn_mlcl.utils.targets import as_1d_target, infer_format
from sklearn_mlcl.utils.validation import check_weights


class HeldOutClassifier(
    Persistent, DocumentationLinks, LabelMatrixClassifier, MetaEstimatorMixin, DeclaredParameters
):
    """Base of the meta-estimators that learn something small from held-out scores.

    A subclass lists in ``_methods`` the methods of the estimator that it can use, the preferred
    one first, and learns in ``_learn``.

    Parameters
    ----------
    estimator : classifier
        Any with ``predict_proba`` or ``decision_function`` for label matrices. They return a
        matrix or, as scikit-learn's forests do, a list of arrays. A fold may lack positives of a
        label.
    response_method : {"auto", "predict_proba", "decision_function"}
        Scores to learn from.
    cv : int, float, splitter, iterable of splits, "prefit" or None
        Number of folds of :class:`~sklearn_mlcl.model_selection.MultilabelStratifiedKFold` (None:
        5). A float in (0, 1) is the held-out share of one stratified split. With "prefit" the
        estimator is already fitted, and all samples given to ``fit`` are held-out samples.
    refit : bool
        Whether to fit on all samples after the fits of ``cv``. False only with a single split.
    n_jobs : int or None
        Number of folds fitted at the same time.
    random_state : int, RandomState instance or None
        Shuffles the samples before they are dealt to folds; None keeps their order.
    missing_label : float
        What marks a missing entry of y beside NaN, for example -1. The estimator gets y as it is
        and needs a ``missing_label`` of its own. So does a splitter or scorer given here.
    """

    _shared_attributes = """
    estimator_ : classifier
        The fitted classifier.
    classes_ : ndarray
        ``arange(L)``, or the two classes of a binary target.
    label_names_ : ndarray of str
        Column names of a DataFrame y.
    n_features_in_, feature_names_in_
        As the estimator has them.
    """

    estimator: Any = required(*(HasMethods(["fit", m]) for m in METHODS), kw_only=False)
    response_method: str = param("auto", StrOptions({"auto", *METHODS}))
    cv: Any = param(
        None, "cv_object", StrOptions({"prefit"}), Interval(Real, 0.0, 1.0, closed="neither")
    )
    refit: bool = param(True, "boolean")
    n_jobs: int | None = param(None, Integral, None)
    random_state: Any = param(None, "random_state")
    missing_label: float = MISSING_LABEL
    _methods: tuple[str, ...]

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
        set_format(self, infer_format(y, missing_label=self.missing_label))
        if self._format.kind == "multiclass":
            raise ValueError(
                "Only binary classification is supported. Beside label matrices y must hold two "
                f"classes, got {len(self._format.classes)} class(es)."
            )
        if self._format.kind == "binary":
            y = as_1d_target(y)
        weight = check_weights(sample_weight, num_samples(X), self._format.n_labels)
        routed = self._routed(sample_weight, params)
        options = self._methods if self.response_method == "auto" else (self.response_method,)
        self._method = first_method(self.estimator, options)
        rows, scores = self._held_out(X, y, routed)
        Y = self._format.indicator(safe_indexing(y, rows))
        self._learn(Y, scores, None if weight is None else weight[rows])
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
        return self

    def _check_state(self) -> None:
        if self._method not in METHODS:
            raise ValueError(f"it takes scores from the method {self._method!r}")

    def _response(self, method: str) -> dict[str, Any]:
        positive = self._format.classes[1] if self._format.kind == "binary" else 1
        return {"n_labels": self._format.n_labels, "method": method, "positive_class": positive}

    def _scores(self, X: Any, method: str | None = None) -> np.ndarray:
        """Scores (n, L) of the fitted estimator, by default those that were learned from."""
        check_is_fitted(self, "estimator_")
        return label_scores(self.estimator_, X, **self._response(method or self._method))

    def _held_out(self, X: Any, y: Any, routed: Any) -> tuple[np.ndarray, np.ndarray]:
        """Fit ``estimator_`` and return row numbers and scores of held-out rows."""
        if isinstance(self.cv, str):
            check_is_fitted(self.estimator)
            self.estimator_ = self.estimator
            scores = self._scores(X)
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

    def __sklearn_tags__(self) -> Tags:
        """Tags of the wrapped estimator, without multiclass targets."""
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.classifier_tags.multi_class = False
        if inner.classifier_tags is not None:
            tags.classifier_tags.multi_label = inner.classifier_tags.multi_label
        tags.input_tags = inner.input_tags
        return tags
