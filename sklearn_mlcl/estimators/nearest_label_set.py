"""The nearest label-set prototype as a scikit-learn classifier on any features."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import logit
from sklearn.utils.validation import check_is_fitted

from sklearn_mlcl.collapse import VARIANTS, ONNDecoder, fit_onn_decoder
from sklearn_mlcl.estimators.base import MultiLabelClassifier, kept_on_error
from sklearn_mlcl.heads.decision import tune_onn_prior
from sklearn_mlcl.model_selection import MultilabelStratifiedShuffleSplit
from sklearn_mlcl.utils._sklearn_compat import Interval, StrOptions, _fit_context
from sklearn_mlcl.utils.class_weight import label_log_odds, row_weights
from sklearn_mlcl.utils.fit_data import Features
from sklearn_mlcl.utils.probabilities import inside
from sklearn_mlcl.utils.set_output import in_chosen_container
from sklearn_mlcl.utils.targets import warn_constant_labels


class NearestLabelSetClassifier(MultiLabelClassifier):
    r"""Nearest label-set prototype: multi-label neural collapse as a decision rule.

    Fits one vector per label such that the mean feature of every label set is an intercept plus a
    scaled sum of its labels' vectors, then predicts

    .. math:: \arg\min_S \|h - P_S\|^2 - 2 v t \log \pi(S), \qquad
       P_S = g + \alpha_{|S|} \sum_{k\in S} t_k.

    There is no net inside: the features may be those of any encoder, or principal components.
    As ``decision=`` of :class:`~sklearn_mlcl.MultiLabelMLPClassifier` an unfitted one says which
    prototypes and which prior the net shall use.

    Parameters
    ----------
    variant : {"tags", "etf", "cosine", "observed"}, default="tags"
        Prototypes and distance; see :func:`~sklearn_mlcl.collapse.fit_onn_decoder`.
    max_labels : int, default=None
        Largest number of labels of a prediction; None: the 0.999 quantile of the training samples.
    prior : float in [0, 1] or "tuned", default=0.0
        Strength t of the prior of the label sets. "tuned" holds out a stratified tenth of the
        samples, chooses the strength of the best micro-F1 and the variance v there, and fits the
        prototypes again to all samples.
    missing_label : float, default=NaN
        What marks a missing label in ``y`` beside NaN, for example -1.
    random_state : int, RandomState instance or None, default=None
        Draws the tenth of ``prior="tuned"``.

    Attributes
    ----------
    decoder_ : ONNDecoder
        The prototypes; ``decoder_.prior`` is the strength in force.
    classes_ : ndarray
        Labels 0..L-1 for an indicator matrix, the classes for 1-D y.
    label_names_ : ndarray of str
        Column names of a DataFrame of labels.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Only if X had string column names.

    See Also
    --------
    sklearn_mlcl.collapse.fit_onn_decoder : The same fit as a function.

    Notes
    -----
    A sample with a missing label belongs to no known set and is left out of the fit. Weights of
    entries count by their mean over the sample. Unless the prior is tuned, the variance v comes
    from the training samples. It is too small on features that have collapsed, and the
    probabilities are too sure: fit on samples that the encoder has not seen.

    References
    ----------
    .. [1] Li, Li, Wang, Qu, "Neural Collapse in Multi-label Learning with Pick-all-label Loss",
       ICML 2024, arXiv 2310.15903.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl.collapse import NearestLabelSetClassifier
    >>> X, Y = make_multilabel_classification(n_samples=300, random_state=0)
    >>> NearestLabelSetClassifier().fit(X, Y).predict(X[:2]).shape
    (2, 5)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "variant": [StrOptions(set(VARIANTS))],
        "max_labels": [Interval(Integral, 1, None, closed="left"), None],
        "prior": [Interval(Real, 0, 1, closed="both"), StrOptions({"tuned"})],
        "missing_label": [Real],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        variant: str = "tags",
        *,
        max_labels: int | None = None,
        prior: float | str = 0.0,
        missing_label: float = np.nan,
        random_state: Any = None,
    ) -> None:
        self.variant = variant
        self.max_labels = max_labels
        self.prior = prior
        self.missing_label = missing_label
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the prototypes.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Features without NaN or infinity.
        y : {array-like, DataFrame, CSR matrix} of shape (n_samples, n_labels) or (n_samples,)
            Indicator matrix, NaN (and ``missing_label``) for a missing label; or 1-D classes.
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_labels), default=None
            Weights of the samples or of the entries; those with zero weight are dropped.

        Returns
        -------
        self : NearestLabelSetClassifier
            The fitted classifier.

        Raises
        ------
        ValueError
            If X holds NaN, y other values than 0, 1 and NaN, or no sample has all its labels.
        """
        with kept_on_error(self):
            X, Y, weights = self._check_fit_input(X, y, sample_weight)
            if self._format.kind == "multilabel":
                warn_constant_labels(label_log_odds(Y, weights)[1], self._format.label_names)
            elif self._format.kind == "binary":  # either class is a set, as with more classes
                Y = np.hstack([1 - Y, Y])
            self.decoder_ = self._fit_decoder(X, Y, row_weights(Y, weights))
        return self

    def _fit_decoder(self, X: Features, Y: Any, weights: np.ndarray | None) -> ONNDecoder:
        fit = partial(fit_onn_decoder, variant=self.variant, max_labels=self.max_labels)
        if not isinstance(self.prior, str):
            return fit(X, Y, sample_weight=weights, prior=self.prior)
        tenth = MultilabelStratifiedShuffleSplit(1, test_size=0.1, random_state=self.random_state)
        train, test = next(tenth.split(X, Y))
        of_train = None if weights is None else weights[train]
        decoder = fit(X[train], Y[train], sample_weight=of_train, validation=(X[test], Y[test]))
        tuned = tune_onn_prior(decoder, X[test], Y[test])
        decoder = fit(X, Y, sample_weight=weights, prior=tuned.prior)
        return replace(decoder, variance=tuned.variance)

    @in_chosen_container
    def predict(self, X: Any) -> Any:
        """Predict the label set of the nearest prototype, or the class.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        labels : ndarray or CSR matrix of shape (n_samples, n_labels)
            Indicator matrix in the dtype and storage that y had (int64 where it had missing
            labels); classes of shape (n_samples,) for 1-D y.
        """
        check_is_fitted(self)
        sets = self.decoder_.decode(self._check_features(X, reset=False))
        if self._format.kind == "multilabel":
            return self._format.label_matrix(sets)
        return self.classes_[sets.indices]  # every set has one label

    def _logits(self, X: Features) -> np.ndarray:
        marginals = self.decoder_.marginals(X).astype(X.dtype)
        return logit(inside(marginals[:, 1:] if self._format.kind == "binary" else marginals))
