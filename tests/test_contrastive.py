"""The two stages of the contrastive classifier and every loss it reaches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import average_precision_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_mlcl import (
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
)
from sklearn_mlcl.callbacks import RepresentationMonitor
from sklearn_mlcl.losses import CONTRASTIVE_LOSSES, LOGIT_LOSSES, SupConLoss, ZLPRLoss

ONE_EPOCH = ContrastiveMultiLabelClassifier(
    n_estimators=2, hidden_layer_sizes=(64, 64), max_epochs=1, random_state=0
)


@pytest.mark.parametrize("loss", CONTRASTIVE_LOSSES)
@pytest.mark.parametrize("unknown", [False, True])
def test_every_contrastive_loss_by_name(loss: str, unknown: bool, label_data: Any) -> None:
    X, Y = label_data
    if unknown:
        Y = np.where(np.random.default_rng(0).random(Y.shape) < 0.2, np.nan, Y)
    clf = clone(ONE_EPOCH).set_params(loss=loss, max_epochs=8).fit(X, Y)
    losses = clf.history_["train_loss"]
    assert losses[-1] < losses[0]
    assert clf.net_.criterion_.loss.temperature == clf.temperature
    assert clf.net_.criterion_.loss.lambda_reg == clf.lambda_reg


@pytest.mark.parametrize("loss", LOGIT_LOSSES)
def test_every_logit_loss_by_name(loss: str, label_data: Any) -> None:
    X, Y = label_data
    clf = MultiLabelMLPClassifier(loss=loss, n_estimators=2, max_epochs=20, random_state=0).fit(
        X, Y
    )
    assert f1_score(Y, clf.predict(X), average="micro") > 0.6


@pytest.mark.parametrize(
    ("loss", "option", "value"),
    [
        ("reg", "alpha", 1.5),
        ("msc", "beta", 0.7),
        ("multisupcon", "overlap_threshold", 0.9),
        ("mulsupcon", "anchor_weighting", "sample"),
    ],
)
def test_options_reach_the_loss(loss: str, option: str, value: Any, label_data: Any) -> None:
    X, Y = (a[:64] for a in label_data)
    clf = clone(ONE_EPOCH).set_params(loss=loss, **{option: value}).fit(X, Y)
    assert getattr(clf.net_.criterion_.loss, option) == value
    other = clone(ONE_EPOCH).set_params(loss=loss).fit(X, Y)
    assert clf.history_["train_loss"][0] != other.history_["train_loss"][0]


@pytest.mark.parametrize("parameter", ["temperature", "lambda_reg", "lambda_bce"])
def test_objective_terms_change_the_fit(parameter: str, label_data: Any) -> None:
    X, Y = label_data
    few = clone(ONE_EPOCH).set_params(max_epochs=3)
    default = clone(few).fit(X, Y).transform(X)
    changed = clone(few).set_params(**{parameter: 0.5}).fit(X, Y).transform(X)
    assert np.abs(default - changed).max() > 1e-3


def test_a_loss_module_of_the_user(label_data: Any) -> None:
    X, Y = label_data
    by_module = clone(ONE_EPOCH).set_params(loss=SupConLoss(temperature=0.3)).fit(X, Y)
    by_name = clone(ONE_EPOCH).set_params(loss="any", temperature=0.3, lambda_reg=0.0).fit(X, Y)
    assert_array_equal(by_module.transform(X), by_name.transform(X))

    mlp = MultiLabelMLPClassifier(n_estimators=2, max_epochs=1, random_state=0)
    named = clone(mlp).set_params(loss="zlpr").fit(X, Y)
    mlp.set_params(loss=ZLPRLoss()).fit(X, Y)
    assert_array_equal(mlp.predict_proba(X), named.predict_proba(X))


def test_prototypes(label_data: Any) -> None:
    X, Y = label_data
    clf = clone(ONE_EPOCH).set_params(n_estimators=1, net_params__projection_dim=7).fit(X, Y)
    assert clf.prototypes_.shape == (Y.shape[1], 7)
    assert_allclose(np.linalg.norm(clf.prototypes_, axis=1), 1, atol=1e-6)
    without = clone(ONE_EPOCH).set_params(loss_params__prototypes=False).fit(X, Y)
    assert not hasattr(without, "prototypes_")
    with pytest.raises(ValueError, match="prototypes"):
        clone(ONE_EPOCH).set_params(loss="proto", loss_params__prototypes=False).fit(X, Y)
    with pytest.raises(ValueError, match="prototypes"):
        clone(ONE_EPOCH).set_params(loss="any", loss_params__prototypes=True).fit(X, Y)


@pytest.mark.parametrize("unknown", [False, True])
def test_queue_remembers_past_batches(unknown: bool, label_data: Any) -> None:
    X, Y = label_data
    Y = np.where(X[:, :1] > 1.5, np.nan, Y) if unknown else Y
    clf = (
        clone(ONE_EPOCH)
        .set_params(loss="msc", batch_size=64, loss_params__queue_size=150)
        .fit(X, Y)
    )
    queue = clf.net_.criterion_.queue
    assert len(queue) == 150 and not queue.embeddings.requires_grad
    with pytest.raises(ValueError, match="queue"):
        clone(ONE_EPOCH).set_params(loss="reg", batch_size=64, loss_params__queue_size=150).fit(
            X, Y
        )
    without = clone(ONE_EPOCH).set_params(loss="msc", batch_size=64).fit(X, Y)
    assert np.abs(clf.transform(X) - without.transform(X)).max() > 1e-4


def test_finetuning_is_a_second_stage(label_data: Any) -> None:
    X, Y = label_data
    one_net = clone(ONE_EPOCH).set_params(n_estimators=1, max_epochs=4)
    clf = (
        clone(one_net)
        .set_params(neighbor_weight=0, linear_weight=0, net_params__pseudo_count=0)
        .fit(X, Y)
    )
    assert clf.n_iter_ == 8
    head = clf.net_.criterion_.head
    assert_allclose(clf.coef_, head.weight.detach().numpy())
    plain = clone(one_net).fit(X, Y)
    assert_array_equal(clf.history_["train_loss"][:4], plain.history_["train_loss"])


def test_logistic_heads_stand_on_standardised_embeddings(label_data: Any) -> None:
    X, Y = label_data
    clf = clone(ONE_EPOCH).set_params(
        head="logistic", head_C=0.05, neighbor_weight=0, linear_weight=0, net_params__pseudo_count=0
    )
    clf.fit(X, Y)
    embedding = StandardScaler().fit_transform(clf.transform(X.astype(np.float32)))
    heads = MultiLabelLogisticRegression(C=0.05).fit(embedding, Y)
    assert_allclose(clf.decision_function(X), heads.decision_function(embedding), atol=1e-3)


def test_head_C_per_label_and_by_cross_validation(label_data: Any) -> None:
    X, Y = label_data
    C = np.logspace(-3, 0, Y.shape[1])
    clf = clone(ONE_EPOCH).set_params(head="logistic", head_C=C).fit(X, Y)
    assert_array_equal(clf.head_C_, C)
    chosen = clone(clf).set_params(head_C="cv").fit(X, Y)
    assert set(chosen.head_C_) <= set(10.0 ** np.arange(-5, 4))


@pytest.mark.parametrize("weights", [None, "some"])
def test_neighbours_vote_as_a_kernel_regression(weights: Any, label_data: Any) -> None:
    X, Y = label_data
    s = None if weights is None else np.random.default_rng(0).random(len(X))
    Y = Y.astype(float)
    Y[:30, 2] = np.nan
    clf = (
        clone(ONE_EPOCH)
        .set_params(neighbor_weight=1, linear_weight=0, net_params__pseudo_count=0)
        .fit(X, Y, s)
    )
    z = clf.transform(X.astype(np.float32)).astype(float)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    s = np.ones(len(X)) if s is None else s
    for label in range(Y.shape[1]):
        known = ~np.isnan(Y[:, label])
        kernel = np.exp(z[:5] @ z[known].T / 0.2) * s[known]
        expected = (kernel * Y[known, label]).sum(axis=1) / kernel.sum(axis=1)
        assert_allclose(clf.predict_proba(X[:5])[:, label], expected, atol=1e-4)


def test_neighbours_are_thinned_out(label_data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = label_data
    monkeypatch.setattr("sklearn_mlcl.heads.neighbors.MAX_ROWS", 50)
    clf = clone(ONE_EPOCH).fit(X, Y)
    assert len(clf.neighbors_.embedding) == 50
    assert clf.predict(X).shape == Y.shape


@pytest.mark.parametrize("loss", CONTRASTIVE_LOSSES)
def test_representation_is_recorded_when_asked(loss: str, label_data: Any) -> None:
    X, Y = label_data
    monitor = RepresentationMonitor(n_rows=64)
    clf = clone(ONE_EPOCH).set_params(loss=loss, max_epochs=2, callbacks=[monitor]).fit(X, Y)
    assert {"alignment", "uniformity", "prr"} <= set(clf.history_)
    assert np.all((clf.history_["prr"] >= 0) & (clf.history_["prr"] <= 1))
    mlp = MultiLabelMLPClassifier(n_estimators=2, max_epochs=2, callbacks=[monitor]).fit(X, Y)
    assert np.isnan(mlp.history_["prr"]).all()


def test_many_labels_stay_sparse_and_train() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 8))
    Y = sp.random(60, 3000, density=0.002, random_state=0, format="csr")
    Y.data[:] = 1
    clf = clone(ONE_EPOCH).set_params(
        lambda_joint=0, loss_params__n_negatives=64, net_params__projection_dim=16
    )
    with pytest.warns(UserWarning, match="single value"):
        clf.fit(X, Y)
    assert clf.net_.criterion_.loss.n_negatives == 64
    assert sp.issparse(clf.predict(X)) and np.isfinite(clf.history_["train_loss"]).all()


def test_default_holds_its_own_on_yeast(yeast: Any) -> None:
    """Well below the measured means (0.655 / 0.438 / 0.525), well above a broken fit."""
    X_train, Y_train, X_test, Y_test = yeast
    pipe = make_pipeline(StandardScaler(), ContrastiveMultiLabelClassifier(random_state=0))
    pipe.fit(X_train, Y_train)
    predicted = pipe.predict(X_test)
    assert f1_score(Y_test, predicted, average="micro") > 0.64
    assert f1_score(Y_test, predicted, average="macro", zero_division=0) > 0.41
    assert average_precision_score(Y_test, pipe.predict_proba(X_test)) > 0.50


def test_a_user_of_plain_torch_gets_the_same_loss(label_data: Any) -> None:
    """The objective of the net is the loss module, on projections, nothing hidden."""
    X, Y = label_data
    clf = clone(ONE_EPOCH).set_params(lambda_joint=0, n_estimators=1).fit(X, Y)
    objective = clf.net_.criterion_.eval()
    embedding = torch.from_numpy(clf.transform(X.astype(np.float32)))
    labels = torch.from_numpy(Y)
    expected = objective.loss(objective.projection(embedding), labels, objective.prototypes)
    assert_allclose(objective(embedding, labels, None).item(), expected.item(), rtol=1e-6)
