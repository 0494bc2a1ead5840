"""The nearest label-set prototype as a scikit-learn classifier on any features."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from torch import nn

from sklearn_mlcl.collapse import VARIANTS, ONNDecoder, fit_onn_decoder
from sklearn_mlcl.estimators.base import MultiLabelClassifier, finite
from sklearn_mlcl.heads.evaluation import outputs
from sklearn_mlcl.heads.held_out import tune_onn_prior
from sklearn_mlcl.heads.predictor import DecoderHead
from sklearn_mlcl.model_selection import MultilabelStratifiedShuffleSplit
from sklearn_mlcl.solvers._design import LARGEST_FEATURE
from sklearn_mlcl.utils._sklearn_compat import StrOptions, fit_context
from sklearn_mlcl.utils.answers import in_chosen_container, set_format
from sklearn_mlcl.utils.fit_data import FitData, LabelStats, check_fit_data
from sklearn_mlcl.utils.parameters import (
    AT_LEAST_1,
    MISSING_LABEL,
    SHARE,
    DeclaredParameters,
    named_in_errors,
    param,
)
from sklearn_mlcl.utils.runtime import rollback_on_error
from sklearn_mlcl.utils.samples import Features, check_features, check_sizes
from sklearn_mlcl.utils.targets import warn_constant_labels


@named_in_errors
class NearestLabelSetClassifier(DeclaredParameters, MultiLabelClassifier):
    r"""Nearest label-set prototype: multi-label neural collapse as a decision rule.

    The fit gives one vector per label. The mean feature of a label set is about an intercept plus a
    scaled sum of the vectors of its labels. The prediction is

    .. math:: \arg\min_S \|h - P_S\|^2 - 2 v t \log \pi(S), \qquad
       P_S = g + \alpha_{|S|} \sum_{k\in S} t_k.

    The classifier has no net. The features may come from any encoder, or from principal components.
    An unfitted instance as ``decision=`` of :class:`~sklearn_mlcl.MultiLabelMLPClassifier` sets the
    prototypes and the prior of the net.

    Parameters
    ----------
    variant : {"tags", "etf", "cosine", "observed"}
        Prototypes and distance; see :func:`~sklearn_mlcl.collapse.fit_onn_decoder`.
    max_labels : int or None
        Largest number of labels of a prediction. None: the 0.999 quantile of the samples.
    prior : float in [0, 1] or "tuned"
        Strength t of the prior of the label sets. "tuned" holds out a stratified tenth of the
        samples, chooses strength and variance on it, and fits the prototypes on all samples.
    random_state : int, RandomState instance or None
        Seeds the split of ``prior="tuned"``.

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
    The fit ignores samples with a missing label, because their label set is unknown. Weights of
    entries count by their mean over the sample. Unless the prior is tuned, the variance v comes
    from the training samples. It is too small if the features have collapsed, and the probabilities
    are then overconfident. Fit on samples that the encoder has not seen.

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

    _doc_module: ClassVar[str] = "sklearn_mlcl.collapse"

    _remedies: ClassVar[str] = "another variant"

    variant: str = param("tags", StrOptions(set(VARIANTS)))
    max_labels: int | None = param(None, AT_LEAST_1, None)
    prior: float | str = param(0.0, SHARE, StrOptions({"tuned"}))
    missing_label: float = MISSING_LABEL
    random_state: Any = param(None, "random_state")

    @fit_context(prefer_skip_nested_validation=True)
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
        with rollback_on_error(self):
            data, target_format = check_fit_data(self, X, y, sample_weight)
            set_format(self, target_format)
            if target_format.kind == "multilabel":
                warn_constant_labels(LabelStats.of(data).constant, target_format.label_names)
            elif target_format.kind == "binary":  # either class is a set, as with more classes
                data = replace(data, Y=np.hstack([1 - data.Y, data.Y]))
            check_sizes(data.X, 0.0, LARGEST_FEATURE)
            with finite(self, data.X):
                self.decoder_ = self._fit_decoder(data)
        return self

    def _fit_decoder(self, data: FitData) -> ONNDecoder:
        def fit(data: FitData, **options: Any) -> ONNDecoder:
            options |= {"variant": self.variant, "max_labels": self.max_labels}
            return fit_onn_decoder(data.X, data.Y, sample_weight=data.row_weight, **options)

        if not isinstance(self.prior, str):
            return fit(data, prior=self.prior)
        tenth = MultilabelStratifiedShuffleSplit(1, test_size=0.1, random_state=self.random_state)
        train, test = map(data.take, next(tenth.split(data.X, data.Y)))
        tuned = tune_onn_prior(fit(train, validation=(test.X, test.Y)), test.X, test.Y)
        return replace(fit(data, prior=tuned.prior), variance=tuned.variance)

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
        sets = self.decoder_.decode(check_features(self, X, reset=False))
        if self._format.kind == "multilabel":
            return self._format.label_matrix(sets)
        return self.classes_[sets.indices]  # every set has one label

    def _check_state(self) -> None:
        n_sets = len(self._format.classes)
        found = (self.decoder_.n_labels, len(self.decoder_.intercept))
        if found != (n_sets, self.n_features_in_):
            raise ValueError(f"its decoder has {found} labels and features")
        super()._check_state()

    def _module(self) -> nn.Module:
        # Of two classes, which are two label sets, the log-odds of the second are asked for.
        return DecoderHead(self.decoder_, first_label=int(self._format.kind == "binary"))

    def _log_odds(self, X: Features) -> np.ndarray:
        return outputs(self._module(), X, device="cpu", entries=4 * self.decoder_.n_labels)
