"""How a classifier does on every label, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sklearn_mlcl.inspection._labels import label_names_of, scores_of
from sklearn_mlcl.inspection._training_curve import import_pandas
from sklearn_mlcl.metrics import average_precision, roc_auc
from sklearn_mlcl.metrics._decisions import f1_of_counts
from sklearn_mlcl.utils.validation import LabelEntries, check_decisions

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
    """Return how a fitted classifier does on every label, one row a label.

    Parameters
    ----------
    estimator : classifier
        Fitted, with ``predict`` and ``predict_proba`` or ``decision_function``; a search or a
        pipeline too.
    X : array-like of shape (n, n_features)
        Rows, best such that it was not fitted on.
    y : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Their indicator matrix, NaN where unknown: such cells do not count.
    label_names : sequence of str, default=None
        Names of the labels; None for the columns of a DataFrame y, those that the classifier was
        fitted with, or numbers.
    sample_weight : array-like of shape (n,), default=None
        Weights of the rows.

    Returns
    -------
    table : DataFrame of shape (L, 7)
        Indexed by ``label``: the weight of its ``positives`` and of the rows that were
        ``predicted`` to have it; ``precision``, ``recall`` and ``f1`` of these decisions;
        ``average_precision`` and ``roc_auc`` of the scores. NaN where a value has no rows to stand
        on: the precision of a label that was never predicted, say.

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
    pd = import_pandas()
    cells = check_decisions(y, estimator.predict(X), sample_weight)
    scores = scores_of(estimator, X, y)
    columns = {
        **_decision_columns(cells),
        "average_precision": average_precision(
            y, scores, average=None, sample_weight=sample_weight
        ),
        "roc_auc": roc_auc(y, scores, average=None, sample_weight=sample_weight),
    }
    names = label_names_of(label_names, y, cells.shape[1], estimator)
    return pd.DataFrame(columns, index=pd.Index(names, name="label"))


def _decision_columns(cells: LabelEntries) -> dict[str, np.ndarray]:
    weight = cells.entry_weight()
    decided = weight * cells.values
    positives, predicted = (weight * cells.positive).sum(axis=0), decided.sum(axis=0)
    hits = (decided * cells.positive).sum(axis=0)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: there is nothing to say
        precision, recall = hits / predicted, hits / positives
    return {
        "positives": positives,
        "predicted": predicted,
        "precision": precision,
        "recall": recall,
        "f1": f1_of_counts(hits, predicted, positives),
    }
