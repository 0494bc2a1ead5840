"""Tables, which need pandas: how a classifier does on every label, and the log of a training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sklearn_mlcl.inspection._history import history_of
from sklearn_mlcl.inspection._labels import label_names_of
from sklearn_mlcl.inspection._scores import scores_of
from sklearn_mlcl.metrics import average_precision, roc_auc
from sklearn_mlcl.metrics._decisions import f1_of_counts, outcomes
from sklearn_mlcl.utils.extras import import_extra
from sklearn_mlcl.utils.validation import check_decisions

if TYPE_CHECKING:
    import pandas as pd


def label_table(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    label_names: Sequence[str] | None = None,
    sample_weight: Any = None,
) -> pd.DataFrame:
    """Return the scores of a fitted classifier, one row per label.

    Parameters
    ----------
    estimator : classifier
        Fitted, with ``predict`` and ``predict_proba`` or ``decision_function``; also a search or
        a pipeline.
    X : array-like of shape (n, n_features)
        Samples, preferably not those of the fit.
    y : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Their indicator matrix. Missing labels are NaN and do not count.
    label_names : sequence of str, default=None
        Names of the labels; None for the columns of a DataFrame y, those that the classifier was
        fitted with, or numbers.
    sample_weight : array-like of shape (n,), default=None
        Weights of the samples.

    Returns
    -------
    table : DataFrame of shape (L, 7)
        Indexed by ``label``. ``positives`` and ``predicted`` are the weights of the samples that
        have the label, or are predicted to have it. ``precision``, ``recall`` and ``f1`` are those
        of the decisions, ``average_precision`` and ``roc_auc`` those of the scores. An undefined
        value is NaN, such as the precision of a label that was never predicted.

    Raises
    ------
    ValueError
        If ``y`` and the answers have different shapes, or for names of another number.
    ImportError
        If pandas is not installed.

    See Also
    --------
    MultiLabelPrecisionRecallDisplay : Precision and recall at every threshold.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import MultiLabelLogisticRegression
    >>> from sklearn_mlcl.inspection import label_table
    >>> X, Y = make_multilabel_classification(100, n_classes=3, random_state=0)
    >>> Y = pd.DataFrame(Y, columns=["sea", "sun", "sand"])
    >>> table = label_table(MultiLabelLogisticRegression().fit(X, Y), X, Y)
    >>> table[["positives", "predicted", "f1"]].round(2)
           positives  predicted    f1
    label
    sea         52.0       53.0  0.86
    sun         68.0       68.0  0.93
    sand        53.0       56.0  0.84
    """
    pd = import_extra("pandas", "A table", "plot")
    entries = check_decisions(y, estimator.predict(X), sample_weight)
    hits, predicted, positives = map(entries.label_sums, outcomes(entries))
    scores = scores_of(estimator, X, y)
    options = {"average": None, "sample_weight": sample_weight}
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: undefined
        columns = {
            "positives": positives,
            "predicted": predicted,
            "precision": hits / predicted,
            "recall": hits / positives,
            "f1": f1_of_counts(hits, predicted, positives),
            "average_precision": average_precision(y, scores, **options),
            "roc_auc": roc_auc(y, scores, **options),
        }
    names = label_names_of(label_names, entries.shape[1], y, estimator)
    return pd.DataFrame(columns, index=pd.Index(names, name="label"))


def training_history(estimator: Any) -> pd.DataFrame:
    """Return the records of every epoch of a training as a DataFrame.

    ``history_`` of a net-based estimator has the same as a dict of arrays. After a search this is
    the log of the best estimator, fitted on all samples.

    Parameters
    ----------
    estimator : estimator
        Fitted and net-based, or a search, pipeline or meta-estimator around one.

    Returns
    -------
    history : DataFrame of shape (n_epochs, n_records)
        ``train_loss``, ``dur`` in seconds, with held-out samples ``valid_loss``, and what callbacks
        recorded; NaN where an epoch has no record. The index, ``epoch``, counts from 1.

    Raises
    ------
    NotFittedError
        If no part of the estimator has a log.
    ImportError
        If pandas is not installed.

    See Also
    --------
    TrainingCurveDisplay : The same as a plot.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import MultiLabelMLPClassifier
    >>> from sklearn_mlcl.inspection import training_history
    >>> X, Y = make_multilabel_classification(random_state=0)
    >>> clf = MultiLabelMLPClassifier(
    ...     max_epochs=3, early_stopping=True, random_state=0
    ... ).fit(X, Y)
    >>> history = training_history(clf)
    >>> list(history.index), bool((history["train_loss"] > 0).all())
    ([1, 2, 3], True)
    """
    history, pd = history_of(estimator), import_extra("pandas", "A table", "plot")
    frame = pd.DataFrame({name: log for name, log in history.items() if name != "epoch"})
    frame.index = pd.RangeIndex(1, len(frame) + 1, name="epoch")
    return frame
