"""Base of the meta-estimators that learn from scores of held-out samples."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from dataclasses import fields
from numbers import Integral
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.base import MetaEstimatorMixin
from sklearn.utils import Bunch, Tags, get_tags, indexable
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from sklearn_mlcl.metrics._classifier import LabelMatrixClassifier
from sklearn_mlcl.model_selection._choices import KeepsChoices
from sklearn_mlcl.model_selection._held_out import FOLDS, cross_fit, splits_of
from sklearn_mlcl.persistence._saving import Persistent
from sklearn_mlcl.utils._sklearn_compat import (
    DocumentationLinks,
    HasMethods,
    StrOptions,
    fit_context,
    num_samples,
    safe_indexing,
    validate_parameters,
)
from sklearn_mlcl.utils.answers import clip_open_interval, infer_format, logit, set_format
from sklearn_mlcl.utils.parameters import (
    MISSING_LABEL,
    DeclaredParameters,
    param,
    required,
)
from sklearn_mlcl.utils.response import METHODS, check_fitted_names, first_method, label_scores
from sklearn_mlcl.utils.runtime import rollback_on_error
from sklearn_mlcl.utils.targets import as_1d_target
from sklearn_mlcl.utils.validation import check_weights


class CrossFittedClassifier(
    Persistent,
    DocumentationLinks,
    LabelMatrixClassifier,
    MetaEstimatorMixin,
    KeepsChoices,
    DeclaredParameters,
):
    """Base of the meta-estimators that learn something small from scores of held-out samples.

    A subclass gives its estimators in ``_named``, keeps the fitted ones in ``_keep``, and learns
    in ``_learn``. It lists in ``_methods`` the methods of the estimators that it can use, the
    preferred one first.

    Parameters
    ----------
    cv : int, float, splitter, iterable of splits, "prefit" or None
        Number of folds of :class:`~sklearn_mlcl.model_selection.MultilabelStratifiedKFold` (None:
        5). A float in (0, 1) is the held-out share of one stratified split. With "prefit" nothing
        is fitted, and all samples given to ``fit`` are held-out samples.
    refit : bool
        Whether to fit on all samples after the fits of ``cv``. False only with a single split.
    n_jobs : int or None
        Number of fits at the same time.
    random_state : int, RandomState instance or None
        Shuffles the samples before they are split into folds; None keeps their order.
    missing_label : float
        Value that marks a missing entry of y beside NaN, for example -1. An estimator gets y as it
        is and needs a ``missing_label`` of its own. So does a splitter or scorer given here.
    """

    _shared_attributes = """
    classes_ : ndarray
        ``arange(L)``, or the two classes of a binary target.
    label_names_ : ndarray of str
        Column names of a DataFrame y.
    n_features_in_, feature_names_in_
        Those of the first estimator that has them.
    """

    cv: Any = param(None, *FOLDS, StrOptions({"prefit"}))
    refit: bool = param(True, "boolean")
    n_jobs: int | None = param(None, Integral, None)
    random_state: Any = param(None, "random_state")
    missing_label: float = MISSING_LABEL
    _methods: tuple[str, ...]

    @abstractmethod
    def _named(self) -> dict[str, Any]:
        """Return the estimators by the names under which metadata is routed to them."""

    @abstractmethod
    def _keep(self, fitted: list[Any]) -> None:
        """Store the fitted estimators, in the order of ``_named``."""

    @abstractmethod
    def _learn(self, Y: Any, scores: list[np.ndarray], weight: np.ndarray | None) -> None:
        """Learn from held-out samples: targets (n, L), scores (n, L) of each estimator, weights."""

    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, **params: Any
    ) -> CrossFittedClassifier:
        """Score held-out samples by cross-fitting, learn from the scores, and fit on all samples.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            As the estimators take it.
        y : {ndarray, DataFrame, sparse matrix} of shape (n, L) or (n,)
            Indicator matrix as the estimators take it, NaN (and ``missing_label``) where missing,
            or a binary target.
        sample_weight : array-like of shape (n,) or (n, L), default=None
            Weights of the held-out samples or entries. An estimator's fit gets them too if it
            takes weights, in the same shape, so it must know weights of entries if these are such.
        **params : dict
            Further metadata for the ``fit`` of the estimators, and with metadata routing enabled
            for the splitter.

        Returns
        -------
        self : object
            The fitted meta-estimator. If the fit fails, an earlier fit stays as it was.

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
        with rollback_on_error(self):
            self._fit(X, y, sample_weight, params)
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any, params: dict[str, Any]) -> None:
        estimators = self._named()
        X, y = indexable(X, y)
        set_format(self, infer_format(y, missing_label=self.missing_label))
        if self._format.kind == "multiclass":
            raise ValueError(
                "Only binary classification is supported. Beside label matrices y must hold two "
                f"classes, got {len(self._format.classes)} class(es)."
            )
        if self._format.kind == "binary":
            y = as_1d_target(y)
        weight = check_weights(
            sample_weight, num_samples(X), self._format.n_labels, self._format.label_names
        )
        routed = self._routed(estimators, sample_weight, params)
        for estimator in estimators.values():
            self._method = first_method(estimator, self._methods_in_use())
        fitted, rows, scores = self._held_out(estimators, X, y, routed)
        self._keep(fitted)
        Y = self._format.indicator(safe_indexing(y, rows))
        learnt_from = (Y, scores, None if weight is None else weight[rows])
        if self._keeps_evidence:
            self._evidence = learnt_from
        self._learn(*learnt_from)
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)  # of an earlier fit
            known = [getattr(estimator, name) for estimator in fitted if hasattr(estimator, name)]
            if known:
                setattr(self, name, known[0])

    def _choose_again(self) -> None:
        validate_parameters(self)
        self._learn(*self._evidence)

    def _check_state(self) -> None:
        if self._method not in METHODS:
            raise ValueError(f"it takes scores from the method {self._method!r}")

    def _methods_in_use(self) -> tuple[str, ...]:
        return self._methods

    def _scores_of(self, estimator: Any, X: Any, method: str | None = None) -> np.ndarray:
        """Scores (n, L) of a fitted estimator, by default those that were learned from."""
        return label_scores(estimator, X, **self._response(method or self._method))

    def _answer_in_probabilities(self, p: np.ndarray) -> np.ndarray:
        """Return probabilities (n, L) as ``predict_proba`` does, for labels inside (0, 1)."""
        multilabel = self._format.kind == "multilabel"
        return self._format.probabilities(clip_open_interval(p) if multilabel else p)

    def _answer_in_log_odds(self, p: np.ndarray) -> np.ndarray:
        """Return the log-odds of probabilities (n, L) as ``decision_function`` does."""
        eps = np.finfo(p.dtype).eps
        return self._format.decisions(logit(np.clip(p, eps, 1 - eps)))

    def _response(self, method: str) -> dict[str, Any]:
        positive = self._format.classes[1] if self._format.kind == "binary" else 1
        return {"n_labels": self._format.n_labels, "method": method, "positive_class": positive}

    def _held_out(
        self, estimators: dict[str, Any], X: Any, y: Any, routed: Any
    ) -> tuple[list[Any], np.ndarray, list[np.ndarray]]:
        """Return fitted estimators, and row numbers and scores (by estimator) of held-out rows."""
        if isinstance(self.cv, str):
            for estimator in estimators.values():
                check_is_fitted(estimator)
                check_fitted_names(estimator, y)
            scores = [self._scores_of(estimator, X) for estimator in estimators.values()]
            return list(estimators.values()), np.arange(num_samples(X)), scores
        splits = splits_of(self.cv, X, y, self.random_state, routed.cv.split, self.missing_label)
        if not self.refit and len(splits) > 1:
            raise ValueError(
                f"refit=False needs a single split, got cv={self.cv!r} with {len(splits)} folds."
            )
        tasks = [(estimator, routed[name].fit) for name, estimator in estimators.items()]
        response = self._response(self._method)
        return cross_fit(tasks, X, y, splits, self.n_jobs, refit=self.refit, **response)

    def _routed(
        self, estimators: dict[str, Any], sample_weight: Any, params: dict[str, Any]
    ) -> Any:
        """What goes to the ``fit`` of each estimator and to the splitter."""
        if get_config()["enable_metadata_routing"]:
            return process_routing(self, "fit", sample_weight=sample_weight, **params)
        routed = Bunch(cv=Bunch(split={}))
        for name, estimator in estimators.items():
            routed[name] = Bunch(fit=dict(params))
            if sample_weight is not None and has_fit_parameter(estimator, "sample_weight"):
                routed[name].fit["sample_weight"] = sample_weight
            elif sample_weight is not None:
                warnings.warn(
                    f"{type(estimator).__name__}.fit takes no sample_weight: the weights count "
                    f"in {type(self).__name__} only.",
                    UserWarning,
                    stacklevel=4,
                )
        return routed

    def get_metadata_routing(self) -> MetadataRouter:
        """Return the routing of metadata: to itself, to the estimators and to the splitter.

        Returns
        -------
        routing : MetadataRouter
        """
        to_fit = MethodMapping().add(caller="fit", callee="fit")
        to_split = MethodMapping().add(caller="fit", callee="split")
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(cv=self.cv, method_mapping=to_split)
            .add(**self._named(), method_mapping=to_fit)
        )

    def __sklearn_tags__(self) -> Tags:
        """Return what all estimators can, and what one of them asks for; no multiclass targets."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        inner = [get_tags(estimator) for estimator in self._named().values()]
        tags.classifier_tags.multi_label = all(
            each.classifier_tags is not None and each.classifier_tags.multi_label for each in inner
        )
        for field in fields(tags.input_tags):
            joined = any if field.name in ("pairwise", "positive_only") else all
            value = joined(getattr(each.input_tags, field.name) for each in inner)
            setattr(tags.input_tags, field.name, value)
        return tags


class HeldOutClassifier(CrossFittedClassifier):
    """Base of the meta-estimators around one estimator.

    Parameters
    ----------
    estimator : classifier
        Any with ``predict_proba`` or ``decision_function`` for label matrices. They return a
        matrix or, as scikit-learn's forests do, a list of arrays. A fold may lack positives of a
        label.
    response_method : {"auto", "predict_proba", "decision_function"}
        Scores to learn from.
    """

    estimator: Any = required(*(HasMethods(["fit", m]) for m in METHODS), kw_only=False)
    response_method: str = param("auto", StrOptions({"auto", *METHODS}))

    def _named(self) -> dict[str, Any]:
        return {"estimator": self.estimator}

    def _keep(self, fitted: list[Any]) -> None:
        (self.estimator_,) = fitted

    def _methods_in_use(self) -> tuple[str, ...]:
        return self._methods if self.response_method == "auto" else (self.response_method,)

    def _scores(self, X: Any, method: str | None = None) -> np.ndarray:
        """Scores (n, L) of the fitted estimator, by default those that were learned from."""
        check_is_fitted(self, "estimator_")
        return self._scores_of(self.estimator_, X, method)
