"""The net-based classifiers as ensembles: answers, heads, sizes of training, going on."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import f1_score
from torch import nn

from sklearn_mlcl import CGMVAEClassifier, ContrastiveMultiLabelClassifier, MultiLabelMLPClassifier
from sklearn_mlcl.callbacks import RepresentationMonitor
from sklearn_mlcl.estimators.net import EPOCH_SHARES, batch_samples
from sklearn_mlcl.estimators.task import AUTO_EPOCHS, AUTO_SAMPLES, FEWEST_EPOCHS, most_epochs
from sklearn_mlcl.modules import MemberList, StackedLinear
from sklearn_mlcl.representation import positive_regularization_ratio
from tests.small import every_ensemble, plain, small

M, WIDTH = 3, 16
CONTRASTIVE, MLP = ContrastiveMultiLabelClassifier, MultiLabelMLPClassifier


def ensemble(make: Any, **changes: Any) -> Any:
    """Return an ensemble whose answers are those of the heads alone."""
    sizes = {"n_estimators": M, "hidden_layer_sizes": (24, WIDTH), "max_epochs": 4}
    return plain(make, **sizes | changes)


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
    ("make", "options"),
    [
        (CONTRASTIVE, {}),
        (CONTRASTIVE, {"lambda_contrastive": 0.0}),
        (CONTRASTIVE, {"head": "joint", "loss": "any"}),
        (MLP, {}),
        (MLP, {"loss": "two_way", "net_params__feature_dim": 5}),
        (MLP, {"classifier": "etf"}),
        (MLP, {"module": TwoLayers}),
    ],
    ids=["joint", "joint alone", "any", "mlp", "feature_dim", "etf", "module"],
)
def test_logits_are_the_mean_of_those_of_the_members(
    make: Any, options: dict[str, Any], label_data: Any
) -> None:
    X, Y = label_data
    clf = ensemble(make, **options).fit(X, Y)
    embedding = member_embeddings(clf, X)
    assert len(embedding) == M
    with torch.no_grad():
        logits = clf.net_.criterion_.head(embedding)
    assert logits.shape == (M, *Y.shape)
    assert (logits[0] - logits[1]).abs().max() > 0.05, "members differ"
    found = clf.decision_function(X.astype(np.float32))
    assert_allclose(found, logits.mean(0), atol=1e-5)
    assert_allclose(clf.transform(X.astype(np.float32)), np.hstack(list(embedding)), atol=1e-5)
    assert clf.predictor_.head.weight.shape == (Y.shape[1], M * embedding.shape[2])


def test_unit_prototypes_of_each_member(label_data: Any) -> None:
    X, Y = label_data
    prototypes = ensemble(CONTRASTIVE, net_params__projection_dim=7).fit(X, Y).prototypes_
    assert prototypes.shape == (M, Y.shape[1], 7)
    assert_allclose(np.linalg.norm(prototypes, axis=-1), 1, atol=1e-6)
    assert np.abs(prototypes[0] - prototypes[1]).max() > 0.1


@every_ensemble
def test_a_module_of_the_user_is_called_once_a_member(make: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = ensemble(make, module=TwoLayers).fit(X, Y)
    encoder = clf.net_.module_.encoder
    assert isinstance(encoder, MemberList)
    assert [type(member) for member in encoder.members] == [TwoLayers] * M
    assert clf.transform(X).shape == (len(X), M * 6)
    assert len(clf.get_feature_names_out()) == M * 6


@pytest.mark.parametrize("n_members", [1, M])
def test_a_module_that_returns_no_vectors(n_members: int, label_data: Any) -> None:
    clf = ensemble(MLP, n_estimators=n_members, module=lambda n_features: nn.Flatten(0))
    with pytest.raises(ValueError, match=r"module must map .* returned Tensor of shape \(40,\)"):
        clf.fit(*label_data)


def test_the_ratio_is_the_mean_of_the_members(label_data: Any) -> None:
    X, Y = label_data
    monitor = RepresentationMonitor(n_rows=len(X))
    clf = ensemble(CONTRASTIVE, callbacks=[monitor]).fit(X, Y)
    objective = clf.net_.criterion_
    loss, projections = objective.loss, objective.projection(member_embeddings(clf, X))
    ratios = [
        positive_regularization_ratio(
            torch.cat([rows, prototypes]),
            loss.pair_weights(torch.from_numpy(Y).bool(), prototypes=True),
            temperature=loss.temperature,
            repulsion=[loss.beta] * len(X) + [1.0] * Y.shape[1],
        )
        for rows, prototypes in zip(projections, objective.prototypes, strict=True)
    ]
    assert len(set(ratios)) == M
    assert clf.history_["prr"][-1] == pytest.approx(np.mean(ratios), rel=1e-4)


# ---------------------------------------------------------------------- whose probabilities count


@pytest.mark.parametrize(
    ("options", "joint"),
    [
        ({}, True),
        ({"head": "joint"}, True),
        ({"head": "logistic"}, False),
        ({"lambda_joint": 0.0}, False),
    ],
)
def test_which_head(options: dict[str, Any], joint: bool, label_data: Any) -> None:
    """The one trained with the encoder where there is one, unless the logistic ones are named."""
    clf = ensemble(CONTRASTIVE, max_epochs=1, **options).fit(*label_data)
    weight = clf.net_.criterion_.head.weight.detach().numpy()
    of_the_net = np.hstack(list(weight.swapaxes(1, 2))) / M
    assert np.allclose(clf.predictor_.head.weight, of_the_net) == joint
    assert hasattr(clf, "head_C_") != joint


@pytest.mark.parametrize("fit", ["fit", "partial_fit"])
def test_a_joint_head_needs_the_joint_loss(fit: str, label_data: Any) -> None:
    """Said before the training, not after it; an earlier fit stays."""
    X, Y = label_data
    clf = ensemble(CONTRASTIVE).fit(X, Y)
    before = clf.predict_proba(X)
    hook = clf.net_.module_.register_forward_hook(lambda *args: pytest.fail("trained"))
    clf.set_params(head="joint", lambda_joint=0.0, module=pytest.fail)
    with pytest.raises(ValueError, match=r"head='joint' .* lambda_joint must be > 0, got 0\.0"):
        getattr(clf, fit)(X, Y)
    hook.remove()
    assert_array_equal(clf.set_params(lambda_joint=2.0).predict_proba(X), before)
    assert clf.n_iter_ == 4


# ---------------------------------------------------------------------- sizes of the training


@pytest.mark.parametrize(
    ("n_samples", "expected"),
    [(1, 1), (20, 20), (33, 32), (191, 32), (383, 32), (384, 64), (767, 64), (768, 128),
     (20_479, 128), (20_480, 256), (40_959, 256), (40_960, 512), (81_920, 1_024),
     (1_000_000, 1_024)],
)  # fmt: skip
def test_automatic_batch_size(n_samples: int, expected: int) -> None:
    assert batch_samples("auto", n_samples) == expected
    assert batch_samples("auto", n_samples, grows=False) == min(expected, 128)
    assert batch_samples(50, n_samples) == min(50, n_samples)


@pytest.mark.parametrize(("module", "expected"), [(None, 256), (partial(nn.Linear, 1, 4), 128)])
def test_a_module_has_batches_of_128_at_most(module: Any, expected: int) -> None:
    X = np.linspace(-1, 1, 20_480, dtype=np.float32)[:, None]
    clf = plain(MLP, max_epochs=1, batch_size="auto", module=module)
    assert clf.fit(X, X > [[0, 0.5]]).net_.batch_size == expected


@pytest.mark.parametrize(
    ("n_samples", "expected"),
    [
        (1, AUTO_EPOCHS),
        (AUTO_SAMPLES, AUTO_EPOCHS),
        (4 * AUTO_SAMPLES, AUTO_EPOCHS // 2),
        (9 * AUTO_SAMPLES, -(-AUTO_EPOCHS // 3)),
        (10**6 * AUTO_SAMPLES, FEWEST_EPOCHS),
    ],
)
def test_automatic_number_of_epochs(n_samples: int, expected: int) -> None:
    assert most_epochs("auto", n_samples) == expected
    assert most_epochs(7, n_samples) == 7


@every_ensemble
def test_automatic_sizes_reach_the_training(
    make: Any, label_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sklearn_mlcl.estimators.task.AUTO_SAMPLES", 8)  # a fifth of the epochs
    clf = ensemble(make, max_epochs="auto", batch_size="auto").fit(*label_data)
    assert clf.net_.batch_size == 32
    assert clf.n_iter_ == len(clf.history_["train_loss"]) == max(FEWEST_EPOCHS, AUTO_EPOCHS // 5)
    assert ensemble(make, batch_size=1000).fit(*label_data).net_.batch_size == 200


# ---------------------------------------------------------------------- going on


@every_ensemble
def test_a_pickle_goes_on_as_the_original(make: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = ensemble(make, warm_start=True, max_epochs=2).fit(X, Y)
    again = pickle.loads(pickle.dumps(clf))
    assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
    first = member_embeddings(clf, X)
    clf.net_.initialize_optimizer()  # a pickle leaves its state behind
    for one in (clf, again):
        one.fit(X, Y)
        assert one.n_iter_ == 4
        assert isinstance(one.net_.module_.encoder[0], StackedLinear)
    assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
    changed = (member_embeddings(clf, X) - first).abs().amax(dim=(1, 2))
    assert (changed > 1e-3).all(), "every member goes on"


@every_ensemble
def test_chunks_teach_every_member(make: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = ensemble(make).partial_fit(X[:100], Y[:100])
    first = member_embeddings(clf, X)
    clf.partial_fit(X[100:], Y[100:])
    assert clf.n_iter_ == 2
    changed = (member_embeddings(clf, X) - first).abs().amax(dim=(1, 2))
    assert (changed > 1e-3).all()
    assert clf.predict(X).shape == Y.shape


def test_a_warm_start_without_the_contrastive_loss_is_one_by_the_joint_loss(
    label_data: Any,
) -> None:
    """By steps too short to move a weight the loss is seen; by others encoder and head learn."""
    X, Y = label_data
    clf = plain(
        CONTRASTIVE, warm_start=True, dropout=0, feature_noise=0, batch_size=len(X)
    ).fit(X.astype(np.float32), Y)  # fmt: skip
    clf.set_params(lambda_contrastive=0.0, lambda_joint=1.5, max_epochs=1, learning_rate=1e-12)
    z, prototypes = clf.decision_function(X), clf.prototypes_
    losses = clf.fit(X, Y).history_["train_loss"]
    assert clf.n_iter_ == len(losses) == 4
    joint = (np.logaddexp(0, z) - Y * z).sum(axis=1).mean()
    assert losses[-1] == pytest.approx(1.5 * joint, rel=1e-4)
    embedding = clf.transform(X)
    clf.set_params(learning_rate=1e-3, max_epochs=5).fit(X, Y)
    assert np.abs(clf.transform(X) - embedding).max() > 1e-2
    assert np.diff(clf.history_["train_loss"][-5:]).max() < 0
    assert_array_equal(clf.prototypes_, prototypes)


def test_a_warm_start_takes_the_weights_of_all_terms(label_data: Any) -> None:
    weights = {"lambda_bce": 0.5, "lambda_kl": 0.1, "lambda_contrastive": 1.0}
    clf = small(CGMVAEClassifier, warm_start=True, max_epochs=1, batch_size=200, **weights)
    clf.fit(*label_data)
    later = {"lambda_bce": 0.2, "lambda_kl": 2.0, "lambda_contrastive": 0.0}
    history = clf.set_params(**later).fit(*label_data).history_
    for epoch, of_terms in enumerate((weights, later)):
        terms = [w * history[name.removeprefix("lambda_")][epoch] for name, w in of_terms.items()]
        assert history["train_loss"][epoch] == pytest.approx(sum(terms), rel=1e-5)


@every_ensemble
@pytest.mark.parametrize("validation", ["folds", 0.25])
def test_the_members_end_with_the_epoch_that_was_chosen(
    make: Any, validation: Any, label_data: Any
) -> None:
    """By steps so long that an early epoch wins: the fit is one of so many epochs."""
    X, Y = label_data
    changes = {"n_estimators": 4, "validation": validation, "learning_rate": 0.03}
    changes |= {"dropout": 0.0, "feature_noise": 0.0}
    clf = ensemble(make, max_epochs=40, **changes).fit(X, Y)
    assert clf.n_iter_ in (5, 10, 20) and len(clf.history_["valid_loss"]) > clf.n_iter_
    short = ensemble(make, max_epochs=clf.n_iter_, early_stopping=False, **changes).fit(X, Y)
    assert_array_equal(clf.transform(X), short.transform(X))
    assert_array_equal(clf.oof_proba_, short.oof_proba_)


# ---------------------------------------------------------------------- as they are shipped


@every_ensemble
def test_all_defaults(make: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = make(random_state=0).fit(X[:150], Y[:150])
    assert clf.n_iter_ in [share * AUTO_EPOCHS for share in EPOCH_SHARES]
    assert clf.net_.batch_size == 32
    assert clf.n_estimators == clf.net_.n_members == 4
    n_embedding = 4 * clf.hidden_layer_sizes[-1]
    assert clf.predictor_.head.weight.shape == (Y.shape[1], n_embedding)
    assert clf.transform(X[:3]).shape == (3, n_embedding)
    assert f1_score(Y[150:], clf.predict(X[150:]), average="micro") > 0.65
