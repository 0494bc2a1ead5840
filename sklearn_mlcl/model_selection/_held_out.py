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
from sklearn_mlcl.utils.answers import infer_format
from sklearn_mlcl.utils.parameters import Interval, check_arguments
from sklearn_mlcl.utils.response import METHODS, label_scores

#: Constraints of ``cv``, what :func:`splits_of` takes.
FOLDS = ("cv_object", Interval(Real, 0, 1, closed="neither"))


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
    return row_numbers(cv, X, y, **(split_params or {}))


def row_numbers(cv: Any, X: Any, y: Any, **split_params: Any) -> list[tuple[Any, Any]]:
    """Return the splits of a splitter, or of an iterable of them, as numbers of samples."""
    n_samples, is_splitter = num_samples(X), hasattr(cv, "get_n_splits")
    try:
        pairs = [(train, test) for train, test in check_cv(cv).split(X, y, **split_params)]
    except (TypeError, ValueError) as error:
        if is_splitter:
            raise
        raise ValueError(_WHAT_CV_IS.format(n_samples, cv)) from error
    splits = [(sample_numbers(a, n_samples), sample_numbers(b, n_samples)) for a, b in pairs]
    if not splits or any(part is None for pair in splits for part in pair):
        raise ValueError(_WHAT_CV_IS.format(n_samples, cv))
    return splits


_WHAT_CV_IS = (
    "cv must be a number of folds, a splitter or an iterable of (train, test), arrays of the "
    "numbers of {} samples; got {!r}."
)


def sample_numbers(part: Any, n_samples: int) -> np.ndarray | None:
    """Return the numbers of samples that an array names, or a mask; None if it is neither."""
    rows = np.asarray(part)
    if rows.dtype == bool and rows.shape == (n_samples,):
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or not rows.size:
        return None
    return rows if -n_samples <= rows.min() and rows.max() < n_samples else None


def cross_fit(
    tasks: list[tuple[Any, dict[str, Any]]],
    X: Any,
    y: Any,
    splits: list[tuple[Any, Any]],
    n_jobs: int | None,
    *,
    refit: bool,
    **response: Any,
) -> tuple[list[Any], np.ndarray, list[np.ndarray]]:
    """Fit clones on each training part; score the test parts.

    Parameters
    ----------
    tasks : list of (estimator, dict)
        Estimators, and the arguments of their ``fit``.
    X, y : array-like
        All samples and their targets.
    splits : list of (ndarray, ndarray)
        Row numbers of training and test parts.
    n_jobs : int or None
        Number of fits at the same time.
    refit : bool
        Whether to fit on all samples too.
    **response : dict
        How :func:`~sklearn_mlcl.utils.response.label_scores` asks for scores.

    Returns
    -------
    fitted : list of estimator
        Those fitted on all samples, or without ``refit`` on the first training part.
    rows : ndarray of int
        Row numbers of all test parts, in ascending order.
    scores : list of ndarray of shape (len(rows), L)
        The scores of these rows by each estimator.
    """
    fits: list[tuple[Any, Any, Any]] = [
        (estimator, params, split) for estimator, params in tasks for split in splits
    ]
    if refit:
        fits += [(estimator, params, None) for estimator, params in tasks]
    kept = None if refit else splits[0]
    done = Parallel(n_jobs=n_jobs)(
        delayed(_fit)(clone(estimator), X, y, split, split is kept, params, **response)
        for estimator, params, split in fits
    )
    fitted = [estimator for estimator, _ in done if estimator is not None]
    parts = [scores for _, scores in done if scores is not None]
    rows = np.concatenate([np.asarray(test) for _, test in splits])
    order = np.argsort(rows, kind="stable")
    starts = range(0, len(parts), len(splits))
    scores = [np.concatenate(parts[start : start + len(splits)])[order] for start in starts]
    return fitted, rows[order], scores


def _fit(
    estimator: Any,
    X: Any,
    y: Any,
    split: tuple[Any, Any] | None,
    keep: bool,
    params: dict[str, Any],
    **response: Any,
) -> tuple[Any, np.ndarray | None]:
    """Fit on all samples, or on the training part of a split; return scores of its test part.

    An estimator that is not kept is not returned: forests are large, and processes copy.
    """
    if split is None:
        return estimator.fit(X, y, **params), None
    train, test = split
    given = check_method_params(X, params, indices=train)
    estimator.fit(safe_indexing(X, train), safe_indexing(y, train), **given)
    scores = label_scores(estimator, safe_indexing(X, test), **response)
    return (estimator if keep else None), scores


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
        Value that marks a missing entry beside NaN, for the folds of an integer ``cv``.
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
    check_arguments(
        "cross_val_predict",
        cv=(cv, *FOLDS),
        params=(params, dict, None),
        n_jobs=(n_jobs, Integral, None),
    )
    X, y = indexable(X, y)
    target_format = infer_format(y, missing_label=missing_label)
    if target_format.kind != "multilabel":
        raise ValueError(
            f"y must be a label matrix, got {target_format.kind} classes. Use "
            "sklearn.model_selection.cross_val_predict for these."
        )
    splits = splits_of(cv, X, y, missing_label=missing_label)
    tested = np.sort(np.concatenate([np.asarray(test) for _, test in splits]))
    if not np.array_equal(tested, np.arange(num_samples(X))):
        raise ValueError("The test parts of cv must contain each sample exactly once.")
    response = {"n_labels": target_format.n_labels, "method": method}
    task = (estimator, params or {})
    return cross_fit([task], X, y, splits, n_jobs, refit=False, **response)[2][0]
