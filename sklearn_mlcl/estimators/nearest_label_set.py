"""One-nearest-neighbour decoding as a scikit-learn classifier on any features."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    assert_all_finite,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from sklearn_mlcl.collapse._decoder_fit import VARIANTS, fit_onn_decoder
from sklearn_mlcl.collapse._label_sets import is_sparse
from sklearn_mlcl.persistence._saving import Persistent
from sklearn_mlcl.utils._sklearn_compat import Interval, StrOptions, _check_sample_weight
from sklearn_mlcl.utils.doc_links import DocumentationLinks


class NearestLabelSetClassifier(Persistent, DocumentationLinks, ClassifierMixin, BaseEstimator):
    r"""Nearest label-set prototype: multi-label neural collapse as a decision rule.

    Fits one vector per label such that the mean feature of every label set is an intercept plus a
    scaled sum of its labels' vectors, then predicts

    .. math:: \arg\min_S \|h - P_S\|^2 - 2 v t \log \pi(S), \qquad
       P_S = g + \alpha_{|S|} \sum_{k\in S} t_k.

    There is no net inside: the features may be those of any encoder, or principal components.

    Parameters
    ----------
    variant : {"tags", "etf", "cosine", "observed"}, default="tags"
        Prototypes and distance; see `fit_onn_decoder`.
    max_labels : int, default=None
        Largest number of labels of a prediction; None: the 0.999 quantile of the training rows.
    prior : float, default=0.0
        Strength t in [0, 1] of the prior of the label sets.

    Attributes
    ----------
    decoder_ : ONNDecoder
        The fitted state.
    classes_ : ndarray
        Labels 0..K-1 for an indicator matrix, the classes for 1-D y.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if X had string column names.

    See Also
    --------
    fit_onn_decoder : The same fit as a function.

    Notes
    -----
    Rows of Y with a missing label (NaN) belong to no known set and are left out of the fit. The
    variance v comes from the training rows; on features that have collapsed it is too small, and
    so the probabilities are too sure: fit on rows that the encoder has not seen.

    References
    ----------
    .. [1] Li, Li, Wang, Qu, "Neural Collapse in Multi-label Learning with Pick-all-label Loss",
       ICML 2024, arXiv 2310.15903.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl.estimators.nearest_label_set import NearestLabelSetClassifier
    >>> X, Y = make_multilabel_classification(n_samples=300, random_state=0)
    >>> NearestLabelSetClassifier().fit(X, Y).predict(X[:2]).shape
    (2, 5)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "variant": [StrOptions(set(VARIANTS))],
        "max_labels": [Interval(Integral, 1, None, closed="left"), None],
        "prior": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self, variant: str = "tags", *, max_labels: int | None = None, prior: float = 0.0
    ) -> None:
        self.variant = variant
        self.max_labels = max_labels
        self.prior = prior

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the prototypes.

        Parameters
        ----------
        X : {array-like, sparse} of shape (n, d)
            Features.
        y : {array-like, sparse} of shape (n, K) or (n,)
            Indicator matrix, or the classes of a binary or multiclass problem.
        sample_weight : array-like of shape (n,), default=None
            Row weights.

        Returns
        -------
        self : NearestLabelSetClassifier
            The fitted classifier.

        Raises
        ------
        ValueError
            If X holds NaN, Y holds other values than 0, 1 and NaN, or a parameter is outside its
            range.
        """
        self._validate_params()
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32])
        Y = self._encode_targets(y, X.shape[0])
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        self.decoder_ = fit_onn_decoder(
            X,
            Y,
            sample_weight=sample_weight,
            variant=self.variant,
            max_labels=self.max_labels,
            prior=self.prior,
        )
        _warn_absent(Y)
        return self

    def predict(self, X: Any) -> Any:
        """Predict the label set of the nearest prototype, or the class.

        Parameters
        ----------
        X : {array-like, sparse} of shape (n, d)
            Features.

        Returns
        -------
        ndarray or CSR of shape (n, K), or ndarray of shape (n,)
            In the form and dtype of the y of `fit`.
        """
        X = self._features(X)
        sets = self.decoder_.decode(X)
        if self._single:
            return self.classes_[sets.indices]  # every set has one label
        if self._container is not None:
            return self._container(sets.astype(self._target_dtype))
        return sets.toarray().astype(self._target_dtype)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Compute the marginal probability of each label; see `ONNDecoder.marginals`.

        Parameters
        ----------
        X : {array-like, sparse} of shape (n, d)
            Features.

        Returns
        -------
        ndarray of shape (n, K)
            Probabilities, strictly inside (0, 1).
        """
        X = self._features(X)
        dtype = X.dtype if X.dtype.kind == "f" else np.float64
        eps = np.finfo(dtype).eps
        return np.clip(self.decoder_.marginals(X), eps, 1 - eps).astype(dtype)

    def decision_function(self, X: Any) -> np.ndarray:
        """Compute the log-odds of `predict_proba`.

        Parameters
        ----------
        X : {array-like, sparse} of shape (n, d)
            Features.

        Returns
        -------
        ndarray of shape (n, K) or (n,)
            Log-odds; for two classes those of the second.
        """
        p = self.predict_proba(X)
        logits = np.log(p) - np.log1p(-p)
        return logits[:, 1] if self._single and p.shape[1] == 2 else logits

    def _features(self, X: Any) -> Any:
        check_is_fitted(self)
        return validate_data(
            self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False
        )

    def _encode_targets(self, y: Any, n: int) -> Any:
        """Indicator matrix; sets classes_ and how predict puts its answer."""
        if y is None:
            raise ValueError(
                "NearestLabelSetClassifier requires y to be passed, but the target y is None."
            )
        Y = y if is_sparse(y) else np.asarray(y)
        self._container = type(y) if is_sparse(y) else None
        self._single = Y.ndim == 1 or (Y.ndim == 2 and Y.shape[1] == 1 and not _is_indicator(Y))
        Y = self._encode_classes(Y) if self._single else self._encode_labels(Y)
        if Y.shape[0] != n:
            raise ValueError(f"X has {n} rows where y has {Y.shape[0]}.")
        return Y

    def _encode_classes(self, y: Any) -> np.ndarray:
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        return np.eye(len(self.classes_), dtype=np.int8)[codes]

    def _encode_labels(self, Y: Any) -> Any:
        Y = Y.astype(np.float64) if Y.dtype.kind == "O" else Y
        values = Y.data if is_sparse(Y) else Y
        missing = values.dtype.kind == "f" and bool(np.isnan(values).any())
        self.classes_ = np.arange(Y.shape[1])
        self._target_dtype = np.dtype(np.int64) if missing else Y.dtype
        return Y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.input_tags.sparse = True
        return tags


def _is_indicator(Y: Any) -> bool:
    """Whether a one-column Y holds 0, 1 and missing values only."""
    values = Y.data if is_sparse(Y) else Y.ravel()
    return values.dtype.kind in "biuf" and bool(
        np.isin(values[~np.isnan(values.astype(np.float64))], (0, 1)).all()
    )


def _warn_absent(Y: Any) -> None:
    absent = np.flatnonzero(np.asarray((Y == 1).sum(axis=0)).ravel() == 0)
    if len(absent):
        warnings.warn(
            f"Labels {absent.tolist()} have no positive row in y and are never predicted.",
            UserWarning,
            stacklevel=3,
        )
