"""The two stages of the contrastive classifier and every loss it reaches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
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
from sklearn_mlcl.representation import alignment, uniformity
from tests.small import plain, small


def net(**changes: Any) -> Any:
    return small(ContrastiveMultiLabelClassifier, **{"max_epochs": 1, **changes})


def with_missing(Y: np.ndarray) -> np.ndarray:
    return np.where(np.random.default_rng(0).random(Y.shape) < 0.2, np.nan, Y)


# ---------------------------------------------------------------------- the objective


@pytest.mark.parametrize("loss", CONTRASTIVE_LOSSES)
@pytest.mark.parametrize(("missing", "joint_loss"), [(False, "asl"), (True, "bce")])
def test_the_objective_is_that_of_plain_torch(
    loss: str, missing: bool, joint_loss: str, label_data: Any
) -> None:
    """A loss on projections, one on logits, and nothing else; the head is that of the training."""
    X, Y = label_data
    Y = with_missing(Y) if missing else Y
    shared = {"temperature": 0.3, "lambda_reg": 0.5}
    clf = plain(
        ContrastiveMultiLabelClassifier,
        loss=loss,
        lambda_contrastive=0.7,
        lambda_joint=0.4,
        loss_params__joint_loss=joint_loss,
        callbacks=[RepresentationMonitor(n_rows=64)],
        **shared,
    ).fit(X, Y)
    objective = clf.net_.criterion_.eval()
    h, labels = torch.from_numpy(clf.transform(X.astype(np.float32))), torch.from_numpy(Y)
    prototypes = {} if objective.prototypes is None else {"prototypes": objective.prototypes}
    pairs = CONTRASTIVE_LOSSES[loss](**shared)(objective.projection(h), labels, **prototypes)
    head = clf.predictor_.head
    assert_allclose(head.weight, objective.head.weight.detach())
    joint = LOGIT_LOSSES[joint_loss]()(h @ head.weight.T + head.bias, labels)
    expected = 0.7 * pairs + 0.4 * Y.shape[1] * joint
    assert_allclose(objective(h, labels, None).item(), expected.item(), rtol=1e-5)
    assert 0 <= clf.history_["prr"][-1] <= 1


@pytest.mark.parametrize(
    ("loss", "option", "value"),
    [
        ("reg", "alpha", 1.5),
        ("reg", "n_negatives", 3),
        ("msc", "beta", 0.7),
        ("multisupcon", "overlap_threshold", 0.9),
        ("mulsupcon", "anchor_weighting", "sample"),
    ],
)
def test_options_reach_the_loss(loss: str, option: str, value: Any, label_data: Any) -> None:
    clf = net(loss=loss, **{f"loss_params__{option}": value}).fit(*label_data)
    assert getattr(clf.net_.criterion_.loss, option) == value


def test_without_a_weight_the_contrastive_loss_has_no_part(label_data: Any) -> None:
    X, Y = label_data
    one, other = (net(loss=loss, lambda_contrastive=0.0).fit(X, Y) for loss in ("any", "all"))
    assert_array_equal(one.transform(X), other.transform(X))


@pytest.mark.parametrize(
    ("make", "module", "by_name"),
    [
        (
            ContrastiveMultiLabelClassifier,
            SupConLoss(temperature=0.3),
            {"loss": "any", "temperature": 0.3, "lambda_reg": 0.0},
        ),
        (MultiLabelMLPClassifier, ZLPRLoss(), {"loss": "zlpr"}),
    ],
)
def test_a_loss_module_of_the_user(make: Any, module: Any, by_name: Any, label_data: Any) -> None:
    X, Y = label_data
    own, named = (small(make, **options).fit(X, Y) for options in ({"loss": module}, by_name))
    assert_array_equal(own.predict_proba(X), named.predict_proba(X))


def test_prototypes(label_data: Any) -> None:
    X, Y = label_data
    clf = net(net_params__projection_dim=7).fit(X, Y)
    assert clf.prototypes_.shape == (2, Y.shape[1], 7)
    one = net(n_estimators=1, net_params__projection_dim=None).fit(X, Y)
    assert one.prototypes_.shape == (Y.shape[1], 16)
    assert_allclose(np.linalg.norm(one.prototypes_, axis=1), 1, atol=1e-6)
    assert not hasattr(net(loss_params__prototypes=False).fit(X, Y), "prototypes_")
    for loss, prototypes in (("proto", False), ("any", True)):
        with pytest.raises(ValueError, match="prototypes"):
            net(loss=loss, loss_params__prototypes=prototypes).fit(X, Y)


@pytest.mark.parametrize("missing", [False, True])
def test_queue_remembers_past_batches(missing: bool, label_data: Any) -> None:
    X, Y = label_data
    Y = with_missing(Y) if missing else Y
    options: dict[str, Any] = {"batch_size": 64, "loss_params__queue_size": 150}
    clf = net(loss="msc", **options).fit(X, Y)
    queue = clf.net_.criterion_.queue
    assert queue.embeddings.shape == (2, 150, 64) and not queue.embeddings.requires_grad
    assert queue.labels.dtype == (torch.float32 if missing else torch.bool)
    without = net(loss="msc", batch_size=64).fit(X, Y)
    assert np.abs(clf.transform(X) - without.transform(X)).max() > 1e-4
    with pytest.raises(ValueError, match="queue"):
        net(loss="reg", **options).fit(X, Y)


def test_representation_is_recorded_where_asked_for(label_data: Any) -> None:
    X, Y = label_data
    monitors = [RepresentationMonitor(n_rows=64)]
    clf = net(callbacks=monitors, max_epochs=2, validation=None).fit(X, Y)
    z = clf.transform(X[:64].astype(np.float32))
    assert clf.history_["alignment"][-1] == pytest.approx(alignment(z, Y[:64]), rel=1e-5)
    assert clf.history_["uniformity"][-1] == pytest.approx(uniformity(z), rel=1e-5)
    mlp = small(MultiLabelMLPClassifier, callbacks=monitors).fit(X, Y)
    assert np.isnan(mlp.history_["prr"]).all()


# ---------------------------------------------------------------------- heads and neighbours


@pytest.mark.parametrize("options", [{"head": "logistic"}, {"lambda_joint": 0.0}])
def test_logistic_heads_stand_on_standardised_embeddings(options: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = plain(ContrastiveMultiLabelClassifier, n_estimators=2, head_C=0.05, **options).fit(X, Y)
    embedding = StandardScaler().fit_transform(clf.transform(X.astype(np.float32)))
    heads = MultiLabelLogisticRegression(C=0.05).fit(embedding, Y)
    assert_allclose(clf.decision_function(X), heads.decision_function(embedding), atol=1e-3)


def test_head_C_per_label_and_by_cross_validation(label_data: Any) -> None:
    X, Y = label_data
    C = np.logspace(-3, 0, Y.shape[1])
    assert_array_equal(net(head="logistic", head_C=C).fit(X, Y).head_C_, C)
    clf = net(head="logistic", head_C="cv", batch_size=32).fit(X, Y)
    embedding = StandardScaler().fit_transform(clf.transform(X.astype(np.float32)))
    heads = MultiLabelLogisticRegression(C="cv").fit(embedding, Y)
    assert_array_equal(clf.head_C_, heads.C_)


@pytest.mark.parametrize("weighted", ["not", "samples", "entries"])
def test_neighbours_vote_as_a_kernel_regression(weighted: str, label_data: Any) -> None:
    X, Y = label_data
    Y = with_missing(Y)
    w = np.random.default_rng(0).random(Y.shape) + 0.1
    s = {"not": np.ones(Y.shape), "samples": np.tile(w[:, :1], Y.shape[1]), "entries": w}[weighted]
    given = {"not": None, "samples": w[:, 0], "entries": w}[weighted]
    clf = plain(ContrastiveMultiLabelClassifier, neighbor_weight=1).fit(X, Y, given)
    z = clf.transform(X.astype(np.float32)).astype(float)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    kernel = np.exp(z[:5] @ z.T / 0.06)
    s = np.where(np.isnan(Y), 0, s)
    expected = (kernel @ (s * np.nan_to_num(Y))) / (kernel @ s)
    assert_allclose(clf.predict_proba(X[:5]), expected, atol=1e-4)


def test_neighbours_are_thinned_out(label_data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = label_data
    monkeypatch.setattr("sklearn_mlcl.utils.fit_data.MAX_SAMPLES", 50)
    neighbors = net(neighbor_weight=0.5).fit(X, Y).predictor_.neighbors
    assert neighbors.unit.shape == (50, 32) and neighbors.weights.shape == (50, 1)
    assert_allclose(np.linalg.norm(neighbors.unit, axis=1), 1, rtol=1e-5)


# ---------------------------------------------------------------------- many labels, real ones


def test_many_labels_stay_sparse_and_train() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 8))
    Y = sp.random(60, 3000, density=0.002, random_state=0, format="csr")
    Y.data[:] = 1
    clf = net(lambda_joint=0, loss_params__n_negatives=64, net_params__projection_dim=16)
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
