"""The heads as an estimator: L logistic regressions in one batched solve."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from sklearn_mlcl.estimators.base import MultiLabelClassifier, finite
from sklearn_mlcl.heads.evaluation import tree_labels, tree_log_odds, tree_topk
from sklearn_mlcl.heads.logistic import C_of_labels, fit_heads, tolerance, wants_tree
from sklearn_mlcl.heads.predictor import AffineHead
from sklearn_mlcl.heads.tree_fit import FittedTree, fit_label_tree
from sklearn_mlcl.model_selection._choices import KeepsChoices
from sklearn_mlcl.solvers import LogisticSolution
from sklearn_mlcl.solvers.select import DEFAULT_CS
from sklearn_mlcl.utils._sklearn_compat import StrOptions, fit_context, validate_parameters
from sklearn_mlcl.utils.answers import set_format
from sklearn_mlcl.utils.fit_data import LabelStats, check_fit_data, class_weights, warn_weightless
from sklearn_mlcl.utils.parameters import (
    ABOVE_0,
    AT_LEAST_1,
    CLASS_WEIGHT,
    MISSING_LABEL,
    SHARE,
    STRENGTH,
    DeclaredParameters,
    Interval,
    named_in_errors,
    param,
)
from sklearn_mlcl.utils.runtime import rollback_on_error, torch_defaults
from sklearn_mlcl.utils.samples import Features
from sklearn_mlcl.utils.state import check_arrays
from sklearn_mlcl.utils.targets import warn_constant_labels


@named_in_errors
class MultiLabelLogisticRegression(KeepsChoices, DeclaredParameters, MultiLabelClassifier):
    r"""One L2-regularised logistic regression per label, all solved together.

    For every label :math:`l`, with :math:`\tilde y_{il} \in \{-1, 1\}` and weights
    :math:`s_{il}` of the entries,

    .. math::
        \min_{w_l, b_l} \; \tfrac12 \|w_l\|^2
        + C_l \sum_i s_{il} \log\big(1 + e^{-\tilde y_{il} (w_l \cdot x_i + b_l)}\big)

    which is the objective of scikit-learn's ``LogisticRegression`` inside ``OneVsRestClassifier``.
    All labels share X, so one product gives all gradients. Each label has its own step length and
    convergence test.

    Parameters
    ----------
    C : float, array-like of shape (n_labels,) or "cv"
        Inverse regularisation, one for all labels or one per label. "cv" chooses it per label from
        ``Cs`` by the held-out log loss. Labels that are too rare for the folds share one choice.
    Cs : sequence of float
        Grid for ``C="cv"``.
    cv : int, splitter or iterable of (train, test) pairs
        Folds for ``C="cv"``; an int means
        :class:`~sklearn_mlcl.model_selection.MultilabelStratifiedKFold`.
    fit_intercept : bool
        Add an unpenalised intercept.
    tol : float or "auto"
        Relative size of the gradient at which the solver stops for a label. "auto" is 1e-10 while
        the stored entries of X times the labels are at most 1e8. Of more it is 1e-3, which changes
        the ranking of the labels hardly, and 0.05 with a label tree.
    max_iter : int
        Largest number of Newton steps per label.
    threshold : float or array-like of shape (n_labels,)
        A label is predicted if its probability is at least this threshold.
    label_tree : bool or "auto"
        Whether a tree of balanced clusters of labels takes the place of one regression per label.
        Each cluster has a regression on the samples that have a label of the cluster above it. The
        probability of a label is the product along its path. ``predict_topk`` then looks at the
        labels of the ten best clusters only. "auto" is True for more than 10,000 labels. See
        :ref:`label-tree`.

    Attributes
    ----------
    classes_ : ndarray
        ``arange(n_labels)`` for a label matrix, else the classes.
    label_names_ : ndarray of str
        Column names of y; only if y was a DataFrame.
    coef_ : ndarray of shape (n_labels, n_features)
        Coefficients, in the dtype of X; zero for a label with a single value. Not with a label
        tree.
    intercept_ : ndarray of shape (n_labels,)
        Intercepts; the smoothed log-odds for a label with a single value. Not with a label tree.
    label_tree_ : torch.nn.Module
        Module from X to log-odds; only with a label tree.
    C_ : ndarray of shape (n_labels,)
        The C of each label.
    n_iter_ : ndarray of shape (n_labels,)
        Steps taken for each label; with a label tree, the most on its path.
    tol_ : float
        The tolerance in force.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Feature names; only if X had string names.

    See Also
    --------
    ContrastiveMultiLabelClassifier : The same heads on a learned embedding.

    Notes
    -----
    Entries with a missing label (NaN in y) are ignored. 1-D targets work too. A binary target is
    one label. More classes are solved one against the rest, and their probabilities are normalised.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import MultiLabelLogisticRegression
    >>> X, Y = make_multilabel_classification(
    ...     n_samples=100, n_classes=3, random_state=0
    ... )
    >>> heads = MultiLabelLogisticRegression(C=0.1).fit(X, Y)
    >>> heads.coef_.shape, heads.predict(X).shape
    ((3, 20), (100, 3))
    """

    _remedies: ClassVar[str] = "C near 1"
    _without_fit: ClassVar[set[str]] = {"threshold"}

    C: Any = param(1.0, STRENGTH, StrOptions({"cv"}), "array-like")
    Cs: Any = param(DEFAULT_CS, "array-like")
    cv: Any = param(5, Interval(Integral, 2, None, closed="left"), "cv_object")
    fit_intercept: bool = param(True, "boolean")
    tol: float | str = param("auto", ABOVE_0, StrOptions({"auto"}))
    max_iter: int = param(100, AT_LEAST_1)
    threshold: Any = param(0.5, SHARE, "array-like")
    label_tree: bool | str = param("auto", "boolean", StrOptions({"auto"}))
    class_weight: Any = CLASS_WEIGHT
    missing_label: float = MISSING_LABEL

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Solve all heads.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Features without NaN or infinity; CSR stays CSR.
        y : {array-like, DataFrame, CSR matrix} of shape (n_samples, n_labels)
            Indicator matrix; mark missing labels NaN (or ``missing_label``). Or 1-D classes of
            shape (n_samples,).
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_labels), default=None
            Weights of the samples or of the entries. Samples with zero weight are dropped.

        Returns
        -------
        self : MultiLabelLogisticRegression
            The fitted estimator.
        """
        with rollback_on_error(self), torch_defaults():
            constant = self._solve(X, y, sample_weight)
            if self._format.kind == "multilabel":
                warn_constant_labels(constant, self._format.label_names)
        return self

    def _solve(self, X: Any, y: Any, sample_weight: Any) -> np.ndarray:
        """Set the fitted attributes, and return which labels have a single value."""
        data, target_format = check_fit_data(self, X, y, sample_weight)
        set_format(self, target_format)
        self._checked_threshold(self.threshold)
        factors = class_weights(self.class_weight, target_format, data.Y, data.sample_weight)
        data = data.weighted(factors)
        C = C_of_labels(self.C, "C", target_format)
        factor = 1.0 if isinstance(C, str) else np.asarray(C, dtype=np.float64)
        warn_weightless(data, target_format.label_names, factor)
        options = {
            "Cs": self.Cs,
            "cv": self.cv,
            "fit_intercept": self.fit_intercept,
            "max_iter": int(self.max_iter),
        }
        for name in ("coef_", "intercept_", "label_tree_"):
            self.__dict__.pop(name, None)
        options["tol"] = self.tol_ = self._tolerance(data.X, data.n_labels)
        with finite(self, data.X):
            fitted: FittedTree | LogisticSolution
            if self._has_tree(data.n_labels):
                fitted = fit_label_tree(data.X, data.Y, data.copies, C, **options)
                self.label_tree_ = fitted.tree
            else:
                options["dtype"] = torch.float32 if data.X.dtype == np.float32 else torch.float64
                fitted = fit_heads(data.X, data.Y, data.copies, C, **options)
                self.coef_, self.intercept_ = fitted.coef, fitted.intercept
            self.C_, self.n_iter_ = fitted.C, fitted.n_iter
        if not fitted.converged.all():
            warnings.warn(
                f"{(~fitted.converged).sum()} of {len(fitted.converged)} regressions did not reach "
                f"tol={self.tol_:g} in max_iter={self.max_iter} steps.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return LabelStats.of(data).constant

    def _choose_again(self) -> None:
        validate_parameters(self)
        self._checked_threshold(self.threshold)

    def _has_tree(self, n_labels: int) -> bool:
        return wants_tree(self.label_tree, n_labels)

    def _tolerance(self, X: Features, n_labels: int) -> float:
        return tolerance(self.tol, X, n_labels, self._has_tree(n_labels))

    def _check_state(self) -> None:
        L, tree = self._format.n_labels, getattr(self, "label_tree_", None)
        check_arrays(self, {"C_": (L,)})
        check_arrays(self, {"n_iter_": (L,)}, np.integer)
        if tree is None:
            shapes = {"coef_": (L, self.n_features_in_), "intercept_": (L,)}
            check_arrays(self, shapes, np.floating)
        elif tree.n_features != self.n_features_in_:
            raise ValueError(f"its tree has {tree.n_features} features")
        super()._check_state()

    def _module(self) -> nn.Module:
        tree = getattr(self, "label_tree_", None)
        return AffineHead(self.coef_, self.intercept_) if tree is None else tree

    def _log_odds(self, X: Features) -> np.ndarray:
        if hasattr(self, "label_tree_"):
            return tree_log_odds(self.label_tree_, X)
        coef, intercept = (a.astype(X.dtype, copy=False) for a in (self.coef_, self.intercept_))
        return X @ coef.T + intercept

    def _topk_by_chunk(self, X: Features, k: int) -> Iterator[sp.csr_matrix]:
        if not hasattr(self, "label_tree_"):
            return super()._topk_by_chunk(X, k)
        return tree_topk(self.label_tree_, X, k)

    def _labels_by_chunk(self, X: Features, threshold: float | np.ndarray) -> Iterator[Any]:
        if not hasattr(self, "label_tree_"):
            return super()._labels_by_chunk(X, threshold)
        chosen = tree_labels(self.label_tree_, X, threshold)
        return (self._format.label_matrix(part) for part in chosen)
