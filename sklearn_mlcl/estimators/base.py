"""What every classifier of the package shares: checked input, and predictions from log-odds."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sklearn_mlcl.heads.evaluation import exportable, outputs
from sklearn_mlcl.heads.predictor import Probabilities
from sklearn_mlcl.metrics._classifier import LabelMatrixClassifier
from sklearn_mlcl.persistence._onnx import OnnxExport
from sklearn_mlcl.persistence._saving import Persistent
from sklearn_mlcl.utils._sklearn_compat import DocumentationLinks
from sklearn_mlcl.utils.answers import in_chosen_container, sigmoid
from sklearn_mlcl.utils.parameters import check_some
from sklearn_mlcl.utils.runtime import torch_defaults
from sklearn_mlcl.utils.samples import (
    Features,
    check_features,
    chunk_rows,
    chunks,
    largest_value,
    stacked,
)
from sklearn_mlcl.utils.topk import check_k, largest_of_rows
from sklearn_mlcl.utils.validation import check_threshold

#: What the linear algebra of torch raises; its stubs do not know the name.
_OF_TORCH: tuple[type[Exception]] = (torch.linalg.LinAlgError,)  # type: ignore[attr-defined]
#: What torch says where it does not get memory, or cannot even count what it would need.
_NO_MEMORY = re.compile("allocate memory|out of memory|size calculation overflow", re.IGNORECASE)
#: Samples that a fit is tried on at its end, at most.
CHECKED_SAMPLES = 32


@contextmanager
def finite(clf: MultiLabelClassifier, X: Features) -> Iterator[None]:
    """Raise unless all that the block fits, and what it says of some samples, is finite."""
    failed: Exception | None = None
    try:
        yield
    except (np.linalg.LinAlgError, *_OF_TORCH) as error:
        failed = error
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not _NO_MEMORY.search(str(error)):
            raise
        raise MemoryError(
            f"The fit needs more memory than there is ({error}). Likely remedies: {clf._savings}."
        ) from error
    if failed is not None or not _is_finite(clf, X):
        raise ValueError(
            "The fit ended in coefficients or probabilities that are not finite. Likely "
            f"remedies: features on a common scale (X holds up to {largest_value(X):g}), "
            f"sample_weight and class_weight near 1, {clf._remedies}."
        ) from failed


def _is_finite(clf: MultiLabelClassifier, X: Features) -> bool:
    module = clf._module()
    tensors = (*module.parameters(), *module.buffers())
    if not all(bool(t.isfinite().all()) for t in tensors):
        return False
    some = X[:: ceil(X.shape[0] / CHECKED_SAMPLES)]
    with np.errstate(all="ignore"):
        return bool(np.isfinite(clf._log_odds(some)).all())


class MultiLabelClassifier(
    Persistent, OnnxExport, DocumentationLinks, LabelMatrixClassifier, BaseEstimator
):
    """Base of the classifiers: a subclass gives ``fit``, ``_log_odds`` and ``_module``."""

    threshold: Any
    #: What else may help where a fit ends in numbers that are not finite.
    _remedies: ClassVar[str]
    #: What else may help where there is not enough memory.
    _savings: ClassVar[str] = "fewer features or labels at once"

    @abstractmethod
    def _log_odds(self, X: Features) -> np.ndarray:
        """Return log-odds of shape (n, L) for checked X, in the dtype of X."""

    @abstractmethod
    def _module(self) -> nn.Module:
        """Return a module that maps samples (n, d) to log-odds (n, L)."""

    # ------------------------------------------------------------------ predictions

    @in_chosen_container
    def decision_function(self, X: Any) -> np.ndarray:
        """Return the log-odds of every label.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Samples to score.

        Returns
        -------
        log_odds : ndarray of shape (n_samples, n_labels)
            In the dtype of X (float64 or float32); of shape (n_samples,) for binary 1-D targets.
        """
        return self._format.decisions(self._log_odds(check_features(self, X, reset=False)))

    @in_chosen_container
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of every label.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Samples to score.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_labels)
            Strictly inside (0, 1), in the dtype of X. For 1-D targets of shape
            (n_samples, n_classes) with rows that sum to 1.
        """
        log_odds = self._log_odds(check_features(self, X, reset=False))
        return self._format.probabilities(sigmoid(log_odds))

    @in_chosen_container
    def predict(self, X: Any) -> Any:
        """Return the labels with a probability of at least the threshold.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Samples to decide on.

        Returns
        -------
        labels : ndarray or CSR matrix of shape (n_samples, n_labels)
            Indicator matrix in the dtype and storage that the targets had (int64 where they had
            NaN); classes of shape (n_samples,) for 1-D targets.
        """
        X, threshold = check_features(self, X, reset=False), self._thresholds()
        if not self._format.sparse:
            return self._format.predictions(sigmoid(self._log_odds(X)), threshold)
        return stacked(self._labels_by_chunk(X, threshold), X.shape[0])

    def predict_topk(self, X: Any, k: int) -> sp.csr_matrix:
        """Return the k largest probabilities of each sample, for very many labels.

        Samples are scored in chunks: the probabilities of all labels never exist for all samples
        at once.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Samples to score.
        k : int
            Labels a sample, from 1 to n_labels.

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
        parts = self._topk_by_chunk(check_features(self, X, reset=False), k)
        return sp.vstack(list(parts), format="csr")

    def to_module(self) -> nn.Module:
        """Return :meth:`predict_proba` as a torch module, to serve or to explain.

        The module maps dense float32 samples (n, d) to probabilities, with gradients. It has
        copies of all tensors, on the CPU, in evaluation mode.

        Returns
        -------
        module : torch.nn.Module
            Its answers agree with :meth:`predict_proba` for float32 samples to 1e-5.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If torch has no operations for the prediction.
        """
        check_is_fitted(self)
        with torch_defaults():
            return exportable(Probabilities(self._module(), self._format.kind))

    def _log_odds_by_chunk(self, X: Features) -> Iterator[np.ndarray]:
        """Yield log-odds of so many samples at a time that they fit into memory."""
        for part in chunks(X.shape[0], chunk_rows(8 * self._format.n_labels)):
            yield self._log_odds(X[part])

    def _labels_by_chunk(self, X: Features, threshold: float | np.ndarray) -> Iterator[Any]:
        """Yield the label matrices of chunks of samples; targets were CSR."""
        for part in self._log_odds_by_chunk(X):
            yield self._format.predictions(sigmoid(part), threshold)

    def _topk_by_chunk(self, X: Features, k: int) -> Iterator[sp.csr_matrix]:
        """Yield the k largest probabilities of chunks of samples."""
        for part in self._log_odds_by_chunk(X):
            yield largest_of_rows(sigmoid(part), k)

    def _check_state(self) -> None:
        """Predict two samples: what was fitted must fit together, and to the classes."""
        samples = self._zero_samples()
        with np.errstate(all="ignore"):  # on the CPU: this machine may not have the device
            log_odds = outputs(self._module(), samples, device="cpu")
        if log_odds.shape != (2, self._format.n_labels):
            raise ValueError(
                f"it predicts log-odds of shape {log_odds.shape} for 2 samples and "
                f"{self._format.n_labels} labels"
            )

    def _zero_samples(self) -> np.ndarray:
        """Return two samples of zeros."""
        return np.zeros((2, self.n_features_in_), dtype=np.float32)

    def _thresholds(self) -> float | np.ndarray:
        """Return the threshold in force."""
        check_some(self, ("threshold",))
        return self._checked_threshold(self.threshold)

    def _checked_threshold(self, value: Any) -> float | np.ndarray:
        """Return a threshold, one for all labels or one a label."""
        return check_threshold(value, self._format.n_labels, self._format.label_names)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.input_tags.sparse = True
        return tags
