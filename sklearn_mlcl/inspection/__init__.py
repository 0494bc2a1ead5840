"""Displays of fitted models in scikit-learn's style; matplotlib is needed to plot them only."""

from sklearn_mlcl.inspection._collapse_history import CollapseHistoryDisplay
from sklearn_mlcl.inspection._multiplicity_scale import MultiplicityScaleDisplay
from sklearn_mlcl.inspection._phi_alignment import PhiAlignmentDisplay
from sklearn_mlcl.inspection._tag_gram import TagGramDisplay
from sklearn_mlcl.inspection._tag_plane import TagPlaneDisplay

__all__ = [
    "CollapseHistoryDisplay",
    "MultiplicityScaleDisplay",
    "PhiAlignmentDisplay",
    "TagGramDisplay",
    "TagPlaneDisplay",
]
