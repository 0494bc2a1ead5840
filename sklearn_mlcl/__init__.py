"""Multi-label contrastive learning for scikit-learn.

Estimators for data whose rows carry many labels, on PyTorch through skorch:
contrastive encoders with logistic heads, end-to-end nets, and the heads alone.
"""

from sklearn_mlcl import _storable  # noqa: F401  # tells persistence what files may hold
from sklearn_mlcl._version import __version__
from sklearn_mlcl.cgmvae import CGMVAEClassifier
from sklearn_mlcl.contrastive import ContrastiveMultiLabelClassifier
from sklearn_mlcl.logistic import MultiLabelLogisticRegression
from sklearn_mlcl.mlp import MultiLabelMLPClassifier
from sklearn_mlcl.persistence import load, skops_trusted_types
from sklearn_mlcl.threshold import MultiLabelThresholdClassifierCV

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
