"""``checkpoint=``: a fit that was broken off goes on, and ends as if nothing had happened."""

from __future__ import annotations

import errno
import os
import pickle
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from joblib import parallel_config
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from skorch.callbacks import Callback, EarlyStopping, LRScheduler, ProgressBar
from torch import nn

import sklearn_mlcl
from sklearn_mlcl import ContrastiveMultiLabelClassifier, MultiLabelMLPClassifier
from sklearn_mlcl.losses import AsymmetricLoss
from sklearn_mlcl.persistence import FitCheckpoint, ModelFileError
from sklearn_mlcl.persistence import _checkpoint as checkpoint
from sklearn_mlcl.training import NonFiniteLossError
from tests.fuzz_kill import X, Y, answers, killed
from tests.small import every_net, small

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows")


class DiedError(Exception):
    """Stands for the death of a process."""


class Dies(Callback):
    """Die in the batches of an epoch, and count epochs."""

    def __init__(self, epoch: int | None = None) -> None:
        self.epoch = epoch

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        self.n_begun_ = 0

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        self.n_begun_ += 1

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        if len(net.history) == self.epoch:
            raise DiedError


class Stops(Dies):
    """End the training after an epoch."""

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        """Live."""

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        if len(net.history) == self.epoch:
            raise KeyboardInterrupt


class Noisy(nn.Module):
    """A user's encoder, which draws and has buffers."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_features, 8)
        self.norm = nn.BatchNorm1d(8)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.norm(self.linear(x)))


def broken(clf: Any, folder: Path, fit: Callable[[Any], Any], epoch: int = 5) -> None:
    """Begin a fit that dies in an epoch, and leaves the state of the epoch before."""
    clf = clone(clf).set_params(checkpoint=FitCheckpoint(folder, every=1))
    clf.set_params(callbacks=[*(clf.callbacks or []), Dies(epoch)])
    with pytest.raises(DiedError):
        fit(clf)
    assert len(list(folder.iterdir())) == 1


def resumed(clf: Any, folder: Path, fit: Callable[[Any], Any], **options: Any) -> Any:
    """Go on from the state in a folder, which must be there."""
    options = {"every": 1, "resume": "always"} | options
    clf = clone(clf).set_params(checkpoint=FitCheckpoint(folder, **options))
    clf.set_params(callbacks=[*(clf.callbacks or []), Dies()])
    return fit(clf)


def plain_fit(clf: Any) -> Any:
    return clf.fit(X, Y)


@needs_fork
@every_net
def test_kill_9_at_random_moments(make: Any) -> None:
    counts = killed(make, "averaged", 1, Random(0))
    assert counts.keys() <= {"equal", "killed with a state", "killed without"}, counts


CASES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "folds": (ContrastiveMultiLabelClassifier, {"n_estimators": 4}, {}),
    "folds of the MLP": (MultiLabelMLPClassifier, {"n_estimators": 4}, {}),
    "one cycle": (ContrastiveMultiLabelClassifier, {"net_params__schedule": "one_cycle"}, {}),
    "restarts": (MultiLabelMLPClassifier, {"net_params__schedule": "warm_restarts"}, {}),
    "patience": (MultiLabelMLPClassifier, {"early_stopping": 3}, {}),
    "nothing held out": (MultiLabelMLPClassifier, {"validation": None}, {}),
    "sgd": (
        MultiLabelMLPClassifier,
        {"net_params__optimizer": "sgd", "net_params__optimizer_params": {"momentum": 0.9}},
        {},
    ),
    "queue": (
        ContrastiveMultiLabelClassifier,
        {"loss": "msc", "loss_params__queue_size": 16, "loss_params__prototypes": False},
        {},
    ),
    "own module": (MultiLabelMLPClassifier, {"module": Noisy, "n_estimators": 1}, {}),
    "own loss": (MultiLabelMLPClassifier, {"loss": AsymmetricLoss()}, {}),
    "weights": (
        MultiLabelMLPClassifier,
        {"class_weight": "balanced"},
        {"sample_weight": np.linspace(0, 2, len(X))},
    ),
    "groups": (MultiLabelMLPClassifier, {"n_estimators": 4}, {"groups": np.arange(len(X)) // 2}),
    "X_val": (MultiLabelMLPClassifier, {}, {"X_val": X[:30], "y_val": Y[:30]}),
    "skorch stops": (MultiLabelMLPClassifier, {"callbacks": [EarlyStopping(patience=4)]}, {}),
    "skorch's rates": (
        MultiLabelMLPClassifier,
        {"callbacks": [LRScheduler("ExponentialLR", gamma=0.8)]}
        | {"net_params__schedule": "constant"},
        {},
    ),
    "etf": (MultiLabelMLPClassifier, {"classifier": "etf", "loss": "pal"}, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_it_ends_as_if_nothing_had_happened(case: str, tmp_path: Path) -> None:
    make, changes, arguments = CASES[case]
    clf = small(make, max_epochs=8, **changes)

    def fit(clf: Any) -> Any:
        return clf.fit(X, Y, **arguments)

    broken(clf, tmp_path, fit)
    found = resumed(clf, tmp_path, fit)
    undisturbed = clone(clf)
    undisturbed.set_params(callbacks=[*(undisturbed.callbacks or []), Dies()])
    assert answers(found) == answers(fit(undisturbed))
    # A callback counts on, as what it holds is kept too.
    assert found.callbacks[-1].n_begun_ == undisturbed.callbacks[-1].n_begun_
    assert os.listdir(tmp_path) == []


def test_the_end_of_the_training_is_kept_too(tmp_path: Path, monkeypatch: Any) -> None:
    """A process that dies while heads are fitted trains no further epoch."""
    clf = small(MultiLabelMLPClassifier, max_epochs=8)
    clf.set_params(callbacks=[Stops(5)])
    with monkeypatch.context() as patched, pytest.raises(DiedError):
        patched.setattr("sklearn_mlcl.estimators.net._attributes", dies)
        clone(clf).set_params(checkpoint=tmp_path).fit(X, Y)
    again = clone(clf).set_params(checkpoint=FitCheckpoint(tmp_path, resume="always"))
    assert_equal_answers(again.fit(X, Y), clf.fit(X, Y))
    assert clf.n_iter_ == 5


def dies(*_: Any) -> None:
    raise DiedError


def assert_equal_answers(one: Any, other: Any) -> None:
    assert answers(one) == answers(other)


def test_only_what_is_left_is_trained(tmp_path: Path) -> None:
    seen: list[int] = []

    class Counts(Callback):
        def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
            seen.append(len(net.history))

    clf = small(MultiLabelMLPClassifier, max_epochs=9, early_stopping=False, callbacks=[Counts()])
    broken(clf, tmp_path, plain_fit)
    seen.clear()
    resumed(clf, tmp_path, plain_fit)
    assert seen == [5, 6, 7, 8, 9]


def test_every_so_many_epochs(tmp_path: Path) -> None:
    clf = small(MultiLabelMLPClassifier, max_epochs=12, early_stopping=False)
    clf.set_params(checkpoint=FitCheckpoint(tmp_path, every=4), callbacks=[Dies(11)])
    with pytest.raises(DiedError):
        clf.fit(X, Y)
    (path,) = tmp_path.iterdir()
    kept = checkpoint.decode(*checkpoint.read_file(path)[1:3])
    assert len(kept["state"]["history"]) == 8


def test_automatic_pauses(monkeypatch: Any, tmp_path: Path) -> None:
    """A state that takes a second is followed by nine seconds of training."""
    now = iter(np.arange(0.0, 1000.0))
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: next(now))
    written: list[int] = []
    monkeypatch.setattr(checkpoint, "write_file", lambda *_: written.append(len(written)))

    class Net:
        def training_state(self, can_keep: Any) -> dict[str, Any]:
            return {}

    net: Any = Net()
    kept = checkpoint.KeptFit(tmp_path)
    kept._path = tmp_path / "x.fit"
    for epoch in range(30):
        kept.keep(net, epoch, is_last=False)
    # Three readings of the clock for a state, and one for each of eight epochs without.
    assert len(written) == 4
    kept.keep(net, 31, is_last=True)
    assert len(written) == 5


def test_the_seed_that_was_drawn_is_kept(tmp_path: Path) -> None:
    """So is what a splitter without a seed held out."""
    clf = small(MultiLabelMLPClassifier, max_epochs=9, random_state=None)
    clf.set_params(validation=ShuffleSplit(1, test_size=0.3))
    broken(clf, tmp_path, plain_fit)
    (path,) = tmp_path.iterdir()
    drawn = checkpoint.decode(*checkpoint.read_file(path)[1:3])["drawn"]
    found = resumed(clf, tmp_path, plain_fit)
    assert found._noise_seed == drawn["seed"]
    held_out = drawn["held out"][0][drawn["held out"][1] == 0]
    assert_array_equal(np.flatnonzero(~np.isnan(found.oof_proba_[:, 0])), np.sort(held_out))


def test_a_generator_as_random_state(tmp_path: Path) -> None:
    clf = small(MultiLabelMLPClassifier, max_epochs=9)

    def fit(clf: Any) -> Any:
        return clf.set_params(random_state=np.random.RandomState(3)).fit(X, Y)

    broken(clf, tmp_path, fit)
    assert_equal_answers(resumed(clf, tmp_path, fit), fit(clone(clf)))


@pytest.mark.parametrize("container", [sp.csr_array, np.asfortranarray, np.float32])
def test_features_of_other_kinds(container: Any, tmp_path: Path) -> None:
    clf, own = small(MultiLabelMLPClassifier, max_epochs=9), container(X)

    def fit(clf: Any) -> Any:
        return clf.fit(own, Y)

    broken(clf, tmp_path, fit)
    assert_equal_answers(resumed(clf, tmp_path, fit), fit(clf))


def test_a_warm_start(tmp_path: Path) -> None:
    first = small(MultiLabelMLPClassifier, max_epochs=4).fit(X, Y).set_params(warm_start=True)
    first.set_params(max_epochs=9, early_stopping=False)
    kept = pickle.dumps(first)
    expected = answers(pickle.loads(kept).fit(X, Y))
    options = {"checkpoint": FitCheckpoint(tmp_path, every=1, resume="auto")}
    dying = pickle.loads(kept).set_params(**options, callbacks=[Dies(9)])
    with pytest.raises(DiedError):
        dying.fit(X, Y)
    options = {"checkpoint": FitCheckpoint(tmp_path, resume="always")}
    found = pickle.loads(kept).set_params(**options, callbacks=[Dies()])
    assert answers(found.fit(X, Y)) == expected
    # One that starts from elsewhere is another fit.
    dying = pickle.loads(kept).set_params(checkpoint=tmp_path, callbacks=[Dies(9)])
    with pytest.raises(DiedError):
        dying.fit(X, Y)
    elsewhere = pickle.loads(kept).partial_fit(X, Y).set_params(**options, callbacks=[Dies()])
    with pytest.raises(ValueError, match="differs: the start"):
        elsewhere.fit(X, Y)


# ---------------------------------------------------------------------- which state is whose


def test_what_differs_is_named(tmp_path: Path) -> None:
    clf = small(MultiLabelMLPClassifier, max_epochs=9)
    broken(clf, tmp_path, plain_fit)
    with pytest.raises(ValueError, match=r"has no state of this fit.* max_epochs 9 \(here 10\)\."):
        resumed(clone(clf).set_params(max_epochs=10), tmp_path, plain_fit)
    with pytest.raises(
        ValueError, match=r"differs: X of shape \(120, 6\) \(here of shape \(120, 6"
    ):
        resumed(clf, tmp_path, lambda clf: clf.fit(X + 1, Y))
    with pytest.raises(ValueError, match="differs: sample_weight"):
        resumed(clf, tmp_path, lambda clf: clf.fit(X, Y, sample_weight=np.linspace(1, 2, 120)))
    with pytest.raises(ValueError, match=r"has no state of this fit.* no other state either"):
        resumed(clf, tmp_path / "another", plain_fit)


def test_other_fits_begin_anew_and_leave_it(tmp_path: Path) -> None:
    clf = small(MultiLabelMLPClassifier, max_epochs=9)
    broken(clf, tmp_path, plain_fit)
    other = clone(clf).set_params(learning_rate=0.01)
    expected = answers(clone(other).fit(X, Y))
    assert answers(other.set_params(checkpoint=tmp_path).fit(X, Y)) == expected
    assert len(os.listdir(tmp_path)) == 1
    # What changes nothing of a fit may change.
    same = {"verbose": 1, "loss_params": {}, "net_params__optimizer": "adamw"}
    resumed(clf.set_params(**same), tmp_path, plain_fit, every="auto")


@pytest.mark.parametrize("what", ["torch", "threads", "sklearn_mlcl", "processor"])
def test_of_other_versions_it_is_refused(what: str, tmp_path: Path, monkeypatch: Any) -> None:
    clf = small(MultiLabelMLPClassifier, max_epochs=9)
    broken(clf, tmp_path, plain_fit)
    here = checkpoint._here()
    monkeypatch.setattr(checkpoint, "_here", lambda: here | {what: "17"})
    again = clone(clf).set_params(checkpoint=tmp_path, callbacks=[Dies()])
    message = rf"was kept with {re.escape(f'{what} {here[what]} (here 17)')}.*resume='never'"
    with pytest.raises(ValueError, match=message):
        again.fit(X, Y)
    assert len(os.listdir(tmp_path)) == 1
    resumed(clf, tmp_path, plain_fit, resume="never")
    assert os.listdir(tmp_path) == []


def test_a_search_shares_a_folder(tmp_path: Path) -> None:
    clf = small(MultiLabelMLPClassifier, max_epochs=3, checkpoint=tmp_path)
    grid = {"learning_rate": [0.001, 0.01]}
    with parallel_config("threading", n_jobs=2):
        found = GridSearchCV(clf, grid, cv=2).fit(X, Y)
    expected = GridSearchCV(clone(clf).set_params(checkpoint=None), grid, cv=2).fit(X, Y)
    assert_array_equal(found.predict_proba(X), expected.predict_proba(X))
    assert os.listdir(tmp_path) == []


def test_fits_that_are_alike_side_by_side(tmp_path: Path) -> None:
    together = threading.Barrier(2)

    class Waits(Callback):
        def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
            if len(net.history) == 2:
                together.wait(timeout=60)

    clf = small(MultiLabelMLPClassifier, max_epochs=4, callbacks=[Waits()])
    clf.set_params(checkpoint=FitCheckpoint(tmp_path, every=1), random_state=None)
    twins = [clone(clf), clone(clf)]
    threads = [threading.Thread(target=twin.fit, args=(X, Y)) for twin in twins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert twins[0]._noise_seed != twins[1]._noise_seed
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------------- what may go wrong


def test_a_damaged_state_is_named_and_stays(tmp_path: Path) -> None:
    clf = small(MultiLabelMLPClassifier, max_epochs=9)
    broken(clf, tmp_path, plain_fit)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match=f"checkpoint: the state in .*{path.name}.* Remove"):
        resumed(clf, tmp_path, plain_fit)
    assert list(tmp_path.iterdir()) == [path]


def test_a_state_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """The name of a module stays while its code changes."""
    clf = small(MultiLabelMLPClassifier, max_epochs=9, module=Noisy, n_estimators=1)
    broken(clf, tmp_path, plain_fit)
    (path,) = tmp_path.iterdir()
    content = checkpoint.read_file(path)
    kept = checkpoint.decode(content.tree, content.arrays)
    kept["state"]["module"]["1.linear.weight"] = torch.zeros(8, 7)
    checkpoint.write_file(path, checkpoint.Content("fit", *checkpoint.encode(kept, "it")))
    with pytest.raises(ValueError, match=r"(?s)does not fit this net .* If the code of a module"):
        resumed(clf, tmp_path, plain_fit)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("state", "epochs"), -(10**12), "not fit this net .* epochs and .* steps of 9"),
        (("state", "steps"), "many", "not fit this net .* epochs and .* steps of 9"),
        (("state", "draws"), {"cpu": torch.zeros(3, dtype=torch.uint8)}, "not fit this net"),
        (("drawn", "seed"), "x", "has seed as str, expected int"),
        (("drawn", "held out"), (None, np.full(len(X), 7), 1), "holds out other samples"),
        (("drawn", "held out"), (np.array([999]), np.array([0]), 1), "holds out other samples"),
        (("here",), None, "cannot be read"),
    ],
)
def test_a_forged_state_is_refused(
    where: tuple[str, ...], value: Any, message: str, tmp_path: Path
) -> None:
    clf = small(MultiLabelMLPClassifier, max_epochs=9)
    broken(clf, tmp_path, plain_fit)
    (path,) = tmp_path.iterdir()
    content = checkpoint.read_file(path)
    kept = checkpoint.decode(content.tree, content.arrays)
    *outer, last = where
    inner = kept
    for name in outer:
        inner = inner[name]
    inner[last] = value
    checkpoint.write_file(path, checkpoint.Content("fit", *checkpoint.encode(kept, "it")))
    with pytest.raises(ValueError, match=f"(?s){message}"):
        resumed(clf, tmp_path, plain_fit)


def test_a_forged_state_costs_a_warm_start_nothing(tmp_path: Path) -> None:
    first = small(MultiLabelMLPClassifier, max_epochs=4).fit(X, Y).set_params(warm_start=True)
    kept = FitCheckpoint(tmp_path, every=1)
    first.set_params(max_epochs=9, early_stopping=False, checkpoint=kept, callbacks=[Dies(9)])
    before = answers(first)
    with pytest.raises(DiedError):
        first.fit(X, Y)
    (path,) = tmp_path.iterdir()
    content = checkpoint.read_file(path)
    state = checkpoint.decode(content.tree, content.arrays)
    state["state"]["history"] = 3
    checkpoint.write_file(path, checkpoint.Content("fit", *checkpoint.encode(state, "it")))
    with pytest.raises(ValueError, match="its history is no list of epochs"):
        first.set_params(callbacks=[Dies()]).fit(X, Y)
    assert answers(first) == before and len(first.net_.history) == first.n_iter_


def test_a_full_disk(tmp_path: Path, monkeypatch: Any) -> None:
    clf = small(MultiLabelMLPClassifier, max_epochs=9)
    written: list[Any] = []
    replace = os.replace

    def full(*names: Any) -> None:
        if len(written) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(names)
        replace(*names)

    keeping = clone(clf).set_params(checkpoint=FitCheckpoint(tmp_path, every=1), callbacks=[Dies()])
    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left") as caught:
        patched.setattr(os, "replace", full)
        keeping.fit(X, Y)
    assert caught.value.errno == errno.ENOSPC
    assert "could not take epoch 4 (last kept: epoch 3)" in str(caught.value)
    assert not hasattr(keeping, "net_") and len(os.listdir(tmp_path)) == 1
    found = resumed(clf, tmp_path, plain_fit)
    assert_equal_answers(found, clone(clf).fit(X, Y))


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for folder in (file, file / "inside"):
        with pytest.raises(OSError, match=r"checkpoint: .*file.* is no folder that can be written"):
            small(MultiLabelMLPClassifier, checkpoint=folder).fit(X, Y)
    made = tmp_path / "of" / "its" / "own"
    small(MultiLabelMLPClassifier, checkpoint=made).fit(X, Y)
    assert os.listdir(made) == []


def test_an_interrupt_leaves_the_state(tmp_path: Path) -> None:
    class Interrupts(Callback):
        def __init__(self, epoch: int | None = None) -> None:
            self.epoch = epoch

        def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
            if len(net.history) == self.epoch:
                signal.raise_signal(signal.SIGINT)

    clf = small(MultiLabelMLPClassifier, max_epochs=9, callbacks=[Interrupts(6)])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            clone(clf).set_params(checkpoint=tmp_path).fit(X, Y)
    finally:
        signal.signal(signal.SIGINT, before)
    clf.set_params(callbacks=[Interrupts()])
    found = clone(clf).set_params(checkpoint=FitCheckpoint(tmp_path, resume="always")).fit(X, Y)
    assert_equal_answers(found, clf.fit(X, Y))


def test_what_has_diverged_is_not_kept(tmp_path: Path) -> None:
    clf = small(MultiLabelMLPClassifier, learning_rate=1e10, checkpoint=tmp_path)
    clf.set_params(net_params__optimizer="sgd")
    with pytest.raises(NonFiniteLossError):
        clf.fit(X, Y)
    assert os.listdir(tmp_path) == []


def test_what_a_callback_holds_and_no_file_does(tmp_path: Path) -> None:
    class Holds(Callback):
        def on_train_begin(self, net: Any, **kwargs: Any) -> None:
            self.lock_ = threading.Lock()

    clf = small(MultiLabelMLPClassifier, callbacks=[Holds()], checkpoint=tmp_path)
    with pytest.warns(
        UserWarning, match=r"does not keep Holds.lock_, lock: a fit that continues"
    ) as all_:
        clf.fit(X, Y)
    assert len(all_) == 1
    small(MultiLabelMLPClassifier, callbacks=[ProgressBar()], checkpoint=tmp_path).fit(X, Y)


# ---------------------------------------------------------------------- as a parameter


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folder": 3}, "folder must be the name of a folder, got 3"),
        ({"folder": ""}, "folder must be the name of a folder, got ''"),
        ({"folder": "x", "every": 0}, "every must be 'auto' or an integer of at least 1: 0"),
        ({"folder": "x", "every": True}, "every must be 'auto' or an integer"),
        ({"folder": "x", "resume": "yes"}, "resume must be one of .*, got 'yes'"),
    ],
)
def test_wrong_settings(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FitCheckpoint(**arguments)


def test_files_of_models_name_no_folder(tmp_path: Path) -> None:
    """A file from elsewhere must not say where this machine writes."""
    clf = small(MultiLabelMLPClassifier, checkpoint=FitCheckpoint(tmp_path / "states")).fit(X, Y)
    assert clone(clf).checkpoint == clf.checkpoint == pickle.loads(pickle.dumps(clf)).checkpoint
    clf.save(tmp_path / "model")
    assert sklearn_mlcl.load(tmp_path / "model").checkpoint is None


def test_a_parameter_that_cannot_be_compared(tmp_path: Path) -> None:
    class Local:
        def split(self, X: Any, y: Any, groups: Any) -> Any:
            return ShuffleSplit(1, random_state=0).split(X)

        def get_n_splits(self, *_: Any) -> int:
            return 1

    clf = small(MultiLabelMLPClassifier, validation=Local(), checkpoint=tmp_path)
    with pytest.raises(ValueError, match="checkpoint needs parameters that can be pickled: valid"):
        clf.fit(X, Y)
