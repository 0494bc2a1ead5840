"""What the displays of collapse share: the report of an encoder, names, axes."""

from __future__ import annotations

from typing import Any

from sklearn_mlcl.collapse import CollapseReport, neural_collapse_metrics
from sklearn_mlcl.inspection._labels import embedding_of


def report_of(encoder: Any, X: Any, y: Any) -> CollapseReport:
    """Metrics of the embedding that a fitted encoder gives to the rows."""
    return neural_collapse_metrics(embedding_of(encoder, X), y)
