"""What the displays of collapse share: the report of an encoder, names, axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sklearn_mlcl.collapse import CollapseReport, neural_collapse_metrics

#: Colours that remain apart for the colour-blind, most contrasting first.
COLOURS = ("#2e4057", "#d1495b", "#edae49", "#66a182", "#8d6a9f", "#00798c", "#9aa0a6")
QUIET = "#9aa0a6"


def embedding_of(encoder: Any, X: Any) -> np.ndarray:
    """The embedding of rows as an array, whatever container ``set_output`` chose for it."""
    return np.asarray(encoder.transform(X))


def report_of(encoder: Any, X: Any, y: Any) -> CollapseReport:
    """Metrics of the embedding that a fitted encoder gives to the rows."""
    return neural_collapse_metrics(embedding_of(encoder, X), y)


def names_of(label_names: Sequence[str] | None, n_labels: int) -> list[str]:
    """Names to show: those given, or the numbers of the labels."""
    if label_names is None:
        return [str(k) for k in range(n_labels)]
    if len(label_names) != n_labels:
        raise ValueError(f"label_names must name {n_labels} labels, got {len(label_names)} names.")
    return [str(name) for name in label_names]
