"""What a fit is given: features, targets and weights of the same samples."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp

from sklearn_mlcl.utils.targets import Indicator

Features: TypeAlias = np.ndarray | sp.csr_matrix


FLOATS = (np.float64, np.float32)


Rows = tuple[Features, Indicator, np.ndarray | None]


def all_known(Y: Any) -> bool:
    """Return whether no label is NaN."""
    return sp.issparse(Y) or not np.isnan(Y).any()
