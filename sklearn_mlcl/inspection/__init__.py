"""Displays of fitted models in scikit-learn's style, and tables: matplotlib or pandas is needed."""

from sklearn_mlcl.inspection._collapse_history import CollapseHistoryDisplay
from sklearn_mlcl.inspection._embedding_map import EmbeddingDisplay
from sklearn_mlcl.inspection._label_correlation import LabelCorrelationDisplay
from sklearn_mlcl.inspection._label_embedding import LabelEmbeddingDisplay
from sklearn_mlcl.inspection._label_table import label_table
from sklearn_mlcl.inspection._multiplicity_scale import MultiplicityScaleDisplay
from sklearn_mlcl.inspection._phi_alignment import PhiAlignmentDisplay
from sklearn_mlcl.inspection._precision_recall import MultiLabelPrecisionRecallDisplay
from sklearn_mlcl.inspection._reliability import MultiLabelReliabilityDisplay
from sklearn_mlcl.inspection._search_heatmap import SearchHeatmapDisplay
from sklearn_mlcl.inspection._tag_gram import TagGramDisplay
from sklearn_mlcl.inspection._tag_plane import TagPlaneDisplay
from sklearn_mlcl.inspection._threshold_curve import ThresholdCurveDisplay
from sklearn_mlcl.inspection._training_curve import TrainingCurveDisplay, training_history

__all__ = [
    "CollapseHistoryDisplay",
    "EmbeddingDisplay",
    "LabelCorrelationDisplay",
    "LabelEmbeddingDisplay",
    "MultiLabelPrecisionRecallDisplay",
    "MultiLabelReliabilityDisplay",
    "MultiplicityScaleDisplay",
    "PhiAlignmentDisplay",
    "SearchHeatmapDisplay",
    "TagGramDisplay",
    "TagPlaneDisplay",
    "ThresholdCurveDisplay",
    "TrainingCurveDisplay",
    "label_table",
    "training_history",
]
