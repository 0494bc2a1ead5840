"""What all classifiers of label matrices share: the form of their targets, and their score."""

from __future__ import annotations

from typing import Any

from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_mlcl.metrics._decisions import subset_accuracy
from sklearn_mlcl.utils.answers import LabelFrames, TargetFormat
from sklearn_mlcl.utils.targets import as_1d_target, check_label_names, label_names_in
from sklearn_mlcl.utils.validation import check_weights


class LabelMatrixClassifier(LabelFrames, ClassifierMixin):
    """Mixin: a classifier that keeps the format of its targets, scored by subset accuracy."""

    missing_label: float
    _format: TargetFormat

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of the samples whose labels are all right (subset accuracy).

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Samples to predict.
        y : array-like of shape (n_samples, n_labels) or (n_samples,)
            Their targets. Mark missing labels NaN or ``missing_label``; they do not count. A
            DataFrame must have the labels of the fit in the same order.
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_labels), default=None
            Weights of the samples or of the entries.

        Returns
        -------
        score : float
            In [0, 1]; the accuracy for 1-D targets.
        """
        check_is_fitted(self)
        if self._format.kind != "multilabel":
            y = as_1d_target(y)
            return super().score(X, y, check_weights(sample_weight, len(y), 1))
        check_label_names(self._format.label_names, label_names_in(y))
        return subset_accuracy(
            y, self.predict(X), sample_weight=sample_weight, missing_label=self.missing_label
        )
