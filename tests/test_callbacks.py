"""Callbacks of skorch and of scikit-learn see the training and can stop it."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    LoadInitState,
    LRScheduler,
)

from sklearn_mlcl import MultiLabelMLPClassifier, load
from sklearn_mlcl.training.callbacks import EpochChoice
from tests.small import every_ensemble, every_net, small, with_sklearn_callbacks


def net_of(make: Any, **changes: Any) -> Any:
    """Return a net of four epochs of four batches at one learning rate."""
    four = {"max_epochs": 4, "batch_size": 50, "net_params__schedule": "constant"}
    return small(make, **four | changes)


class Watcher(Callback):
    """Write down what happens; stop at an event of the epoch given."""

    def __init__(self, stop_at: int | None = None, event: str = "on_epoch_end") -> None:
        self.stop_at = stop_at
        self.event = event

    def initialize(self) -> Watcher:
        self.counts_: Counter = Counter()
        self.losses_: list[float] = []
        self.gradient_norms_: list[float] = []
        return self

    def _note(self, event: str, net: Any) -> None:
        self.counts_[event] += 1
        if event == self.event and len(net.history) == self.stop_at:
            raise KeyboardInterrupt

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        self._note("on_train_begin", net)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        self._note("on_train_end", net)

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        self._note("on_epoch_begin", net)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        self.losses_.append(net.history[-1, "train_loss"])
        self._note("on_epoch_end", net)

    def on_grad_computed(self, net: Any, named_parameters: Any, **kwargs: Any) -> None:
        gradients = [p.grad.flatten() for _, p in named_parameters if p.grad is not None]
        self.gradient_norms_.append(torch.cat(gradients).norm().item())

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        self._note("on_batch_end", net)


# ---------------------------------------------------------------------- the choice of the epoch


class NetOfLosses:
    """A net whose weights are the number of its epoch, counted from 1, with a loss for each."""

    def __init__(self, losses: list[float]) -> None:
        self.losses = losses
        self.epoch = self.weights = 0

    averaged = staticmethod(nullcontext)

    def weights_now(self) -> int:
        return self.epoch

    def put_weights(self, weights: int) -> None:
        self.weights = weights

    def trained(self, choice: EpochChoice, n_epochs: int) -> int:
        """Return the number of epochs trained; somebody else stops after ``n_epochs``."""
        choice.on_train_begin(self)
        for self.epoch in range(1, n_epochs + 1):
            try:
                choice.on_epoch_end(self)
            except KeyboardInterrupt:
                break
        self.weights = self.epoch
        choice.on_train_end(self)
        return self.epoch


LOSSES = st.lists(st.floats(0.1, 1), min_size=1, max_size=12)


@given(LOSSES, st.sets(st.integers(1, 12)), st.floats(0, 0.5))
def test_the_longest_training_within_the_margin_wins(
    losses: list[float], epochs: set[int], margin: float
) -> None:
    net = NetOfLosses(losses)
    choice = EpochChoice(lambda net: net.losses[net.epoch - 1], sorted(epochs), margin)
    n_trained = net.trained(choice, len(losses))
    compared = sorted(e for e in epochs if e <= n_trained)
    if compared:
        compared = sorted({*compared, n_trained})
        bound = (1 + margin) * min(losses[e - 1] for e in compared)
        best = max(e for e in compared if losses[e - 1] <= bound)
        assert choice.best_epoch_ == net.weights == best
        assert choice.losses_ == {e: losses[e - 1] for e in compared}
        # It ends early at the first compared epoch that loses, and at no other.
        losing = [
            e for e in epochs if e <= n_trained
            and losses[e - 1] > (1 + margin) * min(losses[i - 1] for i in epochs if i <= e)
        ]  # fmt: skip
        assert losing in ([], [n_trained]) and (losing or n_trained == len(losses))
    else:
        assert (choice.best_epoch_, net.weights) == (0, n_trained)


@given(LOSSES, st.integers(1, 4))
def test_patience_is_counted_from_the_first_smallest_loss(
    losses: list[float], patience: int
) -> None:
    net = NetOfLosses(losses)
    choice = EpochChoice(lambda net: net.losses[net.epoch - 1], patience=patience)
    n_trained = net.trained(choice, len(losses))
    best = max(i for i, loss in enumerate(losses[:n_trained], 1) if loss == min(losses[:n_trained]))
    assert choice.best_epoch_ == net.weights == best
    first = losses[:n_trained].index(min(losses[:n_trained])) + 1
    assert n_trained == min(first + patience, len(losses))


# ---------------------------------------------------------------------- skorch


@every_ensemble
def test_a_callback_sees_every_event_and_all_losses(make: Any, label_data: Any) -> None:
    watcher = Watcher()
    clf = net_of(make, callbacks=[watcher], validation=None).fit(*label_data)
    assert watcher.counts_ == {
        "on_train_begin": 1,
        "on_epoch_begin": 4,
        "on_batch_end": 16,
        "on_epoch_end": 4,
        "on_train_end": 1,
    }
    assert_array_equal(watcher.losses_, clf.history_["train_loss"])


@every_ensemble
def test_a_callback_stops_the_training(make: Any, label_data: Any) -> None:
    """What is left is the fit of two epochs, and all callbacks have seen both."""
    X, Y = label_data
    first, second = Watcher(stop_at=2), Watcher()
    clf = net_of(make, callbacks=[first, second]).fit(X, Y)
    assert clf.n_iter_ == len(clf.history_["train_loss"]) == 2
    assert second.losses_ == first.losses_
    assert second.counts_["on_train_end"] == 1
    short = net_of(make, max_epochs=2).fit(X, Y)
    assert_array_equal(clf.predict_proba(X), short.predict_proba(X))


@every_ensemble
def test_a_callback_stops_inside_an_epoch(make: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = net_of(make, callbacks=[Watcher(stop_at=2, event="on_batch_end")])
    losses = clf.fit(X, Y).history_["train_loss"]
    assert np.isfinite(losses[0]) and np.isnan(losses[1]) and len(losses) == 2
    assert np.isfinite(clf.predict_proba(X)).all()


def test_an_interrupt_outside_the_epochs_passes_on(label_data: Any) -> None:
    clf = net_of(MultiLabelMLPClassifier, callbacks=[Watcher(stop_at=0, event="on_train_begin")])
    with pytest.raises(KeyboardInterrupt):
        clf.fit(*label_data)
    assert not hasattr(clf, "net_")


@every_ensemble
def test_early_stopping_of_skorch_on_our_validation_rows(make: Any, label_data: Any) -> None:
    stopper = EarlyStopping(patience=2, threshold=0.99)
    clf = net_of(make, callbacks=[stopper], early_stopping=False).fit(*label_data)
    assert clf.n_iter_ == len(clf.history_["valid_loss"]) == 3


@every_net
def test_monitors_of_held_out_samples_where_there_are_none(make: Any, label_data: Any) -> None:
    for callback in (EarlyStopping(), Checkpoint(dirname="unused")):
        clf = net_of(make, callbacks=[callback], validation=None)
        with pytest.raises(ValueError, match=r"monitors 'valid_loss.*Set validation=0.1"):
            clf.fit(*label_data)
        with pytest.raises(ValueError, match="partial_fit holds out none"):
            clf.partial_fit(*label_data)


@every_ensemble
def test_gradient_clipping_of_skorch(make: Any, label_data: Any) -> None:
    """Each callback reads all gradients, and those behind the clipping read short ones."""
    before, after = Watcher(), Watcher()
    callbacks = [("before", before), ("clip", GradientNormClipping(0.01)), ("after", after)]
    net_of(make, callbacks=callbacks).fit(*label_data)
    assert len(before.gradient_norms_) == 16 and min(before.gradient_norms_) > 0.01
    assert_allclose(after.gradient_norms_, 0.01, rtol=1e-3)


def test_learning_rate_scheduler_of_skorch(label_data: Any) -> None:
    scheduler = LRScheduler("StepLR", step_size=1, gamma=0.5)
    clf = net_of(MultiLabelMLPClassifier, learning_rate=0.01, callbacks=[scheduler])
    clf.fit(*label_data)
    assert_allclose(clf.history_["event_lr"], 0.01 * 0.5 ** np.arange(4))
    clf.set_params(net_params__schedule="one_cycle")
    with pytest.raises(ValueError, match=r"LRScheduler.*use schedule='constant'"):
        clf.fit(*label_data)


def test_batchwise_learning_rate_scheduler_of_skorch(label_data: Any) -> None:
    scheduler = LRScheduler("StepLR", step_size=1, gamma=0.5, step_every="batch")
    clf = net_of(MultiLabelMLPClassifier, learning_rate=0.01, callbacks=[scheduler])
    clf.fit(*label_data)
    rates = [group["lr"] for group in clf.net_.optimizer_.param_groups]
    assert_allclose(rates, 0.01 * 0.5**16)


@every_ensemble
def test_checkpoint_of_skorch_loads_what_it_saved(
    make: Any, label_data: Any, tmp_path: Any
) -> None:
    X, Y = label_data
    second_epoch = Checkpoint(
        monitor=lambda net: len(net.history) == 2, dirname=tmp_path, load_best=True
    )
    clf = net_of(make, callbacks=[second_epoch], early_stopping=False).fit(X, Y)
    short = net_of(make, max_epochs=2).fit(X, Y)
    assert clf.n_iter_ == short.n_iter_ == 2
    assert_array_equal(clf.predict_proba(X), short.predict_proba(X))


def test_a_fit_begins_from_a_checkpoint_of_skorch(label_data: Any, tmp_path: Any) -> None:
    X, Y = label_data
    kept = Checkpoint(monitor=None, dirname=tmp_path)
    options = {"early_stopping": False, "net_params__schedule": "constant"}
    first = net_of(MultiLabelMLPClassifier, callbacks=[kept], **options).fit(X, Y)
    begins = LoadInitState(Checkpoint(dirname=tmp_path))
    second = net_of(MultiLabelMLPClassifier, callbacks=[begins], max_epochs=2, **options).fit(X, Y)
    assert_array_equal(second.history_["train_loss"][:4], first.history_["train_loss"])
    assert second.n_iter_ == len(second.history_["train_loss"]) == 6


@with_sklearn_callbacks
def test_a_callback_of_scikit_learn_saves_what_it_is_given(label_data: Any, tmp_path: Any) -> None:
    X, Y = label_data
    tasks = EpochTasks()
    net_of(MultiLabelMLPClassifier).set_callbacks(tasks).fit(X, Y)
    tasks.fitted[1].save(tmp_path / "second")
    short = net_of(MultiLabelMLPClassifier, max_epochs=2).fit(X, Y)
    assert_array_equal(load(tmp_path / "second").predict_proba(X), short.predict_proba(X))


def test_the_default_monitor_of_checkpoints(label_data: Any, tmp_path: Any) -> None:
    clf = net_of(MultiLabelMLPClassifier, callbacks=[Checkpoint(dirname=tmp_path)])
    losses = clf.fit(*label_data).history_["valid_loss"]
    running_best = np.minimum.accumulate(losses)
    expected = losses < np.concatenate([[np.inf], running_best[:-1]])
    assert_array_equal(clf.history_["valid_loss_best"], expected)
    assert_array_equal(clf.history_["event_cp"], expected)
    assert (tmp_path / "params.pt").exists()


def test_freezing_and_scoring_of_skorch(label_data: Any) -> None:
    X, Y = label_data

    def spread(net: Any, rows: Any, y: Any) -> float:
        return net.module_(rows.X).std().item()

    scoring = EpochScoring(spread, name="spread", on_train=True, use_caching=False)
    clf = net_of(MultiLabelMLPClassifier, callbacks=[Freezer("encoder.0.*"), scoring])
    clf.fit(X, Y)
    frozen = clf.net_.module_.encoder[0].weight
    one = net_of(MultiLabelMLPClassifier, max_epochs=1, callbacks=[Freezer("encoder.0.*")])
    assert_array_equal(frozen.detach(), one.fit(X, Y).net_.module_.encoder[0].weight.detach())
    assert clf.history_["spread"].shape == (4,)
    assert (clf.history_["spread"] > 0).all()


@every_ensemble
def test_each_held_out_sample_is_scored_once(make: Any, label_data: Any) -> None:
    """Folds of groups differ in size."""
    X, Y = label_data
    groups = np.repeat([0, 1, 2, 3], [150, 40, 8, 2])
    scored = []

    def score(net: Any, rows: Any, y: np.ndarray) -> float:
        scored.append(y)
        return f1_score(y, net.predict(rows), average="micro")

    own = EpochScoring(score, name="own", lower_is_better=False)
    clf = net_of(make, n_estimators=4, batch_size=32, callbacks=[own])
    clf.fit(X, Y, groups=groups)
    assert_array_equal(np.sort(scored[0] @ [1, 2, 4, 8, 16]), np.sort(Y @ [1, 2, 4, 8, 16]))
    assert_allclose(clf.history_["own"], clf.history_["valid_f1_micro"])


@pytest.mark.parametrize(
    "scoring",
    [
        EpochScoring("f1_micro", on_train=True),
        BatchScoring("f1_micro"),
        BatchScoring("f1_micro", on_train=True),
    ],
)
def test_batches_of_a_training_cannot_be_scored(scoring: Any, label_data: Any) -> None:
    for callback in (scoring, ("own", scoring)):
        with pytest.raises(ValueError, match=rf"callbacks must .* got a {type(scoring).__name__}"):
            net_of(MultiLabelMLPClassifier, callbacks=[callback]).fit(*label_data)


def test_verbose_prints_a_line_an_epoch(label_data: Any, capsys: Any) -> None:
    clf = net_of(MultiLabelMLPClassifier, verbose=1).fit(*label_data)
    printed = capsys.readouterr().out
    assert "train_loss" in printed
    for epoch, loss in enumerate(clf.history_["train_loss"], start=1):
        line = next(row for row in printed.splitlines() if row.split()[:1] == [str(epoch)])
        assert f"{loss:.4f}" in line


class Clock(Callback):
    """Let every epoch of a training take so many seconds."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = seconds

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        self.now_, self.coming_ = 0.0, iter(self.seconds)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        self.now_ += next(self.coming_)


def shown_left(printed: str) -> list[str]:
    """Return the last column of the lines of epochs."""
    rows = (line.split() for line in printed.splitlines())
    return [" ".join(row[-2:]) for row in rows if row and row[0].isdecimal()]


@pytest.mark.parametrize(
    ("seconds", "settings", "expected"),
    [
        ((10, 10, 10, 10), {}, ["30 s", "20 s", "10 s", "0 s"]),
        ((10, 20, 30, 40), {"n_estimators": 4}, ["30 s", "30 s", "20 s", "0 s"]),
        ((100, 500, 21_000, 8), {}, ["5 min", "10 min", "2.0 h", "0 s"]),
        # As many epochs as end within the budget; the first one in any case.
        ((10, 10, 10, 10), {"net_params__max_seconds": 30}, ["20 s", "10 s", "0 s"]),
        ((10, 5, 10), {"net_params__max_seconds": 30}, ["20 s", "15 s", "0 s"]),
        ((40, 10), {"net_params__max_seconds": 30}, ["0 s"]),
        # What stops early is not foreseen.
        ((10, 10, 10, 10), {"callbacks": [Watcher(stop_at=2)]}, ["30 s", "20 s"]),
        ((10, 10, 10, 10), {"early_stopping": True}, ["30 s", "20 s", "10 s", "0 s"]),
    ],
)
def test_the_time_left_is_shown(
    seconds: Any, settings: Any, expected: list[str], label_data: Any, monkeypatch: Any, capsys: Any
) -> None:
    clock = Clock(*seconds)
    monkeypatch.setattr("sklearn_mlcl.training.progress.time.monotonic", lambda: clock.now_)
    options = {"verbose": 1, "early_stopping": False} | settings
    clf = net_of(MultiLabelMLPClassifier, **options)
    clf.set_params(callbacks=[clock, *(clf.callbacks or [])]).fit(*label_data)
    assert shown_left(capsys.readouterr().out) == expected[: clf.net_.n_epochs_run]
    assert settings.get("early_stopping") or clf.n_iter_ == len(expected)
    clf.set_params(warm_start=True).fit(*label_data)  # counts its own epochs
    assert shown_left(capsys.readouterr().out)[0] == expected[0]


# ---------------------------------------------------------------------- the keyboard


class InterruptedEncoder(torch.nn.Linear):
    """Stands for a user who presses Ctrl-C in the third batch."""

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features, 8)
        self.n_batches = 0

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        self.n_batches += self.training
        if self.n_batches == 3:
            raise KeyboardInterrupt
        return super().forward(X)


@every_ensemble
def test_an_interrupt_from_the_keyboard_leaves_the_old_fit(make: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = net_of(make).fit(X, Y)
    before, losses = clf.predict_proba(X), clf.history_["train_loss"]
    with pytest.raises(KeyboardInterrupt):
        clf.set_params(module=InterruptedEncoder).fit(X, Y)
    assert_array_equal(clf.predict_proba(X), before)
    assert_array_equal(clf.history_["train_loss"], losses)


@every_ensemble
def test_an_interrupted_warm_start_takes_its_steps_back(make: Any, label_data: Any) -> None:
    X, Y = label_data
    clf, undisturbed = (net_of(make, warm_start=True).fit(X, Y) for _ in range(2))
    before = clf.predict_proba(X)
    n_calls = 0

    def interrupt(*args: Any) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 3:
            raise KeyboardInterrupt

    hook = clf.net_.module_.register_forward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, Y)
    hook.remove()
    assert len(clf.net_.history) == clf.n_iter_ == 4
    assert_array_equal(clf.predict_proba(X), before)
    assert_array_equal(clf.fit(X, Y).predict_proba(X), undisturbed.fit(X, Y).predict_proba(X))


# ---------------------------------------------------------------------- scikit-learn


class EpochTasks:
    """A callback after scikit-learn's protocol, handed down by meta-estimators."""

    max_propagation_depth = None

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.begun = 0
        self.fitted: list[Any] = []
        self.is_set_up = False

    def setup(self, estimator: Any, context: Any) -> None:
        self.is_set_up = True

    def teardown(self, estimator: Any, context: Any) -> None:
        self.is_set_up = False

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.begun += context.task_name == "epoch"

    def on_fit_task_end(self, estimator: Any, context: Any, *, fitted_estimator: Any) -> bool:
        if context.task_name != "epoch":
            return False
        self.fitted.append(fitted_estimator)
        return context.task_id + 1 == self.stop_at


@with_sklearn_callbacks
@every_ensemble
def test_a_callback_of_scikit_learn_stops_the_epochs(make: Any, label_data: Any) -> None:
    tasks = EpochTasks(stop_at=2)
    clf = net_of(make).set_callbacks(tasks).fit(*label_data)
    assert clf.n_iter_ == tasks.begun == len(tasks.fitted) == 2
    assert not tasks.is_set_up


@with_sklearn_callbacks
@every_ensemble
def test_fitted_copies_of_every_epoch(make: Any, label_data: Any) -> None:
    """The copy of epoch k is the fit of k epochs, and stays it while the training goes on."""
    X, Y = label_data
    tasks = EpochTasks()
    clf = net_of(make).set_callbacks(tasks).fit(X, Y)
    assert_array_equal(clf.predict_proba(X), net_of(make).fit(X, Y).predict_proba(X))
    for n_epochs, copy in enumerate(tasks.fitted, start=1):
        short = net_of(make, max_epochs=n_epochs).fit(X, Y)
        assert copy.n_iter_ == len(copy.net_.history) == n_epochs
        assert_array_equal(copy.predict_proba(X), short.predict_proba(X))


@with_sklearn_callbacks
def test_every_epoch_ends_for_scikit_learn_whoever_stops(label_data: Any) -> None:
    tasks = EpochTasks()
    clf = net_of(MultiLabelMLPClassifier, callbacks=[Watcher(stop_at=3)]).set_callbacks(tasks)
    clf.fit(*label_data)
    assert tasks.begun == len(tasks.fitted) == 3


@with_sklearn_callbacks
def test_a_failing_fit_tears_the_callbacks_down(label_data: Any) -> None:
    tasks = EpochTasks()
    clf = net_of(MultiLabelMLPClassifier, module=InterruptedEncoder).set_callbacks(tasks)
    with pytest.raises(KeyboardInterrupt):
        clf.fit(*label_data)
    assert tasks.begun == 1 and not tasks.is_set_up


@with_sklearn_callbacks
@every_ensemble
@pytest.mark.parametrize("n_members", [2, 4])
def test_scoring_monitor(make: Any, n_members: int, label_data: Any) -> None:
    """It scores held-out samples: a tenth, or all of them by the members that did not see them."""
    from sklearn.callback import ScoringMonitor

    X, Y = label_data
    weights = np.random.default_rng(0).uniform(0.5, 2, len(X))
    monitor = ScoringMonitor(scoring="f1_macro")
    changes = {"learning_rate": 0.01, "linear_weight": 0.0, "early_stopping": False}
    net = net_of(make, n_estimators=n_members, **changes)
    clf = clone(net).set_callbacks(monitor).fit(X, Y, sample_weight=weights)
    rows = monitor.get_logs().data
    assert [row["task_name"] for row in rows] == ["fit"] + 4 * ["epoch"]

    def expected(fit: Any) -> float:
        held_out = ~np.isnan(fit.oof_proba_[:, 0])
        assert held_out.sum() == (len(X) if n_members == 4 else len(X) // 10)
        decisions = fit.oof_proba_[held_out] >= fit.threshold_
        return f1_score(Y[held_out], decisions, average="macro", sample_weight=weights[held_out])

    shorter = (clone(net).set_params(max_epochs=n) for n in range(1, 5))
    scores = [expected(clf), *(expected(fit.fit(X, Y, weights)) for fit in shorter)]
    assert_allclose([row["f1_macro"] for row in rows], scores, rtol=1e-12)
    assert len(set(scores)) > 2


@with_sklearn_callbacks
def test_monitored_constant_labels_warn_once(label_data: Any) -> None:
    X, Y = label_data
    Y = np.where(np.arange(5) == 2, 0, Y)
    clf = net_of(MultiLabelMLPClassifier).set_callbacks(EpochTasks())
    with pytest.warns(UserWarning, match="single value") as caught:
        clf.fit(X, Y)
    assert len(caught) == 1


@with_sklearn_callbacks
@every_net
def test_progress_bar_through_a_grid_search(
    make: Any, label_data: Any, capsys: Any, monkeypatch: Any
) -> None:
    """The bar counts the epochs of each net inside each pipeline inside the search."""
    from sklearn.callback import ProgressBar

    monkeypatch.setenv("COLUMNS", "200")
    name = make.__name__
    pipe = make_pipeline(StandardScaler(), net_of(make, max_epochs=2))
    grid = {f"{name.lower()}__learning_rate": [1e-3, 1e-2]}
    search = GridSearchCV(pipe, grid, cv=2, scoring="f1_macro")
    search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(*label_data)
    lines = capsys.readouterr().out.splitlines()
    bars_of_nets = [
        line for line in lines if f"Pipeline - fit-final-estimator | {name} - fit" in line
    ]
    assert len(bars_of_nets) == 2 * 2 + 1
    # How far a bar came is the drawing thread's to show, which a busy machine may end early.
