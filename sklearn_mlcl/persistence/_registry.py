"""What a file may hold besides arrays and plain values: classes, each known by its name.

The names are part of the file format. A class is imported when a file names it, and not before.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

#: How an instance is taken apart -> module -> names of classes. "object": by its attributes.
#: "mapping": as a dict. "module": as a torch module. "stateful": by its own ``saved_state`` and
#: ``from_saved_state``. "type": not at all, the class is the value.
_MODULES: dict[str, dict[str, tuple[str, ...]]] = {
    "object": {
        "sklearn_mlcl.calibration": ("LabelCalibration", "MultiLabelCalibratedClassifierCV"),
        "sklearn_mlcl.callbacks": ("NeuralCollapseMonitor", "RepresentationMonitor"),
        "sklearn_mlcl.collapse": ("ONNDecoder",),
        "sklearn_mlcl.estimators.cgmvae": ("CGMVAEClassifier",),
        "sklearn_mlcl.estimators.contrastive": ("ContrastiveMultiLabelClassifier",),
        "sklearn_mlcl.estimators.logistic": ("MultiLabelLogisticRegression",),
        "sklearn_mlcl.estimators.mlp": ("MultiLabelMLPClassifier",),
        "sklearn_mlcl.estimators.nearest_label_set": ("NearestLabelSetClassifier",),
        "sklearn_mlcl.heads.decision": ("Decision",),
        "sklearn_mlcl.model_selection": (
            "MultilabelStratifiedKFold",
            "MultilabelStratifiedShuffleSplit",
        ),
        "sklearn_mlcl.thresholds._meta": ("MultiLabelThresholdClassifierCV",),
        "sklearn_mlcl.utils.targets": ("TargetFormat",),
        # Parameters ``cv``: nothing but numbers.
        "sklearn.model_selection": ("GroupKFold", "KFold", "RepeatedKFold", "ShuffleSplit"),
    },
    "mapping": {"sklearn_mlcl.collapse": ("CollapseReport",)},
    "module": {
        "sklearn_mlcl.losses": (
            "AsymmetricLoss",
            "BinaryCrossEntropyLoss",
            "FocalLoss",
            "JaccardSupConLoss",
            "MSCLoss",
            "MemoryQueue",
            "MulSupConLoss",
            "MultiSupConLoss",
            "PickAllLabelLoss",
            "PrototypeLoss",
            "RegularizedContrastiveLoss",
            "SimilarityDissimilarityLoss",
            "SupConAllLoss",
            "SupConLoss",
            "TwoWayLoss",
            "ZLPRLoss",
        ),
        "sklearn_mlcl.modules": (
            "Dropout",
            "ETFLinear",
            "FeatureNoise",
            "GaussianMixtureVAE",
            "InputScaler",
            "MLPEncoder",
            "MemberList",
            "ProjectionHead",
            "ScaledEncoder",
            "SelectiveEncoder",
            "SharedDropout",
            "StackedLayerNorm",
            "StackedLinear",
        ),
        "sklearn_mlcl.heads.neighbors": ("NeighborHead",),
        "sklearn_mlcl.heads.predictor": ("AffineHead", "DecoderHead", "Predictor"),
        "sklearn_mlcl.modules._heads": ("FixedETFHead", "LinearHead", "StackedLinearHead"),
        "sklearn_mlcl.modules.gmvae": ("Decoder", "GaussianHead"),
        "sklearn_mlcl.training.objectives": ("ContrastiveObjective", "LogitObjective"),
        "sklearn_mlcl.training.variational": ("VariationalObjective",),
        "torch.nn": (
            "GELU",
            "Identity",
            "LayerNorm",
            "Linear",
            "ModuleList",
            "ReLU",
            "Sequential",
            "SiLU",
            "Tanh",
        ),
    },
    "stateful": {
        "sklearn_mlcl.training.net": ("IndexBatchNet",),
        "sklearn_mlcl.training.variational": ("VariationalNet",),
    },
    "type": {
        "scipy.sparse": ("csr_array", "csr_matrix"),
        "torch.optim": (
            "Adadelta",
            "Adagrad",
            "Adam",
            "AdamW",
            "Adamax",
            "NAdam",
            "RAdam",
            "RMSprop",
            "SGD",
        ),
    },
}
KINDS = tuple(_MODULES)
_MODULE_OF = {
    kind: {name: module for module, names in modules.items() for name in names}
    for kind, modules in _MODULES.items()
}


def allowed(kind: str) -> list[type]:
    """Return the classes of a kind."""
    return [class_named(kind, name) for name in _MODULE_OF[kind]]


def is_allowed(kind: str, cls: type) -> bool:
    """Return whether files may hold a class; a subclass of an allowed one is not allowed by it."""
    module = sys.modules.get(_MODULE_OF[kind].get(cls.__name__, ""))
    return module is not None and getattr(module, cls.__name__, None) is cls


def class_named(kind: str, name: str) -> Any:
    """Return an allowed class.

    Raises
    ------
    ValueError
        For any other name.
    """
    module = _MODULE_OF[kind].get(name)
    if module is None:
        raise ValueError(f"it names the {kind} {name!r}, which this version does not know")
    return getattr(import_module(module), name)
