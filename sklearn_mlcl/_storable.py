"""The classes that saved files may hold. Their names are part of the file format."""

from __future__ import annotations

import scipy.sparse as sp
import sklearn.model_selection as folds
import torch
from torch import nn

from sklearn_mlcl import losses, model_selection, modules
from sklearn_mlcl._decisions import Decision
from sklearn_mlcl._neighbors import NeighborVote
from sklearn_mlcl._targets import TargetFormat
from sklearn_mlcl.calibration import LabelCalibration, MultiLabelCalibratedClassifierCV
from sklearn_mlcl.callbacks import NeuralCollapseMonitor, RepresentationMonitor
from sklearn_mlcl.cgmvae import CGMVAEClassifier
from sklearn_mlcl.collapse import CollapseReport, ONNClassifier, ONNDecoder
from sklearn_mlcl.contrastive import ContrastiveMultiLabelClassifier
from sklearn_mlcl.logistic import MultiLabelLogisticRegression
from sklearn_mlcl.mlp import MultiLabelMLPClassifier
from sklearn_mlcl.modules._gmvae_parts import Decoder, GaussianHead
from sklearn_mlcl.persistence._registry import allow
from sklearn_mlcl.threshold import MultiLabelThresholdClassifierCV
from sklearn_mlcl.training import (
    ContrastiveObjective,
    FixedETFHead,
    IndexBatchNet,
    LinearHead,
    LogitObjective,
)
from sklearn_mlcl.training.objectives import StackedLinearHead
from sklearn_mlcl.training.variational import VariationalNet, VariationalObjective

allow(
    CGMVAEClassifier,
    ContrastiveMultiLabelClassifier,
    MultiLabelCalibratedClassifierCV,
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
    MultiLabelThresholdClassifierCV,
    ONNClassifier,
)
allow(Decision, LabelCalibration, NeighborVote, ONNDecoder, TargetFormat)
allow(NeuralCollapseMonitor, RepresentationMonitor)
allow(CollapseReport, kind="mapping")
# Parameters ``cv``: nothing but numbers.
allow(
    model_selection.MultilabelStratifiedKFold,
    model_selection.MultilabelStratifiedShuffleSplit,
    folds.GroupKFold,
    folds.KFold,
    folds.RepeatedKFold,
    folds.ShuffleSplit,
)
allow(IndexBatchNet, VariationalNet, kind="stateful")
allow(
    modules.Dropout,
    modules.ETFLinear,
    modules.FeatureNoise,
    modules.GaussianMixtureVAE,
    modules.InputScaler,
    modules.MLPEncoder,
    modules.MemberList,
    modules.ProjectionHead,
    modules.ScaledEncoder,
    modules.SelectiveEncoder,
    modules.SharedDropout,
    modules.StackedLayerNorm,
    modules.StackedLinear,
    Decoder,
    GaussianHead,
    ContrastiveObjective,
    FixedETFHead,
    LinearHead,
    LogitObjective,
    StackedLinearHead,
    VariationalObjective,
    losses.MemoryQueue,
    *losses.CONTRASTIVE_LOSSES.values(),
    *losses.LOGIT_LOSSES.values(),
    *modules.ACTIVATIONS.values(),
    nn.Identity,
    nn.LayerNorm,
    nn.Linear,
    nn.ModuleList,
    nn.Sequential,
    kind="module",
)
allow(
    sp.csr_array,
    sp.csr_matrix,
    torch.optim.Adadelta,
    torch.optim.Adagrad,
    torch.optim.Adam,
    torch.optim.Adamax,
    torch.optim.AdamW,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
    torch.optim.SGD,
    kind="type",
)
