"""What a file may hold besides arrays and plain values: classes, each known by its name.

The names are part of the file format. A class is imported when a file names it, and not before.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

#: How an instance is stored -> module -> names of classes. "object": its attributes, and its items
#: if it is a dict. "module": the parts of a torch module. "stateful": its own ``saved_state``, the
#: argument of ``from_saved_state``. "type": the class itself is the value.
_NAMES: dict[str, dict[str, str]] = {
    "object": {
        "sklearn_mlcl.calibration": "LabelCalibration MultiLabelCalibratedClassifierCV",
        "sklearn_mlcl.callbacks": "NeuralCollapseMonitor RepresentationMonitor",
        "sklearn_mlcl.collapse": "ONNDecoder CollapseReport",
        "sklearn_mlcl.estimators.cgmvae": "CGMVAEClassifier",
        "sklearn_mlcl.estimators.contrastive": "ContrastiveMultiLabelClassifier",
        "sklearn_mlcl.estimators.logistic": "MultiLabelLogisticRegression",
        "sklearn_mlcl.estimators.mlp": "MultiLabelMLPClassifier",
        "sklearn_mlcl.estimators.nearest_label_set": "NearestLabelSetClassifier",
        "sklearn_mlcl.extension": "ExtendedClassifier",
        "sklearn_mlcl.heads.held_out": "Blend Decision",
        "sklearn_mlcl.model_selection": (
            "MultilabelStratifiedKFold MultilabelStratifiedShuffleSplit"
        ),
        "sklearn_mlcl.thresholds._meta": "MultiLabelThresholdClassifierCV",
        "sklearn_mlcl.calibration._voting": "MultiLabelVotingClassifierCV",
        "sklearn_mlcl.utils.answers": "TargetFormat",
        "sklearn.model_selection": "GroupKFold KFold RepeatedKFold ShuffleSplit",
    },
    "module": {
        "sklearn_mlcl.losses": (
            "AsymmetricLoss BinaryCrossEntropyLoss FocalLoss JaccardSupConLoss MSCLoss "
            "MemoryQueue MulSupConLoss MultiSupConLoss PickAllLabelLoss PrototypeLoss "
            "RegularizedContrastiveLoss SimilarityDissimilarityLoss SupConAllLoss SupConLoss "
            "TwoWayLoss ZLPRLoss"
        ),
        "sklearn_mlcl.modules": (
            "Dropout ETFLinear FeatureNoise GaussianMixtureVAE InputScaler MLPEncoder "
            "MemberList PiecewiseLinearEncoding ProjectionHead ScaledEncoder SharedDropout "
            "StackedLayerNorm StackedLinear"
        ),
        "sklearn_mlcl.heads.label_tree": "LabelTree TreeLevel",
        "sklearn_mlcl.heads.scaled_tree": "ScaledTree",
        "sklearn_mlcl.heads.predictor": "AffineHead DecoderHead NeighborHead Predictor",
        "sklearn_mlcl.modules.gmvae": "Decoder GaussianHead",
        "sklearn_mlcl.training.objectives": "ContrastiveObjective LogitObjective",
        "sklearn_mlcl.training.variational": "VariationalObjective",
        "torch.nn": "GELU Identity LayerNorm Linear ModuleList ReLU Sequential SiLU Tanh",
    },
    "stateful": {
        "sklearn_mlcl.training.net": "IndexBatchNet",
        "sklearn_mlcl.training.variational": "VariationalNet",
    },
    "type": {
        "scipy.sparse": "csr_array csr_matrix",
        "torch.optim": "Adadelta Adagrad Adam AdamW Adamax NAdam RAdam RMSprop SGD",
    },
}
_MODULE_OF = {
    kind: {name: module for module, names in modules.items() for name in names.split()}
    for kind, modules in _NAMES.items()
}


def registered_classes(kind: str) -> list[type]:
    """Return the classes of a kind."""
    return [registered(kind, name) for name in _MODULE_OF[kind]]


def is_registered(kind: str, cls: type) -> bool:
    """Return whether files may hold a class; its subclasses need an entry of their own."""
    module = sys.modules.get(_MODULE_OF[kind].get(cls.__name__, ""))
    return module is not None and getattr(module, cls.__name__, None) is cls


def registered(kind: str, name: str) -> Any:
    """Return the class of a name.

    Raises
    ------
    ValueError
        If the kind has no such class.
    """
    module = _MODULE_OF[kind].get(name)
    if module is None:
        raise ValueError(f"it names the {kind} {name!r}, which this version does not know")
    return getattr(import_module(module), name)
