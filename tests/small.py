"""Estimators that train in a moment, and marks that many tests share."""

from __future__ import annotations

from typing import Any

import pytest
import sklearn
from sklearn.utils.fixes import parse_version

from sklearn_mlcl import (
    CGMVAEClassifier,
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
)

ENSEMBLES = [ContrastiveMultiLabelClassifier, MultiLabelMLPClassifier]
#: Of the five labels of ``label_data``.
NAMES = ["beach", "sunset", "foliage", "field", "mountain"]
NETS = [*ENSEMBLES, CGMVAEClassifier]
CLASSIFIERS = [*NETS, MultiLabelLogisticRegression]

every_ensemble = pytest.mark.parametrize("make", ENSEMBLES)
every_net = pytest.mark.parametrize("make", NETS)
every_classifier = pytest.mark.parametrize("make", CLASSIFIERS)

with_sklearn_callbacks = pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.9"),
    reason="scikit-learn has callbacks from 1.9 on",
)

SMALL: dict[str, Any] = {
    "n_estimators": 2,
    "hidden_layer_sizes": (16,),
    "max_epochs": 3,
    "batch_size": 64,
    "random_state": 0,
    "net_params__label_hidden_layer_sizes": (32,),
    "net_params__decoder_hidden": 32,
    "net_params__embedding_dim": 64,
    "net_params__latent_dim": 16,
}
PLAIN: dict[str, Any] = {
    "n_estimators": 1,
    "neighbor_weight": 0.0,
    "linear_weight": 0.0,
    "validation": None,
    "net_params__mixup": 0.0,
    "net_params__n_bins": 0,
    "net_params__pseudo_count": 0.0,
}


def small(make: Any, **changes: Any) -> Any:
    """Return a small estimator of a class, an ensemble of two where it can be one.

    ``changes`` are names as ``set_params`` takes them, ``net_params__mixup`` among them.
    """
    known = make().get_params()
    return make().set_params(**{k: v for k, v in SMALL.items() if k in known} | changes)


def plain(make: Any, **changes: Any) -> Any:
    """Return a small net with its head alone.

    There is one net, without neighbours, linear part, bins, pseudo-count and mixup.
    """
    known = make().get_params()
    return small(make, **{k: v for k, v in PLAIN.items() if k in known} | changes)
