"""Multi-label losses as torch modules: on embeddings (contrastive) and on logits."""

from __future__ import annotations

from torch import nn

from sklearn_mlcl.losses._base import ContrastiveLoss
from sklearn_mlcl.losses._contrastive import (
    JaccardSupConLoss,
    MSCLoss,
    MulSupConLoss,
    MultiSupConLoss,
    PrototypeLoss,
    RegularizedContrastiveLoss,
    SimilarityDissimilarityLoss,
    SupConAllLoss,
    SupConLoss,
)
from sklearn_mlcl.losses._inputs import LabelIndices
from sklearn_mlcl.losses._logit import (
    AsymmetricLoss,
    BinaryCrossEntropyLoss,
    FocalLoss,
    TwoWayLoss,
    ZLPRLoss,
)
from sklearn_mlcl.losses._pick_all_label import PickAllLabelLoss
from sklearn_mlcl.losses._queue import MemoryQueue

CONTRASTIVE_LOSSES: dict[str, type[ContrastiveLoss]] = {
    "reg": RegularizedContrastiveLoss,
    "jaccard": JaccardSupConLoss,
    "any": SupConLoss,
    "all": SupConAllLoss,
    "multisupcon": MultiSupConLoss,
    "simdis": SimilarityDissimilarityLoss,
    "mulsupcon": MulSupConLoss,
    "proto": PrototypeLoss,
    "msc": MSCLoss,
}
"""Contrastive losses by their names as ``loss`` of an estimator."""

LOGIT_LOSSES: dict[str, type[nn.Module]] = {
    "bce": BinaryCrossEntropyLoss,
    "asl": AsymmetricLoss,
    "focal": FocalLoss,
    "zlpr": ZLPRLoss,
    "two_way": TwoWayLoss,
    "pal": PickAllLabelLoss,
}
"""Losses on logits by their names as ``loss`` of an estimator."""

__all__ = [
    "CONTRASTIVE_LOSSES",
    "LOGIT_LOSSES",
    "AsymmetricLoss",
    "BinaryCrossEntropyLoss",
    "ContrastiveLoss",
    "FocalLoss",
    "JaccardSupConLoss",
    "LabelIndices",
    "MSCLoss",
    "MemoryQueue",
    "MulSupConLoss",
    "MultiSupConLoss",
    "PickAllLabelLoss",
    "PrototypeLoss",
    "RegularizedContrastiveLoss",
    "SimilarityDissimilarityLoss",
    "SupConLoss",
    "TwoWayLoss",
    "ZLPRLoss",
]
