"""The net-based classifiers as ensembles: answers, heads, sizes of training, going on."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import f1_score
from sklearn_mlcl.estimators._net_build import AUTO_EPOCHS, AUTO_ROWS, FEWEST_EPOCHS
from torch import nn

from sklearn_mlcl import ContrastiveMultiLabelClassifier, MultiLabelMLPClassifier
from sklearn_mlcl.callbacks import RepresentationMonitor
from sklearn_mlcl.callbacks._representation import _ratio_of_points
from sklearn_mlcl.modules import MemberList, StackedLinear
from sklearn_mlcl.training import IndexBatches, RowTensors

M, WIDTH = 3, 16
SMALL: dict[str, Any] = {
    "n_estimators": M,
    "hidden_layer_sizes": (24, WIDTH),
    "max_epochs": 4,
    "neighbor_weight": 0.0,
    "linear_weight": 0.0,
    "random_state": 0,
    "net_params": {"pseudo_count": 0.0},
}
CONTRASTIVE, MLP = ContrastiveMultiLabelClassifier(**SMALL), MultiLabelMLPClassifier(**SMALL)
every_net = pytest.mark.parametrize(
    "estimator", [CONTRASTIVE, MLP], ids=lambda net: type(net).__name__
)


def member_embeddings(clf: Any, X: np.ndarray) -> torch.Tensor:
    """What the trained encoder makes of float32 rows, members in front."""
    clf.net_.module_.eval()
    with torch.no_grad():
        return clf.net_.module_(torch.from_numpy(X.astype(np.float32)))


class TwoLayers(nn.Sequential):
    """An encoder of the user's."""

    def __init__(self, n_features: int) -> None:
        super().__init__(nn.Linear(n_features, 9), nn.ReLU(), nn.Linear(9, 6))


# ---------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    "estimator",
    [
        CONTRASTIVE,
        clone(CONTRASTIVE).set_params(lambda_joint=0.0),
        clone(CONTRASTIVE).set_params(head="joint", loss="any"),
        MLP,
        clone(MLP).set_params(loss="two_way", net_params__feature_dim=5),
        clone(MLP).set_params(classifier="etf"),
        clone(MLP).set_params(module=TwoLayers),
    ],
    ids=["joint", "finetune", "any", "mlp", "feature_dim", "etf", "module"],
)
def test_logits_are_the_mean_of_those_of_the_members(estimator: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = clone(estimator).fit(X, Y)
    embedding = member_embeddings(clf, X)
    assert len(embedding) == M
    with torch.no_grad():
        logits = clf.net_.criterion_.head(embedding)
    assert logits.shape == (M, *Y.shape)
    assert (logits[0] - logits[1]).abs().max() > 0.05, "members differ"
    found = clf.decision_function(X.astype(np.float32))
    assert_allclose(found, logits.mean(0), atol=1e-5)
    assert_allclose(clf.transform(X.astype(np.float32)), np.hstack(list(embedding)), atol=1e-5)
    assert clf.coef_.shape == (Y.shape[1], M * embedding.shape[2])


def test_unit_prototypes_of_each_member(label_data: Any) -> None:
    X, Y = label_data
    prototypes = clone(CONTRASTIVE).set_params(net_params__projection_dim=7).fit(X, Y).prototypes_
    assert prototypes.shape == (M, Y.shape[1], 7)
    assert_allclose(np.linalg.norm(prototypes, axis=-1), 1, atol=1e-6)
    assert np.abs(prototypes[0] - prototypes[1]).max() > 0.1


@every_net
def test_a_module_of_the_user_is_called_once_a_member(estimator: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = clone(estimator).set_params(module=TwoLayers).fit(X, Y)
    encoder = clf.net_.module_.encoder
    assert isinstance(encoder, MemberList)
    assert [type(member) for member in encoder.members] == [TwoLayers] * M
    assert clf.transform(X).shape == (len(X), M * 6)
    assert len(clf.get_feature_names_out()) == M * 6


@pytest.mark.parametrize("n_members", [1, M])
def test_a_module_that_returns_no_vectors(n_members: int, label_data: Any) -> None:
    clf = clone(MLP).set_params(n_estimators=n_members, module=lambda n_features: nn.Flatten(0))
    with pytest.raises(ValueError, match=r"module must map .* returned Tensor of shape \(40,\)"):
        clf.fit(*label_data)


@pytest.mark.parametrize("n_members", [0, 1.5, "many"])
def test_n_members_counts(n_members: Any, label_data: Any) -> None:
    with pytest.raises(ValueError, match="n_members"):
        clone(MLP).set_params(n_estimators=n_members).fit(*label_data)


def test_the_ratio_is_the_mean_of_the_members(label_data: Any) -> None:
    X, Y = label_data
    monitor = RepresentationMonitor(n_rows=len(X))
    clf = clone(CONTRASTIVE).set_params(callbacks=[monitor]).fit(X, Y)
    objective = clf.net_.criterion_
    projections = objective.projection(member_embeddings(clf, X))
    ratios = [
        _ratio_of_points(
            objective.loss, rows.detach(), prototypes.detach(), torch.from_numpy(Y).bool()
        )
        for rows, prototypes in zip(projections, objective.prototypes, strict=True)
    ]
    assert len(set(ratios)) == M
    assert clf.history_["prr"][-1] == pytest.approx(np.mean(ratios), rel=1e-4)


# ---------------------------------------------------------------------- whose probabilities count


def test_which_head(label_data: Any) -> None:
    """The one trained with the encoder where there is one, unless the logistic ones are named."""
    X, Y = label_data
    for options, joint in [
        ({}, True),
        ({"head": "joint"}, True),
        ({"head": "logistic"}, False),
        ({"lambda_bce": 0.0}, False),
        ({"lambda_bce": 0.0, "finetune": True}, True),
        ({"head": "joint", "lambda_bce": 0.0, "finetune": True}, True),
        ({"head": "logistic", "finetune": True}, True),
    ]:
        clf = clone(CONTRASTIVE).set_params(max_epochs=1, **options).fit(X, Y)
        weight = clf.net_.criterion_.head.weight.detach().numpy()
        is_that_of_the_net = np.allclose(clf.coef_, np.hstack(list(weight.swapaxes(1, 2))) / M)
        assert is_that_of_the_net == joint == (not hasattr(clf, "head_C_")), options


@pytest.mark.parametrize("fit", ["fit", "partial_fit"])
def test_a_joint_head_needs_the_cross_entropy(fit: str, label_data: Any) -> None:
    """Said before the training, not after it; an earlier fit stays."""
    X, Y = label_data
    clf = clone(CONTRASTIVE).fit(X, Y)
    before = clf.predict_proba(X)
    clf.set_params(head="joint", lambda_joint=0.0, module=pytest.fail)
    with pytest.raises(ValueError, match=r"head='joint' .* lambda_bce must be > 0, got 0\.0"):
        getattr(clf, fit)(X, Y)
    assert_array_equal(clf.predict_proba(X), before)
    assert clf.n_iter_ == 4


# ---------------------------------------------------------------------- sizes of the training


@pytest.mark.parametrize(
    ("n_rows", "expected"),
    [(1, 1), (20, 20), (33, 32), (191, 32), (383, 32), (384, 64), (767, 64), (768, 128),
     (10_000, 128), (1_000_000, 128)],
)  # fmt: skip
def test_automatic_batch_size(n_rows: int, expected: int) -> None:
    assert MLP._n_batch_rows(n_rows) == expected
    assert clone(MLP).set_params(batch_size=50)._n_batch_rows(n_rows) == min(50, n_rows)


@pytest.mark.parametrize(
    ("n_rows", "expected"),
    [
        (1, AUTO_EPOCHS),
        (AUTO_ROWS, AUTO_EPOCHS),
        (4 * AUTO_ROWS, AUTO_EPOCHS // 2),
        (9 * AUTO_ROWS, -(-AUTO_EPOCHS // 3)),
        (10**6 * AUTO_ROWS, FEWEST_EPOCHS),
    ],
)
def test_automatic_number_of_epochs(n_rows: int, expected: int) -> None:
    assert clone(MLP).set_params(max_epochs="auto")._n_epochs(n_rows) == expected
    assert clone(MLP).set_params(max_epochs=7)._n_epochs(n_rows) == 7


@every_net
def test_automatic_sizes_reach_the_training(
    estimator: Any, label_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sklearn_mlcl.estimators._net_build.AUTO_ROWS", 8)  # a fifth of the epochs
    clf = clone(estimator).set_params(max_epochs="auto").fit(*label_data)
    assert clf.net_.batch_size == 32
    assert clf.n_iter_ == len(clf.history_["train_loss"]) == max(FEWEST_EPOCHS, AUTO_EPOCHS // 5)
    assert clone(estimator).set_params(batch_size=1000).fit(*label_data).net_.batch_size == 200


@pytest.mark.parametrize("parameter", ["max_epochs", "batch_size"])
@pytest.mark.parametrize("value", [0, "many", 2.5, None])
def test_sizes_that_are_none(parameter: str, value: Any, label_data: Any) -> None:
    with pytest.raises(ValueError, match=parameter):
        clone(MLP).set_params(**{parameter: value}).fit(*label_data)


# ---------------------------------------------------------------------- going on


@every_net
def test_a_pickle_goes_on_as_the_original(estimator: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = clone(estimator).set_params(warm_start=True, max_epochs=2).fit(X, Y)
    again = pickle.loads(pickle.dumps(clf))
    assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
    first = member_embeddings(clf, X)
    for one in (clf, again):
        one.fit(X, Y)
        assert one.n_iter_ == 4
        assert isinstance(one.net_.module_.encoder[0], StackedLinear)
    assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
    changed = (member_embeddings(clf, X) - first).abs().amax(dim=(1, 2))
    assert (changed > 1e-3).all(), "every member goes on"


@every_net
def test_chunks_teach_every_member(estimator: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = clone(estimator).partial_fit(X[:100], Y[:100])
    first = member_embeddings(clf, X)
    clf.partial_fit(X[100:], Y[100:])
    assert clf.n_iter_ == 2
    changed = (member_embeddings(clf, X) - first).abs().amax(dim=(1, 2))
    assert (changed > 1e-3).all()
    assert clf.predict(X).shape == Y.shape


@every_net
def test_early_stopping_puts_the_best_members_back(estimator: Any, label_data: Any) -> None:
    """The mean validation loss of the members that are left is the smallest of the history."""
    X, Y = label_data
    clf = clone(estimator).set_params(early_stopping=3, validation=0.25, max_epochs=200, learning_rate=0.02, net_params__schedule="constant", net_params__mixup=0.0)  # fmt: skip
    splits = []
    split = clf._split

    def remember(*args: Any) -> Any:
        splits.append(split(*args))
        return splits[-1]

    clf._split = remember
    losses = clf.fit(X, Y).history_["valid_loss"]
    assert len(losses) - 1 - losses.argmin() == 3 and len(losses) < 200
    net, valid = clf.net_, RowTensors(*splits[0][1], torch.device("cpu"))
    net._set_training(False)
    batches = list(IndexBatches(valid, net.batch_size))
    sums = [net.validation_step(batch)["loss"].item() * len(batch[0]) for batch in batches]
    assert sum(sums) / len(valid) == pytest.approx(losses.min(), rel=1e-5)


# ---------------------------------------------------------------------- as they are shipped


@pytest.mark.parametrize("Estimator", [ContrastiveMultiLabelClassifier, MultiLabelMLPClassifier])
def test_all_defaults(Estimator: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = Estimator(random_state=0).fit(X[:150], Y[:150])
    assert (clf.n_iter_, clf.net_.batch_size) == (AUTO_EPOCHS, 32)
    assert clf.n_members == clf.net_.n_members > 1
    n_embedding = clf.n_members * clf.hidden_layer_sizes[-1]
    assert clf.coef_.shape == (Y.shape[1], n_embedding)
    assert clf.transform(X[:3]).shape == (3, n_embedding)
    assert f1_score(Y[150:], clf.predict(X[150:]), average="micro") > 0.7
