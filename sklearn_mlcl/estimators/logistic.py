"""The heads as an estimator: L logistic regressions in one batched solve."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from sklearn_mlcl.estimators.base import MultiLabelClassifier, kept_on_error
from sklearn_mlcl.heads.graph import AffineGraph, ProbabilityGraph
from sklearn_mlcl.heads.logistic import LogisticHeads, fit_heads
from sklearn_mlcl.persistence._onnx import OnnxExport
from sklearn_mlcl.solvers.select import DEFAULT_CS
from sklearn_mlcl.utils._sklearn_compat import Interval, StrOptions, fit_context
from sklearn_mlcl.utils.class_weight import label_log_odds
from sklearn_mlcl.utils.fit_data import Features
from sklearn_mlcl.utils.targets import warn_constant_labels


class MultiLabelLogisticRegression(OnnxExport, MultiLabelClassifier):
    r"""One L2-regularised logistic regression per label, all solved together.

    For every label :math:`l`, with :math:`\tilde y_{il} \in \{-1, 1\}` and weights
    :math:`s_{il}` of the cells,

    .. math::
        \min_{w_l, b_l} \; \tfrac12 \|w_l\|^2
        + C_l \sum_i s_{il} \log\big(1 + e^{-\tilde y_{il} (w_l \cdot x_i + b_l)}\big)

    which is the objective of scikit-learn's ``LogisticRegression`` inside
    ``OneVsRestClassifier``. All labels share X, so one product gives the gradients of all;
    step lengths and convergence are each label's own.

    Parameters
    ----------
    C : float, array-like of shape (n_labels,) or "cv", default=1.0
        Inverse regularisation, one for all labels or one a label. "cv" chooses it per label
        from ``Cs`` by the held-out log loss; labels too rare for the folds share one choice.
    Cs : sequence of float, default=(1e-5, ..., 1e3)
        Grid for ``C="cv"``, a decade a step.
    cv : int, splitter or iterable of (train, test) pairs, default=5
        Folds for ``C="cv"``; an int means :class:`MultilabelStratifiedKFold`.
    fit_intercept : bool, default=True
        Add an unpenalised intercept.
    tol : float, default=1e-10
        Relative size of the gradient at which a label is solved.
    max_iter : int, default=100
        Most Newton steps a label.
    threshold : float or array-like of shape (n_labels,), default=0.5
        Probability from which on a label is predicted.
    missing_label : float, default=nan
        What marks an unknown label in a label matrix beside NaN, for example -1.
    class_weight : "balanced", dict, list of dict or None, default=None
        Factors on the weights of negatives and positives: a dict ``{label: {0: w0, 1: w1}}`` by
        number or name of the label, a list with a dict ``{0: w0, 1: w1}`` for each label, or
        "balanced" for (known cells) / (2 * known cells of that value) in each label. For 1-D
        targets a dict ``{class: weight}`` or "balanced", as in scikit-learn. Probabilities are then
        those of the weighted rows; see :ref:`missing-labels`.
    pos_weight : float, array-like of shape (n_labels,), "balanced" or None, default=None
        Factor on the weights of the positives, beside ``class_weight``; "balanced" is negatives
        over positives in each label.

    Attributes
    ----------
    classes_ : ndarray
        ``arange(n_labels)`` for a label matrix, else the classes.
    label_names_ : ndarray of str
        Column names of y; only if y was a DataFrame.
    coef_ : ndarray of shape (n_labels, n_features)
        Coefficients; zero for a label with a single value.
    intercept_ : ndarray of shape (n_labels,)
        Intercepts; the smoothed log-odds for a label with a single value.
    C_ : ndarray of shape (n_labels,)
        The C of each label.
    n_iter_ : ndarray of shape (n_labels,)
        Steps taken for each label.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Feature names; only if X had string names.

    See Also
    --------
    ContrastiveMultiLabelClassifier : The same heads on a learned embedding.

    Notes
    -----
    Unknown labels (NaN in y) leave their cell out. 1-D targets work too: binary ones are one
    label, more classes are solved one against the rest and their probabilities normalised.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import MultiLabelLogisticRegression
    >>> X, Y = make_multilabel_classification(n_samples=100, n_classes=3, random_state=0)
    >>> heads = MultiLabelLogisticRegression(C=0.1).fit(X, Y)
    >>> heads.coef_.shape, heads.predict(X).shape
    ((3, 20), (100, 3))
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "C": [Interval(Real, 0, None, closed="neither"), StrOptions({"cv"}), "array-like"],
        "Cs": ["array-like"],
        "cv": [Interval(Integral, 2, None, closed="left"), "cv_object"],
        "fit_intercept": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "threshold": [Interval(Real, 0, 1, closed="both"), "array-like"],
        **MultiLabelClassifier._label_constraints,
    }

    def __init__(
        self,
        *,
        C: Any = 1.0,
        Cs: Sequence[float] = DEFAULT_CS,
        cv: Any = 5,
        fit_intercept: bool = True,
        tol: float = 1e-10,
        max_iter: int = 100,
        threshold: Any = 0.5,
        missing_label: float = np.nan,
        class_weight: Any = None,
        pos_weight: Any = None,
    ) -> None:
        self.C = C
        self.Cs = Cs
        self.cv = cv
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.threshold = threshold
        self.missing_label = missing_label
        self.class_weight = class_weight
        self.pos_weight = pos_weight

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Solve all heads.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Features without NaN or infinity; CSR stays CSR.
        y : {array-like, DataFrame, CSR matrix} of shape (n_samples, n_labels)
            Indicator matrix, NaN (and ``missing_label``) for an unknown label; or 1-D classes
            of shape (n_samples,).
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_labels), default=None
            Weights of the rows or of the cells; what weighs zero is left out.

        Returns
        -------
        self : MultiLabelLogisticRegression
            The fitted estimator.
        """
        with kept_on_error(self):
            rows = self._check_fit_input(X, y, sample_weight)
            X, Y, weights = self._class_factors(*rows[1:]).rows(rows)
            heads = fit_heads(
                X,
                Y,
                weights,
                self.C,
                Cs=self.Cs,
                cv=self.cv,
                fit_intercept=self.fit_intercept,
                tol=self.tol,
                max_iter=self.max_iter,
            )
            self._keep(heads, label_log_odds(Y, weights)[1])
        return self

    def _keep(self, heads: LogisticHeads, constant: np.ndarray) -> None:
        self.coef_, self.intercept_ = heads.coef, heads.intercept
        self.C_, self.n_iter_ = heads.C, heads.n_iter
        if self._format.kind == "multilabel":
            warn_constant_labels(constant, self._format.label_names)
        if not heads.converged.all():
            warnings.warn(
                f"{(~heads.converged).sum()} of {len(constant)} labels did not reach tol="
                f"{self.tol:g} in max_iter={self.max_iter} steps.",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _probability_graph(self) -> nn.Module:
        return ProbabilityGraph(AffineGraph(self.coef_, self.intercept_), self._format.kind)

    def _logits(self, X: Features) -> np.ndarray:
        coef, intercept = (a.astype(X.dtype) for a in (self.coef_, self.intercept_))
        return X @ coef.T + intercept
