"""Displays of scores: a fitted classifier gives them, or the user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from sklearn_mlcl.inspection._labels import label_names_of, n_labels_of
from sklearn_mlcl.utils.parameters import named_in_errors
from sklearn_mlcl.utils.response import METHODS, first_method, label_scores


def scores_of(
    estimator: Any, X: Any, y: Any, response_method: str = "auto", methods: Any = METHODS
) -> np.ndarray:
    """Return the scores (n, L) of a fitted classifier by one of the methods."""
    if response_method not in ("auto", *methods):
        raise ValueError(
            f"response_method must be 'auto' or one of {methods}, got {response_method!r}."
        )
    wanted = methods if response_method == "auto" else (response_method,)
    return label_scores(estimator, X, n_labels_of(y), first_method(estimator, wanted))


@named_in_errors
class ScoresDisplay:
    """Base of the displays that show targets and scores."""

    #: Methods of a classifier that give the scores, the preferred one first.
    _methods: ClassVar[tuple[str, ...]] = METHODS
    from_predictions: ClassVar[Callable[..., Any]]

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, response_method: str = "auto",
        label_names: Sequence[str] | None = None, **options: Any,
    ) -> Self:  # fmt: skip
        """Plot the scores of a fitted classifier on samples that it was not fitted on.

        Parameters
        ----------
        estimator : classifier
            Fitted on a label matrix; also a search or a pipeline.
        X : array-like of shape (n, n_features)
            Samples.
        y : {ndarray, DataFrame, sparse matrix} of shape (n, L)
            Their indicator matrix, NaN for missing labels.
        response_method : {"auto", "predict_proba", "decision_function"}, default="auto"
            Which scores to take. "auto" takes ``predict_proba`` if there is one. A display of
            probabilities refuses ``decision_function``.
        label_names : sequence of str, default=None
            Names of all labels; None for the columns of a DataFrame, those that the classifier
            was fitted with, or numbers.
        **options
            Further arguments of :meth:`from_predictions`.

        Returns
        -------
        display : object
            The display, drawn.
        """
        names = label_names_of(label_names, n_labels_of(y), y, estimator)
        scores = scores_of(estimator, X, y, response_method, cls._methods)
        display: Self = cls.from_predictions(y, scores, label_names=names, **options)
        return display
