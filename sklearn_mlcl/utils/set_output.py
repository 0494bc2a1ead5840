"""Predictions as DataFrames whose columns are the labels, chosen by ``set_output``."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_mlcl.utils._sklearn_compat import (
    output_container,
    output_containers,
    set_output_container,
    wrap_output,
)


class LabelFrames:
    """Mixin of classifiers whose answers for label matrices can be DataFrames.

    The choice is stored where scikit-learn's ``set_output`` stores its own, so that a clone keeps
    it. It is a choice of its own, not that of ``transform``: pipelines, ``ColumnTransformer`` and
    ``sklearn.set_config(transform_output="pandas")`` hand the latter to every step for the sake
    of features, and scikit-learn's tools index probabilities as arrays.
    """

    _format: Any

    def set_output(self, *, predict: str | None = None) -> Self:
        """Choose the container of predictions for label matrices.

        ``sklearn.set_config(transform_output="pandas")`` and ``set_output`` of a pipeline change
        features, and not predictions. Clones keep the choice. Predictions for 1-D targets are
        always arrays.

        Parameters
        ----------
        predict : {"default", "pandas", "polars"}, default=None
            Container that ``predict``, ``predict_proba`` and ``decision_function`` return.
            "default" is an array. A DataFrame has the label names as columns, or their numbers if y
            had no names. Its index is that of X. None changes nothing. The scorers of
            :mod:`sklearn_mlcl.metrics` accept both. With two labels, ``neg_log_loss`` and
            ``partial_dependence`` of scikit-learn need "default".

        Returns
        -------
        self : estimator
            The estimator itself.

        Raises
        ------
        ValueError
            For a container that scikit-learn does not know.
        """
        if predict is None:
            return self
        known = output_containers()
        if predict not in known:
            raise ValueError(f"predict must be one of {known}, got {predict!r}.")
        set_output_container(self, "predict", predict)
        return self


class EmbeddingFrames(TransformerMixin, LabelFrames):
    """Mixin of classifiers that also transform: a container for either kind of answer."""

    def set_output(self, *, transform: str | None = None, predict: str | None = None) -> Self:
        """Choose the containers of embeddings and of predictions for label matrices.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            Container that ``transform`` and ``fit_transform`` return, as in scikit-learn. A
            DataFrame has the names of :meth:`get_feature_names_out` as columns. None changes
            nothing.
        predict : {"default", "pandas", "polars"}, default=None
            Container that ``predict``, ``predict_proba`` and ``decision_function`` return; see
            :meth:`MultiLabelLogisticRegression.set_output`. None changes nothing.

        Returns
        -------
        self : estimator
            The estimator itself.

        Raises
        ------
        ValueError
            For a container of predictions that scikit-learn does not know.
        """
        TransformerMixin.set_output(self, transform=transform)
        return LabelFrames.set_output(self, predict=predict)


def in_chosen_container(method: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Return a method of X that checks the fit and answers in the container of ``set_output``."""

    @wraps(method)
    def wrapped(self: Any, X: Any) -> Any:
        check_is_fitted(self)
        answer = method(self, X)
        container = output_container(self, "predict")
        if container == "default" or self._format.kind != "multilabel":
            return answer
        if sp.issparse(answer):
            raise ValueError(
                f"{method.__name__} returns CSR, as y was CSR, and CSR fits no DataFrame: fit a "
                'dense y, or call set_output(predict="default").'
            )
        return wrap_output(answer, X, _columns(self._format, container), container)

    return wrapped


def _columns(target_format: Any, container: str) -> Any:
    names = target_format.label_names
    names = target_format.classes if names is None else names
    if container == "pandas" and all(isinstance(name, tuple) for name in names):
        import pandas as pd

        return pd.MultiIndex.from_tuples(names)
    # Columns of pandas may be anything, those of other libraries are strings.
    return names if container == "pandas" else np.array([str(name) for name in names], dtype=object)
