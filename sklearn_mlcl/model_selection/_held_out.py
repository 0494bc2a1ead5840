"""Scores of samples by models that were fitted without them."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import check_cv
from sklearn.utils import indexable
from sklearn.utils.parallel import Parallel, delayed

from sklearn_mlcl.model_selection._splitters import (
    MultilabelStratifiedKFold,
    MultilabelStratifiedShuffleSplit,
)
from sklearn_mlcl.utils._sklearn_compat import check_method_params, num_samples, safe_indexing
from sklearn_mlcl.utils.response import METHODS, label_scores
from sklearn_mlcl.utils.targets import infer_format


def splits_of(
    cv: Any,
    X: Any,
    y: Any,
    random_state: Any = None,
    split_params: dict[str, Any] | None = None,
    missing_label: float = np.nan,
) -> list[tuple[Any, Any]]:
    """Return the splits that `cv` stands for: a number of folds, a share, a splitter, a list."""
    options = {"random_state": random_state, "missing_label": missing_label}
    if cv is None or isinstance(cv, Integral):
        n_folds = 5 if cv is None else int(cv)
        cv = MultilabelStratifiedKFold(n_folds, shuffle=random_state is not None, **options)
    elif isinstance(cv, Real):
        cv = MultilabelStratifiedShuffleSplit(1, test_size=float(cv), **options)
    return list(check_cv(cv).split(X, y, **(split_params or {})))


def fit_and_score(
    estimator: Any, X: Any, y: Any, split: tuple[Any, Any], fit_params: Any, **response: Any
) -> tuple[Any, np.ndarray]:
    """Fit on the training part of a split; return the estimator and its scores of the test part."""
    train, test = split
    params = check_method_params(X, fit_params, indices=train)
    estimator.fit(safe_indexing(X, train), safe_indexing(y, train), **params)
    return estimator, label_scores(estimator, safe_indexing(X, test), **response)


def cross_fit(
    estimator: Any, X: Any, y: Any, splits: Any, params: Any, n_jobs: int | None, **response: Any
) -> tuple[Any, np.ndarray, np.ndarray]:
    """Fit a clone on each training part; return the first, and numbers and scores of test rows."""
    fitted = Parallel(n_jobs=n_jobs)(
        delayed(fit_and_score)(clone(estimator), X, y, split, params, **response)
        for split in splits
    )
    rows = np.concatenate([np.asarray(test) for _, test in splits])
    return fitted[0][0], rows, np.concatenate([scores for _, scores in fitted])


def cross_val_predict(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    cv: Any = None,
    method: str = "predict_proba",
    missing_label: float = np.nan,
    params: dict[str, Any] | None = None,
    n_jobs: int | None = None,
) -> np.ndarray:
    """Return the scores of every sample by an estimator that was fitted without its fold.

    For probabilities :func:`sklearn.model_selection.cross_val_predict` encodes the values of each
    column of y: -1, 0 and 1 become 0, 1 and 2, and NaN becomes a class. This function passes y on
    unchanged, and always returns a matrix.

    Parameters
    ----------
    estimator : classifier
        Cloned for each fold. It must handle the missing labels of y itself, by a ``missing_label``
        of its own.
    X : array-like of shape (n, n_features)
        Samples.
    y : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Indicator matrix.
    cv : int, splitter, iterable of splits or None, default=None
        Number of folds of :class:`MultilabelStratifiedKFold` (None: 5), or what scikit-learn
        takes. The test parts must be a partition of the samples.
    method : {"predict_proba", "decision_function"}, default="predict_proba"
        Method of the estimator to call.
    missing_label : float, default=NaN
        What marks a missing entry beside NaN, for the folds of an integer ``cv``.
    params : dict, default=None
        Arguments of ``fit``. Those with an item for each sample, as ``sample_weight``, are split.
    n_jobs : int or None, default=None
        Number of folds fitted at the same time.

    Returns
    -------
    scores : ndarray of shape (n, L)
        Probabilities, or what ``decision_function`` gives.

    Raises
    ------
    ValueError
        For an unknown method, or splits that are no partition of the samples.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import MultiLabelLogisticRegression
    >>> from sklearn_mlcl.model_selection import cross_val_predict
    >>> X, Y = make_multilabel_classification(100, n_classes=3, random_state=0)
    >>> Y[np.random.default_rng(0).random(Y.shape) < 0.4] = -1
    >>> clf = MultiLabelLogisticRegression(missing_label=-1)
    >>> cross_val_predict(clf, X, Y, cv=3, missing_label=-1).shape
    (100, 3)
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, got {method!r}.")
    X, y = indexable(X, y)
    target_format = infer_format(y, missing_label=missing_label)
    if target_format.kind != "multilabel":
        raise ValueError(
            f"y must be a label matrix, got {target_format.kind} classes; for those there is "
            "sklearn.model_selection.cross_val_predict."
        )
    splits = splits_of(cv, X, y, missing_label=missing_label)
    tested = np.sort(np.concatenate([np.asarray(test) for _, test in splits]))
    if not np.array_equal(tested, np.arange(num_samples(X))):
        raise ValueError("The test parts of cv must hold each row once: they are no partition.")
    response = {"n_labels": target_format.n_labels, "method": method}
    _, rows, scores = cross_fit(estimator, X, y, splits, params or {}, n_jobs, **response)
    return scores[np.argsort(rows)]
