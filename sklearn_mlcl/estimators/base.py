"""What every classifier of the package shares: checked input, and predictions from logits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from sklearn_mlcl.metrics import subset_accuracy
from sklearn_mlcl.persistence._saving import Persistent
from sklearn_mlcl.utils._sklearn_compat import (
    DocumentationLinks,
    Interval,
    StrOptions,
    check_sample_weight,
)
from sklearn_mlcl.utils.chunking import chunk_rows, chunks, take_rows
from sklearn_mlcl.utils.class_weight import ClassFactors, class_factors, hide_absent
from sklearn_mlcl.utils.fit_data import FLOATS, Features
from sklearn_mlcl.utils.probabilities import probabilities_from
from sklearn_mlcl.utils.set_output import LabelFrames, in_chosen_container
from sklearn_mlcl.utils.targets import Indicator, TargetFormat, infer_format
from sklearn_mlcl.utils.topk import check_k, largest_of_rows
from sklearn_mlcl.utils.validation import check_weights


@contextmanager
def kept_on_error(estimator: BaseEstimator) -> Iterator[None]:
    """Put the attributes of an estimator back if the block fails: no half-fitted state."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


class MultiLabelClassifier(
    Persistent, DocumentationLinks, LabelFrames, ClassifierMixin, BaseEstimator
):
    """Base of the classifiers: a subclass gives ``fit`` and ``_logits``."""

    _label_constraints: ClassVar[dict[str, Any]] = {
        "missing_label": [Real],
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
        "pos_weight": [
            Interval(Real, 0, None, closed="left"),
            "array-like",
            StrOptions({"balanced"}),
            None,
        ],
    }
    missing_label: float
    class_weight: Any
    pos_weight: Any

    @abstractmethod
    def _logits(self, X: Features) -> np.ndarray:
        """Return logits of shape (n, L) for checked X, in the dtype of X."""

    # ------------------------------------------------------------------ input

    def _check_features(self, X: Any, reset: bool) -> Features:
        return validate_data(self, X, reset=reset, accept_sparse="csr", dtype=FLOATS)

    def _as_rows(self, X: Features) -> Features:
        """Return checked features as a fit takes them."""
        return X

    def _check_fit_input(
        self, X: Any, y: Any, sample_weight: Any, *, classes: Any = None, reset: bool = True
    ) -> tuple[Features, Indicator, np.ndarray | None]:
        """Check what ``fit`` was given; what weighs zero is left out: rows go, cells are NaN."""
        if y is None:
            validate_data(self, X, y=None, reset=reset)
        X = self._as_rows(self._check_features(X, reset=reset))
        if reset:
            self._set_format(infer_format(y, classes, self.missing_label))
        self._format = replace(self._format, missing_label=self.missing_label)
        Y = self._check_targets(y)
        check_consistent_length(X, Y)
        weights = self._check_weights(sample_weight, X)
        if weights is None or weights.all():
            return X, Y, weights
        rows = np.asarray(weights > 0 if weights.ndim == 1 else weights.any(axis=1))
        return take_rows(X, rows), hide_absent(Y, weights)[rows], weights[rows]

    def _set_format(self, target_format: TargetFormat) -> None:
        self._format = target_format
        self.classes_ = target_format.classes
        if target_format.label_names is not None:
            self.label_names_ = target_format.label_names
        elif hasattr(self, "label_names_"):
            del self.label_names_

    def _check_targets(self, y: Any) -> Indicator:
        Y = self._format.indicator(y)
        if Y.shape[1] != self._format.n_labels:
            raise ValueError(
                f"y has {Y.shape[1]} labels, but {type(self).__name__} was fitted with "
                f"{self._format.n_labels}."
            )
        return Y

    def _check_weights(self, sample_weight: Any, X: Features) -> np.ndarray | None:
        """Return weights of shape (n,), or of cells (n, L) where there are several labels."""
        if sample_weight is None:
            return None
        if np.asarray(sample_weight).ndim == 2:
            weights = check_weights(sample_weight, X.shape[0], self._format.n_labels)
            return weights[:, 0] if weights is not None and weights.shape[1] == 1 else weights
        return check_sample_weight(sample_weight, X, dtype=np.float64)

    def _class_factors(self, Y: Indicator, weights: np.ndarray | None) -> ClassFactors:
        return class_factors(self.class_weight, self.pos_weight, self._format, Y, weights)

    # ------------------------------------------------------------------ predictions

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of the rows whose known labels are all right (subset accuracy).

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Rows to predict.
        y : array-like of shape (n_samples, n_labels) or (n_samples,)
            Their targets, NaN (and ``missing_label``) where unknown.
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_labels), default=None
            Weights of the rows or of the cells.

        Returns
        -------
        score : float
            In [0, 1]; the accuracy for 1-D targets.
        """
        check_is_fitted(self)
        if self._format.kind != "multilabel":
            return super().score(X, y, sample_weight)
        return subset_accuracy(
            y, self.predict(X), sample_weight=sample_weight, missing_label=self.missing_label
        )

    @in_chosen_container
    def decision_function(self, X: Any) -> np.ndarray:
        """Return the logit of every label.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        logits : ndarray of shape (n_samples, n_labels)
            Log-odds, in the dtype of X (float64 or float32); of shape (n_samples,) for binary
            1-D targets.
        """
        check_is_fitted(self)
        return self._format.decisions(self._logits(self._check_features(X, reset=False)))

    @in_chosen_container
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of every label.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_labels)
            Strictly inside (0, 1), in the dtype of X. For 1-D targets of shape
            (n_samples, n_classes) with rows that sum to 1.
        """
        check_is_fitted(self)
        return self._format.probabilities(self._marginals(X))

    @in_chosen_container
    def predict(self, X: Any) -> Any:
        """Return the labels whose probability reaches the threshold.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        labels : ndarray or CSR matrix of shape (n_samples, n_labels)
            Indicator matrix in the dtype and storage that the targets had (int64 where they had
            NaN); classes of shape (n_samples,) for 1-D targets.
        """
        check_is_fitted(self)
        return self._format.predictions(self._marginals(X), self._thresholds())

    def predict_topk(self, X: Any, k: int) -> sp.csr_matrix:
        """Return the k largest probabilities of each row, for very many labels.

        Rows are scored in chunks: the probabilities of all labels are never there for all rows.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Rows to score.
        k : int
            Labels a row, from 1 to n_labels.

        Returns
        -------
        probabilities : CSR matrix of shape (n_samples, n_labels)
            k stored entries a row, those of :meth:`predict_proba`, by label; its ``indices`` are
            the labels.

        Raises
        ------
        ValueError
            If ``k`` is no integer from 1 to n_labels, or the fit was on 1-D targets.
        """
        check_is_fitted(self)
        if self._format.kind != "multilabel":
            raise ValueError(
                "predict_topk needs a classifier fitted on a label matrix; this one was fitted on "
                f"{self._format.kind} targets of shape (n_samples,)."
            )
        k = check_k(k, self._format.n_labels)
        X = self._check_features(X, reset=False)
        parts = chunks(X.shape[0], chunk_rows(8 * self._format.n_labels))
        return sp.vstack(
            [largest_of_rows(self._marginals_of(X[part]), k) for part in parts], format="csr"
        )

    def _marginals(self, X: Any) -> np.ndarray:
        return self._marginals_of(self._check_features(X, reset=False))

    def _marginals_of(self, X: Features) -> np.ndarray:
        return probabilities_from(self._logits(X))

    def _thresholds(self) -> float | np.ndarray:
        """Return the threshold in force: the parameter, or what was tuned in its place."""
        tuned = isinstance(self.threshold, str)
        threshold = np.asarray(self.threshold_ if tuned else self.threshold, dtype=np.float64)
        n_labels = self._format.n_labels
        if threshold.ndim and threshold.shape != (n_labels,):
            raise ValueError(
                f"threshold must be a number or have shape ({n_labels},), one a label; got "
                f"shape {threshold.shape}."
            )
        if not ((threshold >= 0) & (threshold <= 1)).all():
            raise ValueError(f"threshold must lie in [0, 1], got {self.threshold!r}.")
        return threshold

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.input_tags.sparse = True
        return tags
