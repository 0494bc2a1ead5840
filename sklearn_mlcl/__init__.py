"""Multi-label classification for scikit-learn, on PyTorch.

The estimators are nets with and without a contrastive loss, a Gaussian-mixture VAE, and logistic
regressions.
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
