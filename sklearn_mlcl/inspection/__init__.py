"""Displays of fitted models in scikit-learn's style, and tables: matplotlib or pandas is needed."""

from sklearn_mlcl.inspection._collapse import CollapseDisplay
from sklearn_mlcl.inspection._embedding_map import EmbeddingDisplay
from sklearn_mlcl.inspection._history import CollapseHistoryDisplay, TrainingCurveDisplay
from sklearn_mlcl.inspection._label_correlation import LabelCorrelationDisplay
from sklearn_mlcl.inspection._label_embedding import LabelEmbeddingDisplay
from sklearn_mlcl.inspection._precision_recall import MultiLabelPrecisionRecallDisplay
from sklearn_mlcl.inspection._reliability import MultiLabelReliabilityDisplay
from sklearn_mlcl.inspection._search_heatmap import SearchHeatmapDisplay
from sklearn_mlcl.inspection._tables import label_table, training_history
from sklearn_mlcl.inspection._threshold_curve import ThresholdCurveDisplay

__all__ = [
    "CollapseDisplay",
    "CollapseHistoryDisplay",
    "EmbeddingDisplay",
    "LabelCorrelationDisplay",
    "LabelEmbeddingDisplay",
    "MultiLabelPrecisionRecallDisplay",
    "MultiLabelReliabilityDisplay",
    "SearchHeatmapDisplay",
    "ThresholdCurveDisplay",
    "TrainingCurveDisplay",
    "label_table",
    "training_history",
]
