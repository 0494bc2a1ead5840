"""The encoders of the net-based classifiers: scaling, layers, members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn

from sklearn_mlcl.estimators.task import Task
from sklearn_mlcl.heads.predictor import AffineHead
from sklearn_mlcl.modules import (
    FeatureNoise,
    InputScaler,
    MemberList,
    MLPEncoder,
    PiecewiseLinearEncoding,
    ScaledEncoder,
    embedding_width,
    linear,
)
from sklearn_mlcl.modules._encoder import head_arrays
from sklearn_mlcl.modules._scaling import LIMIT, NO_LIMIT, input_scaler, quantile_bins
from sklearn_mlcl.persistence._custom import custom_encoder
from sklearn_mlcl.training import IndexBatchNet
from sklearn_mlcl.training._parallel import in_parts
from sklearn_mlcl.utils.fit_data import FitData
from sklearn_mlcl.utils.parameters import AT_LEAST_1, setting
from sklearn_mlcl.utils.samples import tensors_of

#: Bins of all dense features together, of one at most, and at least. Of many features, as the 103
#: of yeast, more bins rank the samples worse, and fewer gain nothing.
ALL_BINS, MOST_BINS, FEWEST_BINS = 256, 16, 3
#: Features of a CSR X that the encoder sees at most: the first layer of a net costs as much for a
#: word of two samples as for one of a thousand. The regressions beside the net see all.
MAX_SPARSE_FEATURES = 8_192


def layer_sizes(name: str, sizes: Any) -> tuple[int, ...]:
    """Return the widths of layers, the parameter ``name``, checked."""
    widths = tuple(np.atleast_1d(sizes).tolist())
    if not widths or not all(map(AT_LEAST_1.is_satisfied_by, widths)):
        raise ValueError(
            f"{name} must hold one positive integer a layer, at least one; got {sizes!r}."
        )
    return widths


def frequent_features(X: Any) -> np.ndarray | None:
    """Return the numbers of the features of a CSR X that most samples have; None keeps all."""
    if not sp.issparse(X) or X.shape[1] <= MAX_SPARSE_FEATURES:
        return None
    n_samples_with = np.bincount(X.indices, minlength=X.shape[1])
    return np.sort(np.argsort(-n_samples_with, kind="stable")[:MAX_SPARSE_FEATURES])


def feature_scaler(data: FitData, scaled: bool) -> InputScaler:
    """Return what brings the features of samples to one size, or leaves them."""
    if not scaled:
        return InputScaler(torch.zeros(data.n_features), torch.ones(data.n_features))
    weight = data.row_weight
    if sp.issparse(data.X):
        return input_scaler(data.X, weight)

    def of_features(part: slice) -> np.ndarray:
        scaler = input_scaler(data.X, weight, part)
        return np.stack([scaler.shift.numpy(), scaler.factor.numpy()])

    found = in_parts(data.n_features, of_features, axis=1)
    shift, factor = (torch.from_numpy(row.copy()) for row in found)
    return InputScaler(shift, factor, LIMIT)


def scaler_of(task: Task) -> InputScaler:
    """Return the first layer of a net: of each member where they learn from other samples."""
    if not (task.folds.by_member and task.scaled):
        return feature_scaler(task.train, task.scaled)
    own = [feature_scaler(part, True) for part in task.parts()]
    shift, factor = (_of_members(own, name) for name in ("shift", "factor"))
    limits = [scaler.limit for scaler in own]
    if sp.issparse(task.train.X) and any(limit is not None for limit in limits):
        none = torch.full_like(own[0].factor, NO_LIMIT)
        of_members = torch.stack([none if limit is None else limit for limit in limits])
        return InputScaler(shift, factor, of_members[:, None])
    return InputScaler(shift, factor, limits[0])


def probe_of(clf: Any, data: FitData) -> Any:
    """Return what shows the width of an encoder: the number of features, or two samples."""
    if not clf._own_inputs or sp.issparse(data.X):
        return data.n_features
    return tensors_of(np.asarray(data.X[np.resize(np.arange(data.n_samples), 2)]))


def bins_of(clf: Any, task: Task) -> PiecewiseLinearEncoding | None:
    """Return the bins of scaled dense features, of each member as its scaler; None for none."""
    n_bins = setting(clf, "n_bins")
    if n_bins == "auto":
        n_bins = min(MOST_BINS, ALL_BINS // task.train.n_features)
        n_bins = n_bins if n_bins >= FEWEST_BINS else 0
    if n_bins == 0 or sp.issparse(task.train.X) or not task.scaled or clf.module is not None:
        return None
    parts = task.parts()
    own = [quantile_bins(p.X, p.row_weight, feature_scaler(p, True), n_bins) for p in parts]
    if not task.folds.by_member:
        return own[0]
    return PiecewiseLinearEncoding(_of_members(own, "center"), _of_members(own, "factor"))


def _of_members(own: Sequence[nn.Module], name: str) -> torch.Tensor:
    """Return a tensor that the layers of all members have, stacked to act on their samples."""
    return torch.stack([layer.get_buffer(name) for layer in own])[:, None]


def encoder_of(clf: Any, n_features: int, probe: Any = None) -> nn.Module:
    """Return an encoder of scaled samples: the built-in one, or that of ``module``."""
    if clf.module is None:
        return MLPEncoder(
            n_features,
            hidden_layer_sizes=layer_sizes("hidden_layer_sizes", clf.hidden_layer_sizes),
            activation=clf.activation,
            dropout=float(clf.dropout),
            n_members=int(clf.n_estimators),
        )
    members = [custom_encoder(clf.module, n_features) for _ in range(clf.n_estimators)]
    for member in members:
        embedding_width(member, n_features if probe is None else probe)
    shared = probe is not None and not isinstance(probe, int)
    return members[0] if clf.n_estimators == 1 else MemberList(members, shared)


def scaled_encoder(clf: Any, task: Task, n_outputs: int | None = None) -> nn.Module:
    """Return what makes embeddings of samples as they come.

    ``n_outputs`` is the width of a linear layer behind the encoder; None adds none.
    """
    kept = frequent_features(task.train.X)
    probe = probe_of(clf, task.train) if kept is None else len(kept)
    if not isinstance(probe, int):
        return _with_outputs(encoder_of(clf, clf.n_features_in_, probe), clf, probe, n_outputs)
    scaler: nn.Module = scaler_of(task)
    bins, n_features = bins_of(clf, task), probe
    if bins is not None:
        scaler, n_features = nn.Sequential(scaler, bins), bins.n_outputs
    encoder = _with_outputs(encoder_of(clf, n_features), clf, n_features, n_outputs)
    index = None if kept is None else torch.from_numpy(kept)
    return ScaledEncoder(scaler, encoder, FeatureNoise(float(clf.feature_noise)), index)


def _with_outputs(encoder: nn.Module, clf: Any, probe: Any, n_outputs: int | None) -> nn.Module:
    """Return an encoder with a linear layer behind it, if a number of outputs is asked for.

    Linear, not rectified: features must be able to point along every row of a fixed frame.
    """
    if n_outputs is None:
        return encoder
    n_members = int(clf.n_estimators)
    width = embedding_width(encoder, probe, n_members)
    return nn.Sequential(encoder, linear(width, n_outputs, n_members))


def joint_head(net: IndexBatchNet, n_labels: int) -> AffineHead:
    """Return the linear head that an objective trained with the encoder, of the labels."""
    coef, intercept = head_arrays(net.criterion_.head, net.n_members)
    return AffineHead(coef[:, :n_labels], intercept[:, :n_labels])
