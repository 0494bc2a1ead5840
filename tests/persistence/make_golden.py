"""Write the files of ``golden/``, which every later version must read.

Run from the root of the repository by ``python -m tests.persistence.make_golden``, once for a
format version: files that are there are what users have, and stay as they are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from sklearn_mlcl import MultiLabelLogisticRegression, MultiLabelThresholdClassifierCV
from sklearn_mlcl.persistence._format import FORMAT_VERSION
from tests.persistence._cases import FRAMES, X, Y, cgmvae, contrastive, mlp

GOLDEN = Path(__file__).with_name("golden")
ROWS = slice(24)
SMALL: dict[str, Any] = {"hidden_layer_sizes": (4,), "max_epochs": 1}


def estimators() -> dict[str, Any]:
    """Return one fitted estimator of each kind, with all that a file may hold between them."""
    names = [frame[ROWS] for frame in FRAMES]
    return {
        "contrastive": contrastive(
            **SMALL, projection_dim=3, calibration="platt", threshold="f1_micro"
        ).fit(*names),
        "contrastive_csr": contrastive(
            **SMALL, projection_dim=3, n_members=1, loss="mulsupcon", queue_size=4
        ).fit(sp.csr_array(X[ROWS]), sp.csr_matrix(Y[ROWS])),
        "mlp": mlp(**SMALL, loss="pal", decision="onn").fit(X[ROWS], Y[ROWS]),
        "mlp_classes": mlp(**SMALL, n_members=1).fit(X[ROWS], np.array(["a", "b"])[Y[ROWS, 0]]),
        "cgmvae": cgmvae(**SMALL, n_predict_samples=2).fit(X[ROWS], Y[ROWS]),
        "thresholds": MultiLabelThresholdClassifierCV(MultiLabelLogisticRegression(), cv=2).fit(
            *names
        ),
    }


def main() -> None:
    """Save the estimators and what they answer."""
    folder = GOLDEN / f"v{FORMAT_VERSION}"
    folder.mkdir(parents=True)
    answers = {"X": X[:8].tolist()}
    for name, estimator in estimators().items():
        known = hasattr(estimator, "feature_names_in_")
        estimator.save(folder / f"{name}.safetensors")
        answers[name] = estimator.predict_proba(FRAMES[0][:8] if known else X[:8]).tolist()
    (folder / "probabilities.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
