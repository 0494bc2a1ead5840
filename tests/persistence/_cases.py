"""Fitted estimators of every kind that files hold, small and quick, made once each."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from sklearn.datasets import make_multilabel_classification
from sklearn.model_selection import KFold, ShuffleSplit

from sklearn_mlcl import (
    CGMVAEClassifier,
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
    MultiLabelThresholdClassifierCV,
    recipes,
)
from sklearn_mlcl.calibration import MultiLabelCalibratedClassifierCV
from sklearn_mlcl.callbacks import NeuralCollapseMonitor, RepresentationMonitor
from sklearn_mlcl.collapse import NearestLabelSetClassifier
from sklearn_mlcl.losses import JaccardSupConLoss
from sklearn_mlcl.model_selection import MultiLabelVotingClassifierCV

X, Y = make_multilabel_classification(90, n_features=6, n_classes=4, n_labels=2, random_state=0)
TINY: dict[str, Any] = {"max_epochs": 2, "hidden_layer_sizes": (8, 4), "random_state": 0}
PARTLY = np.where(np.random.RandomState(0).rand(*Y.shape) < 0.2, np.nan, Y)
FRAMES = (
    pd.DataFrame(X, columns=[f"feature {i}" for i in range(6)]),
    pd.DataFrame(Y, columns=["red", "green", "blue", "no colour"]),
)


def contrastive(**changes: Any) -> Any:
    return ContrastiveMultiLabelClassifier(**TINY, n_estimators=2).set_params(**changes)


def mlp(**changes: Any) -> Any:
    return MultiLabelMLPClassifier(**TINY, n_estimators=2).set_params(**changes)


def cgmvae(**changes: Any) -> Any:
    sizes = {"latent_dim": 3, "embedding_dim": 5, "label_hidden_layer_sizes": (4,)}
    net_params = {**sizes, "decoder_hidden": 6}
    return CGMVAEClassifier(**TINY, net_params=net_params).set_params(**changes)


Case = Callable[[], Any]
CASES: dict[str, Case] = {
    "contrastive": lambda: contrastive().fit(X, Y),
    "one net": lambda: contrastive(n_estimators=1, neighbor_weight=0.0).fit(X, Y),
    "linear part": lambda: contrastive(linear_weight=0.4).fit(X, Y),
    "CSR": lambda: contrastive().fit(sp.csr_matrix(X), sp.csr_matrix(Y)),
    "CSR array of labels": lambda: contrastive().fit(X, sp.csr_array(Y)),
    "missing labels": lambda: contrastive(
        loss="mulsupcon", loss_params__queue_size=16, temperature=np.float32(0.3)
    ).fit(X, PARTLY),
    "names": lambda: contrastive().fit(*FRAMES),
    "frames": lambda: contrastive().set_output(predict="pandas").fit(*FRAMES),
    "weights": lambda: contrastive().fit(X, Y, sample_weight=np.arange(90.0)),
    "classes in words": lambda: contrastive().fit(X, np.array(["no", "yes"])[Y[:, 0]]),
    "classes as objects": lambda: contrastive().fit(X, np.array(["a", "b"], object)[Y[:, 0]]),
    "three classes": lambda: contrastive().fit(X, Y.sum(axis=1).clip(1, 3)),
    "tuned": lambda: contrastive(threshold="f1_micro").fit(X, Y),
    "thresholds": lambda: contrastive(threshold=np.linspace(0.2, 0.5, 4)).fit(X, Y),
    "logistic heads": lambda: contrastive(head="logistic", head_C="cv").fit(X, Y),
    "two stages": lambda: contrastive(**{**recipes.TWO_STAGE, **TINY}).fit(X, Y),
    "drawn negatives": lambda: contrastive(loss="msc", loss_params__n_negatives=2).fit(X, Y),
    "no projection": lambda: contrastive(loss="mulsupcon", net_params__projection_dim=None).fit(
        X, Y
    ),
    "a loss of ours": lambda: contrastive(loss=JaccardSupConLoss(temperature=0.4)).fit(X, Y),
    "monitors": lambda: contrastive(
        callbacks=[RepresentationMonitor(16), NeuralCollapseMonitor()]
    ).fit(X, Y),
    "optimizer": lambda: contrastive(
        net_params={"optimizer": torch.optim.RMSprop, "optimizer_params": {"momentum": 0.5}}
    ).fit(X, Y),
    "random state": lambda: contrastive(random_state=np.random.RandomState(3)).fit(X, Y),
    "stopped early": lambda: mlp(early_stopping=True, device=torch.device("cpu")).fit(X, Y),
    "splitter": lambda: mlp(early_stopping=5, validation=ShuffleSplit(1, random_state=0)).fit(X, Y),
    "MLP": lambda: mlp(loss="asl", net_params__feature_dim=3).fit(X, Y),
    "members with folds": lambda: mlp(n_estimators=4).fit(X, Y),
    "fixed frame": lambda: mlp(classifier="etf", n_estimators=1).fit(X, Y),
    "nearest label set": lambda: mlp(decision="onn").fit(X, Y),
    "observed label sets": lambda: mlp(
        loss="pal", decision=NearestLabelSetClassifier(variant="observed", prior=0.5)
    ).fit(X, Y),
    "pick all labels": lambda: mlp(loss="pal", loss_params__empty_rows="none_class").fit(X, Y),
    "pick all, frame": lambda: mlp(
        loss="pal", classifier="etf", decision=NearestLabelSetClassifier(variant="etf")
    ).fit(X, Y),
    "k best": lambda: mlp(decision="topk").fit(X, Y),
    "chunks": lambda: mlp().partial_fit(X[:50], Y[:50]).partial_fit(X[50:], Y[50:]),
    "C-GMVAE": lambda: cgmvae().fit(X, Y),
    "C-GMVAE, neighbours": lambda: cgmvae(neighbor_weight=0.5).fit(X, Y),
    "C-GMVAE, draws": lambda: cgmvae(
        net_params__n_predict_samples=3, head="logistic", loss_params__empty_label_policy="learned"
    ).fit(X, Y),
    "C-GMVAE as published": lambda: cgmvae(
        **{
            **recipes.CGMVAE_PAPER,
            **TINY,
            "loss_params": {"kl_warmup_epochs": 3, "empty_label_policy": "standard_normal"},
            "net_params__embedding_dim": 5,
        }
    ).fit(X, Y),
    "logistic": lambda: MultiLabelLogisticRegression(C="cv", Cs=[0.1, 1.0]).fit(*FRAMES),
    "label tree": lambda: MultiLabelLogisticRegression(label_tree=True).fit(*FRAMES),
    "nearest prototype": lambda: NearestLabelSetClassifier().fit(X, Y),
    "nearest prototype, CSR": lambda: NearestLabelSetClassifier(variant="observed").fit(
        X, sp.csr_matrix(Y)
    ),
    "thresholds by cross-validation": lambda: MultiLabelThresholdClassifierCV(
        MultiLabelLogisticRegression(), cv=3
    ).fit(*FRAMES),
    "vote": lambda: MultiLabelVotingClassifierCV(
        [("net", contrastive()), ("heads", MultiLabelLogisticRegression()), ("none", "drop")], cv=2
    ).fit(X, Y),
    "calibrated": lambda: MultiLabelCalibratedClassifierCV(
        contrastive(), cv=KFold(2), random_state=np.random.RandomState(0)
    ).fit(X, Y),
}


@cache
def fitted(name: str) -> Any:
    """Return the estimator of a case, fitted; not to be changed."""
    return CASES[name]()


def rows(estimator: Any) -> list[Any]:
    """Return rows to predict: in both precisions, sparse ones too, with names if it knows names."""
    if hasattr(estimator, "feature_names_in_"):
        return [FRAMES[0], FRAMES[0].astype(np.float32)]
    return [X, X.astype(np.float32), sp.csr_array(X)]
