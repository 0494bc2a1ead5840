"""Named multi-label sets on OpenML: their ids, and their labels as an indicator matrix."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
from sklearn.datasets import fetch_openml
from sklearn.utils import Bunch

from sklearn_mlcl.datasets._labels import TRUTH

OPENML_SETS = {"emotions": 40589, "reuters": 40594, "scene": 40595, "yeast": 40597}


def _truth_values(target: Any) -> np.ndarray:
    """OpenML's labels, TRUE and FALSE as strings or categories, as 0 and 1."""
    spelled = np.char.lower(np.asarray(target).astype(str))
    values = np.zeros(spelled.shape, dtype=np.int64)
    for spelling in np.unique(spelled).tolist():
        if spelling not in TRUTH:
            raise ValueError(f"a label entry is {spelling!r}, expected TRUE or FALSE")
        values[spelled == spelling] = TRUTH[spelling]
    return values


def _indicator(fetched: Bunch, name: str) -> np.ndarray:
    try:
        if np.ndim(fetched.target) != 2:
            raise ValueError(f"one target column, {fetched.target_names}, instead of several")
        return _truth_values(fetched.target)
    except ValueError as error:
        raise ValueError(
            f"OpenML data set {OPENML_SETS[name]} ({name}) came in another form: {error}."
        ) from error


def read_openml(name: str, data_home: str | PathLike[str] | None) -> Bunch:
    """One of `OPENML_SETS`, without a split: OpenML keeps none for these sets."""
    data_id = OPENML_SETS[name]
    home = None if data_home is None else str(data_home)
    # The default parser, pandas, reads TRUE and FALSE as booleans and then fails on them.
    fetched = fetch_openml(data_id=data_id, as_frame=False, data_home=home, parser="liac-arff")
    return Bunch(
        data=fetched.data.astype(np.float32),
        target=_indicator(fetched, name),
        feature_names=list(fetched.feature_names),
        target_names=list(fetched.target_names),
        DESCR=str(fetched.DESCR),
        url=f"https://www.openml.org/d/{data_id}",
    )
