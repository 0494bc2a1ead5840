"""Multi-label contrastive learning for scikit-learn.

Estimators for data whose rows carry many labels, on PyTorch through skorch:
contrastive encoders with logistic heads, end-to-end nets, and the heads alone.
"""

from sklearn_mlcl import collapse, model_selection
from sklearn_mlcl._version import __version__
from sklearn_mlcl.calibration._voting import MultiLabelVotingClassifierCV
from sklearn_mlcl.estimators.cgmvae import CGMVAEClassifier
from sklearn_mlcl.estimators.compare import compare
from sklearn_mlcl.estimators.contrastive import ContrastiveMultiLabelClassifier
from sklearn_mlcl.estimators.logistic import MultiLabelLogisticRegression
from sklearn_mlcl.estimators.mlp import MultiLabelMLPClassifier
from sklearn_mlcl.estimators.nearest_label_set import NearestLabelSetClassifier
from sklearn_mlcl.persistence import load, skops_trusted_types
from sklearn_mlcl.thresholds._meta import MultiLabelThresholdClassifierCV

# Their public names are of folders that cannot import them.
collapse.NearestLabelSetClassifier = NearestLabelSetClassifier
model_selection.MultiLabelVotingClassifierCV = MultiLabelVotingClassifierCV
model_selection.compare = compare

__all__ = [
    "CGMVAEClassifier",
    "ContrastiveMultiLabelClassifier",
    "MultiLabelLogisticRegression",
    "MultiLabelMLPClassifier",
    "MultiLabelThresholdClassifierCV",
    "__version__",
    "load",
    "skops_trusted_types",
]
