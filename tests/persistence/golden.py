"""Write the files that all later versions must read, or refuse by the name of this version.

    python -m tests.persistence.golden

Once, before a release. The files of a released version are never written again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import sklearn_mlcl
from tests.persistence._cases import X, fitted

FOLDER = Path(__file__).parent / "golden"
ANSWERS = "answers.npz"
#: Cases of ``_cases.py``: one estimator of every class.
NAMES = [
    "contrastive", "MLP", "nearest label set", "C-GMVAE", "logistic", "nearest prototype",
    "thresholds by cross-validation", "calibrated",
]  # fmt: skip


def answers(estimator: Any, rows: Any) -> np.ndarray:
    """Return the probabilities of samples, under the names of features that the fit knew."""
    if hasattr(estimator, "feature_names_in_"):
        rows = pd.DataFrame(rows, columns=estimator.feature_names_in_)
    return estimator.predict_proba(rows)


def main() -> None:
    """Write a folder with a file of each case, the samples and the answers."""
    folder = FOLDER / sklearn_mlcl.__version__
    folder.mkdir(parents=True, exist_ok=True)
    rows = X[:20]
    for name in NAMES:
        fitted(name).save(folder / f"{name}.safetensors")
    expected = {name: answers(fitted(name), rows) for name in NAMES}
    np.savez_compressed(folder / ANSWERS, rows=rows, **expected)


if __name__ == "__main__":
    main()
