"""The log of a training, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import NotFittedError

from sklearn_mlcl.inspection._labels import decider_of, part_with

if TYPE_CHECKING:
    import pandas as pd


def history_of(estimator: Any) -> Mapping[str, np.ndarray]:
    """Return the log of the net inside an estimator, a search, a pipeline or a meta-estimator."""
    part = part_with(estimator, "history_")
    if part is None:
        raise NotFittedError(
            f"{type(decider_of(estimator)).__name__} has no history_: fit a net-based "
            "estimator of this package first."
        )
    return part.history_


def import_pandas() -> Any:
    """Return pandas, which tables need and no more than they."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "A table needs pandas, which is not installed: pip install 'sklearn-mlcl[plot]'."
        ) from error
    return pd


def training_history(estimator: Any) -> pd.DataFrame:
    """Return what was recorded in every epoch of a training, as a DataFrame.

    ``history_`` of a net-based estimator holds the same as a dict of arrays; after a search it is
    the log of the best estimator, fitted on all rows.

    Parameters
    ----------
    estimator : estimator
        Fitted and net-based, or a search, pipeline or meta-estimator around one.

    Returns
    -------
    history : DataFrame of shape (n_epochs, n_records)
        ``train_loss``, ``dur`` in seconds, with early stopping ``valid_loss``, and what callbacks
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
    >>> clf = MultiLabelMLPClassifier(max_epochs=3, early_stopping=True, random_state=0).fit(X, Y)
    >>> history = training_history(clf)
    >>> list(history.index), bool((history["train_loss"] > 0).all())
    ([1, 2, 3], True)
    """
    history, pd = history_of(estimator), import_pandas()
    frame = pd.DataFrame({name: log for name, log in history.items() if name != "epoch"})
    frame.index = pd.RangeIndex(1, len(frame) + 1, name="epoch")
    return frame
