"""The training room, unit by unit: batches, schedules, optimisers, the net, the runtime."""

from __future__ import annotations

import functools
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from skorch.callbacks import Callback
from skorch.history import History
from torch import nn

from sklearn_mlcl import MultiLabelMLPClassifier, load
from sklearn_mlcl.losses import (
    CONTRASTIVE_LOSSES,
    AsymmetricLoss,
    BinaryCrossEntropyLoss,
    MemoryQueue,
)
from sklearn_mlcl.modules import MLPEncoder, ProjectionHead
from sklearn_mlcl.modules._encoder import linear_head
from sklearn_mlcl.training import (
    OPTIMIZERS,
    SCHEDULES,
    ContrastiveObjective,
    IndexBatches,
    IndexBatchNet,
    LogitObjective,
    RowTensors,
)
from sklearn_mlcl.training.callbacks import epoch_log
from sklearn_mlcl.training.optimizers import make_optimizer, parameter_groups
from sklearn_mlcl.utils.fit_data import FitData
from tests.small import every_net, small

CPU = torch.device("cpu")


def numbered_rows(n: int) -> RowTensors:
    """Row i has feature i, label i % 2 and weight i."""
    i = np.arange(n, dtype=float)
    return RowTensors(FitData(i[:, None], (i % 2)[:, None], i), CPU)


def seeds(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------------- batches


@given(n=st.integers(1, 40), batch_size=st.integers(1, 12), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_an_epoch_shows_each_row_once(n: int, batch_size: int, seed: int) -> None:
    batches = IndexBatches(numbered_rows(n), batch_size, seeds(seed))
    epoch = list(batches)
    assert len(epoch) == len(batches)
    sizes = [len(X) for X, _ in epoch]
    assert all(size == batch_size for size in sizes[:-1])
    lone_row = batch_size > 1 and n > 1 and n % batch_size == 1
    shown = torch.cat([X for X, _ in epoch]).ravel()
    assert len(shown) == len(set(shown.tolist())) == n - lone_row
    for X, (Y, weight) in epoch:
        assert_array_equal(Y, X % 2 == 1)
        assert_array_equal(weight, X.ravel())


def test_the_lone_row_left_out_changes() -> None:
    batches = IndexBatches(numbered_rows(9), 4, seeds(0))
    left_out = set()
    for _ in range(40):
        shown = torch.cat([X for X, _ in batches]).ravel().tolist()
        left_out |= set(range(9)) - {int(row) for row in shown}
    assert left_out == set(range(9))


def test_without_a_generator_all_rows_come_in_order() -> None:
    shown = [X.ravel().tolist() for X, _ in IndexBatches(numbered_rows(9), 4)]
    assert shown == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]


def test_the_generator_decides_the_order() -> None:
    def two_epochs(seed: int) -> list[torch.Tensor]:
        batches = IndexBatches(numbered_rows(30), 8, seeds(seed))
        return [torch.cat([X for X, _ in batches]) for _ in range(2)]

    torch.manual_seed(0)
    first = two_epochs(3)
    torch.manual_seed(1)
    again, other = two_epochs(3), two_epochs(4)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("as_csr", [sp.csr_matrix, sp.csr_array])
def test_csr_batches_equal_dense_batches(as_csr: Any) -> None:
    rng = np.random.default_rng(0)
    X = np.where(rng.random((23, 7)) < 0.3, rng.normal(size=(23, 7)), 0)
    Y = (rng.random((23, 3)) < 0.4).astype(float)
    dense, sparse = RowTensors(FitData(X, Y), CPU), RowTensors(FitData(as_csr(X), as_csr(Y)), CPU)
    pairs = zip(IndexBatches(dense, 5, seeds(0)), IndexBatches(sparse, 5, seeds(0)), strict=True)
    for (X_dense, (Y_dense, _)), (X_sparse, (Y_sparse, weight)) in pairs:
        assert X_dense.dtype == X_sparse.dtype == torch.float32
        assert Y_dense.dtype == Y_sparse.dtype == torch.bool
        assert torch.equal(X_dense, X_sparse) and torch.equal(Y_dense, Y_sparse)
        assert weight is None


def test_missing_labels_stay_missing() -> None:
    Y = np.array([[0.0, np.nan], [1.0, 0.0]])
    _, (labels, _) = RowTensors(FitData(np.zeros((2, 1)), Y), CPU).rows(torch.tensor([1, 0]))
    assert labels.dtype == torch.float32
    assert_array_equal(labels, Y[::-1])


# ---------------------------------------------------------------------- schedules, optimisers


def test_schedules_start_peak_and_end() -> None:
    one_cycle, cosine, constant = (
        partial(SCHEDULES[name], epoch=0) for name in ("one_cycle", "cosine", "constant")
    )
    assert_allclose([one_cycle(p) for p in (0.0, 0.15, 0.3, 0.65)], [0.04, 0.52, 1.0, 0.5])
    assert_allclose([cosine(p) for p in (0.0, 0.25, 0.5)], [1.0, (1 + math.sqrt(0.5)) / 2, 0.5])
    assert_allclose([one_cycle(1.0), cosine(1.0)], 0, atol=1e-12)
    assert {constant(p) for p in (0.0, 0.5, 1.0)} == {1.0}
    values = np.array([one_cycle(p) for p in np.linspace(0, 1, 101)])
    assert (np.diff(values[:31]) > 0).all() and (np.diff(values[30:]) < 0).all()


def test_warm_restarts_of_the_released_cgmvae() -> None:
    """Learning rates in epochs 1, 25, 50, 51, 75 and 90, in thousandths, whatever the progress."""
    factor = SCHEDULES["warm_restarts"]
    rates = [2 * factor(epoch / 100, epoch - 1) for epoch in (1, 25, 50, 51, 75, 90)]
    assert_allclose(rates, [2.0, 1.16, 0.202, 2.0, 1.76, 1.41], atol=0.006)
    assert factor(0.0, 150) == 1.0 and factor(0.0, 149) < 0.101


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_steps_follow_the_schedule(schedule: str) -> None:
    """Three epochs of four steps: step k is taken at k / 12 of the schedule."""
    rates: list[float] = []

    class Rates(Callback):
        def on_grad_computed(self, net: Any, **kwargs: Any) -> None:
            rates.extend({group["lr"] for group in net.optimizer_.param_groups})

    net = small_net(callbacks=[Rates()], lr=0.02)
    train(net, small_rows(), max_epochs=3, schedule=schedule)
    assert_allclose(rates, [0.02 * SCHEDULES[schedule](k / 12, k // 4) for k in range(12)])


def test_matrices_decay_and_vectors_do_not() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    decayed, undecayed = parameter_groups(module.parameters(), 0.1)
    assert decayed["weight_decay"] == 0.1 and undecayed["weight_decay"] == 0
    assert [p.shape for p in decayed["params"]] == [(4, 3)]
    assert [p.shape for p in undecayed["params"]] == [(4,), (4,), (4,)]
    assert len(parameter_groups([nn.Parameter(torch.zeros(2))], 0.1)) == 1


@pytest.mark.parametrize(
    ("optimizer", "expected", "fused"),
    [
        ("adamw", OPTIMIZERS["adamw"], True),
        (torch.optim.AdamW, torch.optim.AdamW, True),
        ("adam", torch.optim.Adam, True),
        ("sgd", torch.optim.SGD, True),
        (torch.optim.RMSprop, torch.optim.RMSprop, None),
        (functools.partial(torch.optim.SGD, momentum=0.9), torch.optim.SGD, None),
    ],
)
def test_optimizers_by_name_by_class_and_by_what_makes_one(
    optimizer: Any, expected: Any, fused: Any
) -> None:
    made = make_optimizer(optimizer, nn.Linear(2, 2).parameters(), 0.3, 0.1)
    assert type(made) is expected
    assert {group["lr"] for group in made.param_groups} == {0.3}
    assert made.defaults.get("fused") is fused


def test_what_makes_no_optimizer() -> None:
    with pytest.raises(ValueError, match="optimizer must make an optimizer of torch, got int"):
        make_optimizer(lambda groups, lr: 3, nn.Linear(2, 2).parameters(), 0.3, 0.1)


def stepped(factory: Any, options: dict[str, Any], frozen: bool) -> tuple[list[Any], Any]:
    """Weights after five steps, and the state of the optimizer."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    net[0].bias.requires_grad_(not frozen)
    optimizer = make_optimizer(factory, net.parameters(), 0.1, 0.3, **options)
    for _ in range(5):
        optimizer.zero_grad()
        net(torch.randn(6, 3)).square().sum().backward()
        optimizer.step()
    return [p.detach() for p in net.parameters()], optimizer.state_dict()


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"betas": (0.5, 0.6), "eps": 1e-3}, {"maximize": True}, {"amsgrad": True}],
    ids=str,
)
def test_fused_steps_are_those_of_torch(options: dict[str, Any], frozen: bool) -> None:
    """It fails where a newer torch has another kernel: mend ``training/_torch_compat.py``."""
    weights, state = stepped("adamw", options, frozen)
    expected_weights, expected_state = stepped(torch.optim.AdamW, options, frozen)
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=0)
    torch.testing.assert_close(state, expected_state, rtol=0, atol=0)


def test_the_optimizer_and_its_options_arrive(label_data: Any) -> None:
    options = {"optimizer": "adam", "optimizer_params": {"betas": (0.5, 0.6)}}
    optimizer = small(MultiLabelMLPClassifier, net_params=options).fit(*label_data).net_.optimizer_
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.defaults["betas"] == (0.5, 0.6)


# ---------------------------------------------------------------------- the net

N_ROWS, N_FEATURES, N_LABELS, BATCH_SIZE = 64, 6, 3, 16


def small_rows(seed: int = 0) -> RowTensors:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N_ROWS, N_FEATURES))
    return RowTensors(FitData(X, X[:, :N_LABELS] + X[:, N_LABELS:] > 0), CPU)


def bce_objective() -> nn.Module:
    return LogitObjective(linear_head(8, np.zeros(N_LABELS)), BinaryCrossEntropyLoss())


def contrastive_objective(loss: str = "reg", **options: Any) -> ContrastiveObjective:
    made = CONTRASTIVE_LOSSES[loss](temperature=0.2, lambda_reg=1.0)
    prototypes = nn.init.xavier_uniform_(torch.empty(N_LABELS, 4))
    return ContrastiveObjective(
        made,
        ProjectionHead(8, 4),
        linear_head(8, np.zeros(N_LABELS)),
        **{"prototypes": prototypes, "lambda_joint": 0.5, **options},
    )


def small_net(make_objective: Any = bce_objective, dropout: float = 0.3, **options: Any) -> Any:
    torch.manual_seed(0)
    module = MLPEncoder(N_FEATURES, (8, 8), dropout=dropout)
    options = {"lr": 0.01, "weight_decay": 0.1, "batch_size": BATCH_SIZE, "verbose": 0, **options}
    return IndexBatchNet(module, make_objective(), **options).initialize()


def train(net: Any, rows: RowTensors, valid: Any = None, **options: Any) -> None:
    """Train under fixed seeds of the dropout and of the permutations."""
    torch.manual_seed(1)
    options = {"max_epochs": 2, "schedule": "one_cycle", "generator": seeds(2), **options}
    net.train_rows(rows, valid, **options)


def hand_written_loop(module: nn.Module, objective: nn.Module, rows: RowTensors) -> list[float]:
    """Two epochs as one writes them by hand; returns the losses of the epochs."""
    torch.manual_seed(1)
    parameters = [*module.parameters(), *objective.parameters()]
    matrices = [p for p in parameters if p.ndim == 2]
    vectors = [p for p in parameters if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0}],
        lr=0.01,
        fused=True,
    )
    n_steps = 2 * N_ROWS // BATCH_SIZE
    generator, step, losses = seeds(2), 0, []
    for _ in range(2):
        total = 0.0
        for index in torch.randperm(N_ROWS, generator=generator).split(BATCH_SIZE):
            p = step / n_steps
            if p < 0.3:
                factor = 0.04 + 0.96 * (1 - math.cos(math.pi * p / 0.3)) / 2
            else:
                factor = (1 + math.cos(math.pi * (p - 0.3) / 0.7)) / 2
            for group in optimizer.param_groups:
                group["lr"] = 0.01 * factor
            optimizer.zero_grad()
            loss = objective(module(rows.X[index]), rows.Y[index], None)
            loss.backward()
            optimizer.step()
            step += 1
            total += loss.item() * len(index)
        losses.append(total / N_ROWS)
    return losses


@pytest.mark.parametrize("make_objective", [bce_objective, contrastive_objective])
def test_two_epochs_equal_a_hand_written_loop(make_objective: Any) -> None:
    rows = small_rows()
    net, twin = small_net(make_objective), small_net(make_objective)
    train(net, rows)
    losses = hand_written_loop(twin.module_, twin.criterion_, rows)
    ours, theirs = (list(n.get_all_learnable_params()) for n in (net, twin))
    for (name, weight), (_, expected) in zip(ours, theirs, strict=True):
        assert_allclose(weight.detach(), expected.detach(), rtol=1e-6, atol=1e-7, err_msg=name)
    assert_allclose(net.history[:, "train_loss"], losses, rtol=1e-6)
    assert [len(epoch["batches"]) for epoch in net.history] == [1, 1], "epochs, not batches"


def test_the_validation_loss_is_that_of_all_rows_without_dropout() -> None:
    net, valid = small_net(), small_rows(seed=1)
    train(net, small_rows(), valid)
    X, (Y, _) = valid.rows(torch.arange(N_ROWS))
    net.module_.eval()
    with torch.no_grad():
        expected = nn.functional.binary_cross_entropy_with_logits(
            net.criterion_.head(net.module_(X)), Y.float()
        )
    assert_allclose(net.history[-1, "valid_loss"], expected, rtol=1e-5)


def test_an_error_takes_the_epochs_back() -> None:
    """Weights, moments of the optimizer and history, even if the block exchanges the optimizer."""
    net, undisturbed, rows = small_net(), small_net(), small_rows()
    train(net, rows)
    train(undisturbed, rows)
    optimizer = net.optimizer_
    with pytest.raises(ZeroDivisionError), net.kept_on_error():
        train(net, rows)
        net.initialize_optimizer()
        train(net, rows)
        raise ZeroDivisionError
    assert net.optimizer_ is optimizer and len(net.history) == 2
    for one in (net, undisturbed):
        train(one, rows)
    for (_, weight), (_, expected) in zip(
        net.get_all_learnable_params(), undisturbed.get_all_learnable_params(), strict=True
    ):
        assert torch.equal(weight, expected)


def test_the_log_has_a_value_for_every_epoch() -> None:
    assert epoch_log(History()) == {}
    history = History()
    for loss in (0.5, None):
        history.new_epoch()
        history.new_batch()
        history.record("epoch", len(history))
        if loss is not None:
            history.record("train_loss", loss)
    log = epoch_log(history)
    assert list(log) == ["epoch", "train_loss"]
    assert_array_equal(log["epoch"], [1, 2])
    assert_array_equal(log["train_loss"], [0.5, np.nan])


# ---------------------------------------------------------------------- objectives


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(10, 8), torch.rand(10, N_LABELS) < 0.5


@pytest.mark.parametrize("lambda_contrastive", [0.0, 1.3])
@pytest.mark.parametrize("lambda_joint", [0.0, 0.7])
def test_the_terms_of_the_contrastive_objective(
    lambda_contrastive: float, lambda_joint: float
) -> None:
    """The contrastive loss, and the joint one summed over the labels, by their weights."""
    embedding, labels = batch()
    torch.manual_seed(0)
    objective = contrastive_objective(
        lambda_contrastive=lambda_contrastive,
        lambda_joint=lambda_joint,
        joint_loss=AsymmetricLoss(),
    )
    weight = torch.rand(10)
    contrastive = objective.loss(
        objective.projection(embedding),
        labels,
        prototypes=objective.prototypes,
        sample_weight=weight,
    )
    joint = AsymmetricLoss()(objective.head(embedding), labels, weight)
    expected = lambda_contrastive * contrastive + lambda_joint * N_LABELS * joint
    assert_allclose(objective(embedding, labels, weight).item(), expected.item(), rtol=1e-6)


def test_a_term_of_no_weight_trains_nothing_and_queues_nothing() -> None:
    embedding, labels = batch()
    queue = MemoryQueue(20, 4, N_LABELS, label_dtype=torch.bool)
    objective = contrastive_objective(lambda_contrastive=0.0, queue=queue)
    objective(embedding, labels, None).backward()
    trained = {name for name, p in objective.named_parameters() if p.grad is not None}
    assert trained == {"head.weight", "head.bias"} and len(queue) == 0


def test_the_queue_fills_while_training_and_changes_the_loss() -> None:
    embedding, labels = batch()
    objective = contrastive_objective(
        "any",
        prototypes=None,
        lambda_joint=0.0,
        queue=MemoryQueue(20, 4, N_LABELS, label_dtype=torch.bool),
    )
    objective.eval()
    alone = objective(embedding, labels, None)
    assert len(objective.queue) == 0
    objective.train()
    assert torch.equal(objective(embedding, labels, None), alone)
    assert len(objective.queue) == 10
    projection = objective.projection(embedding)
    expected = objective.loss(projection, labels, queue=projection, queue_labels=labels)
    assert_allclose(objective(embedding, labels, None).item(), expected.item(), rtol=1e-6)


# ---------------------------------------------------------------------- fine-tuning


@every_net
def test_a_learning_rate_of_the_encoder(make: Any, label_data: Any) -> None:
    """The schedule multiplies both rates."""
    seen: list[list[float]] = []

    class Rates(Callback):
        def on_batch_end(self, net: Any, training: bool, **kwargs: Any) -> None:
            if training:
                own = {id(p) for p in net.module_.parameters()}
                groups = net.optimizer_.param_groups
                rates = {id(g["params"][0]) in own: g["lr"] for g in groups}
                seen.append([rates[True], rates.get(False, 2 * rates[True])])

    rare = {"net_params__schedule": "one_cycle", "net_params__encoder_lr": 0.001}
    clf = small(make, learning_rate=0.002, callbacks=[Rates()], **rare).fit(*label_data)
    rates = np.array(seen)
    assert_allclose(rates[:, 1], 2 * rates[:, 0])
    assert np.ptp(rates[:, 0]) > 0 and rates[:, 0].max() <= 0.001
    continued = clf.set_params(warm_start=True, net_params__encoder_lr=0.0005)
    seen.clear()
    continued.fit(*label_data)
    assert 0 < np.max(seen, axis=0)[0] <= 0.0005


def test_equal_rates_change_nothing(label_data: Any) -> None:
    X, Y = label_data
    clf = small(MultiLabelMLPClassifier, learning_rate=0.01)
    expected = clf.fit(X, Y).predict_proba(X)
    alike = clf.set_params(net_params__encoder_lr=0.01).fit(X, Y)
    assert_array_equal(alike.predict_proba(X), expected)


@every_net
def test_gradients_are_shortened(make: Any, label_data: Any) -> None:
    norms: list[float] = []

    class Norm(Callback):
        def on_batch_end(self, net: Any, training: bool, **kwargs: Any) -> None:
            if training:
                parts = [p.grad for g in net.optimizer_.param_groups for p in g["params"]]
                norms.append(float(sum(p.square().sum() for p in parts if p is not None)) ** 0.5)

    small(make, net_params__grad_clip=0.01, callbacks=[Norm()]).fit(*label_data)
    assert_allclose(max(norms), 0.01, rtol=1e-3)
    with pytest.raises(ValueError, match="net_params__grad_clip"):
        small(make, net_params__grad_clip=0.0).fit(*label_data)


class HalfFrozen(nn.Module):
    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.frozen, self.free = nn.Linear(n_features, 8), nn.Linear(8, 4)
        self.frozen.requires_grad_(False)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.free(torch.relu(self.frozen(X)))


def test_frozen_layers_stay_and_cost_nothing(label_data: Any, tmp_path: Any) -> None:
    clf = small(MultiLabelMLPClassifier, module=HalfFrozen, scale_input=False, n_estimators=1)
    clf.set_params(net_params__encoder_lr=0.01, early_stopping=True, max_epochs=8)
    clf.fit(*label_data)
    first = clone(clf).set_params(max_epochs=1).fit(*label_data)
    module, other = clf.net_.module_, first.net_.module_
    assert torch.equal(module.frozen.weight, other.frozen.weight)
    assert not torch.equal(module.free.weight, other.free.weight)
    trained = {id(p) for g in clf.net_.optimizer_.param_groups for p in g["params"]}
    assert not trained & {id(p) for p in module.frozen.parameters()}
    assert len(clf.net_.optimizer_.state) == len(trained)
    kept = clf.net_.weights_now()[0]
    assert kept["frozen.weight"].data_ptr() == module.frozen.weight.data_ptr()
    clf.save(tmp_path / "model")
    loaded = load(tmp_path / "model", module=HalfFrozen)
    loaded.partial_fit(*label_data)
    assert torch.equal(loaded.net_.module_.frozen.weight, module.frozen.weight)


def test_a_budget_of_time(label_data: Any, monkeypatch: Any) -> None:
    """Epochs of ten seconds: three end within 35 seconds, and one within any."""
    monkeypatch.setattr(
        "sklearn_mlcl.training.callbacks.time.monotonic", lambda: 10.0 * len(epochs)
    )

    class Counts(Callback):
        def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
            epochs.append(1)

    for seconds, expected in ((35.0, 3), (30.0, 3), (1.0, 1), (1e9, 6)):
        epochs: list[int] = []
        clf = small(MultiLabelMLPClassifier, max_epochs=6, early_stopping=False)
        clf.set_params(callbacks=[Counts()], net_params__max_seconds=seconds)
        assert clf.fit(*label_data).n_iter_ == expected
