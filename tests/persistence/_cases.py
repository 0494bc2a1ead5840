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
from sklearn.model_selection import KFold

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
from sklearn_mlcl.estimators.nearest_label_set import ONNClassifier
from sklearn_mlcl.losses import JaccardSupConLoss

X, Y = make_multilabel_classification(90, n_features=6, n_classes=4, n_labels=2, random_state=0)
TINY: dict[str, Any] = {"max_epochs": 2, "hidden_layer_sizes": (8, 4), "random_state": 0}
PARTLY = np.where(np.random.RandomState(0).rand(*Y.shape) < 0.2, np.nan, Y)
FRAMES = (
    pd.DataFrame(X, columns=[f"feature {i}" for i in range(6)]),
    pd.DataFrame(Y, columns=["red", "green", "blue", "no colour"]),
)


def contrastive(**parameters: Any) -> Any:
    return ContrastiveMultiLabelClassifier(**{**TINY, "n_estimators": 2, **parameters})


def mlp(**parameters: Any) -> Any:
    return MultiLabelMLPClassifier(**{**TINY, "n_estimators": 2, **parameters})


def cgmvae(**parameters: Any) -> Any:
    small = {"net_params": {"latent_dim": 3, "embedding_dim": 5, "label_hidden_layer_sizes": (4,)}}
    return CGMVAEClassifier(**{**TINY, **small, **parameters, "net_params": {"decoder_hidden": 6}})


Case = Callable[[], Any]
CASES: dict[str, Case] = {"contrastive": lambda: contrastive().fit(X, Y), "one member": lambda: contrastive(n_members=1, neighbor_weight=0.0).fit(X, Y), "CSR": lambda: contrastive().fit(sp.csr_matrix(X), sp.csr_matrix(Y)), "CSR array of labels": lambda: contrastive().fit(X, sp.csr_array(Y)), "missing labels": lambda: contrastive(
        loss="mulsupcon", queue_size=16, temperature=np.float32(0.3)
    ).fit(X, PARTLY), "names": lambda: contrastive().fit(*FRAMES), "frames": lambda: contrastive().set_output(predict="pandas").fit(*FRAMES), "weights": lambda: contrastive().fit(X, Y, sample_weight=np.arange(90.0)), "classes in words": lambda: contrastive().fit(X, np.array(["no", "yes"])[Y[:, 0]]), "classes as objects": lambda: contrastive().fit(X, np.array(["a", "b"], object)[Y[:, 0]]), "three classes": lambda: contrastive().fit(X, Y.sum(axis=1).clip(1, 3)), "tuned": lambda: contrastive(threshold="f1_micro", calibration="platt").fit(X, Y), "thresholds": lambda: contrastive(threshold=np.linspace(0.2, 0.5, 4)).fit(X, Y), "logistic heads": lambda: contrastive(head="logistic", head_C="cv").fit(X, Y), "two stages": lambda: contrastive(**{**recipes.TWO_STAGE, **TINY}).fit(X, Y), "fine-tuned": lambda: contrastive(loss="msc", finetune=True, n_negatives=2).fit(X, Y), "no projection": lambda: contrastive(loss="mulsupcon", projection_dim=None).fit(X, Y), "a loss of ours": lambda: contrastive(loss=JaccardSupConLoss(temperature=0.4)).fit(X, Y), "monitors": lambda: contrastive(
        callbacks=[RepresentationMonitor(16), NeuralCollapseMonitor()]
    ).fit(X, Y), "random state": lambda: contrastive(random_state=np.random.RandomState(3)).fit(X, Y), "stopped early": lambda: mlp(early_stopping=True, device=torch.device("cpu")).fit(X, Y), "MLP": lambda: mlp(loss="asl", feature_dim=3).fit(X, Y), "fixed frame": lambda: mlp(classifier="etf", n_members=1).fit(X, Y), "nearest label set": lambda: mlp(decision="onn").fit(X, Y), "pick all labels": lambda: mlp(loss="pal", empty_rows="none_class").fit(X, Y), "pick all, frame": lambda: mlp(loss="pal", classifier="etf", onn_variant="etf").fit(X, Y), "k best": lambda: mlp(decision="topk").fit(X, Y), "chunks": lambda: mlp().partial_fit(X[:50], Y[:50]).partial_fit(X[50:], Y[50:]), "C-GMVAE": lambda: cgmvae().fit(X, Y), "C-GMVAE, neighbours": lambda: cgmvae(neighbor_weight=0.5).fit(X, Y), "C-GMVAE, draws": lambda: cgmvae(
        n_predict_samples=3, head="logistic", empty_label_policy="learned"
    ).fit(X, Y), "C-GMVAE as published": lambda: cgmvae(
        layer_norm=False, scale_input=False, concat_input=True, label_bias=False,
        kl_warmup_epochs=3, empty_label_policy="standard_normal", schedule="warm_restarts",
    ).fit(X, Y), "logistic": lambda: MultiLabelLogisticRegression(C="cv", Cs=[0.1, 1.0]).fit(*FRAMES), "nearest prototype": lambda: ONNClassifier().fit(X, Y), "nearest prototype, CSR": lambda: ONNClassifier("observed").fit(X, sp.csr_matrix(Y)), "thresholds by cross-validation": lambda: MultiLabelThresholdClassifierCV(
        MultiLabelLogisticRegression(), cv=3
    ).fit(*FRAMES), "calibrated": lambda: MultiLabelCalibratedClassifierCV(
        contrastive(), cv=KFold(2), random_state=np.random.RandomState(0)
    ).fit(X, Y), "net_params": {"optimizer": lambda: contrastive(
        optimizer=torch.optim.RMSprop, net_params={"optimizer__momentum": 0.5}
    ).fit(X, Y)}}  # fmt: skip


@cache
def fitted(name: str) -> Any:
    """Return the estimator of a case, fitted; not to be changed."""
    return CASES[name]()


def rows(estimator: Any) -> list[Any]:
    """Return rows to predict: in both precisions, sparse ones too, with names if it knows names."""
    if hasattr(estimator, "feature_names_in_"):
        return [FRAMES[0], FRAMES[0].astype(np.float32)]
    return [X, X.astype(np.float32), sp.csr_array(X)]
