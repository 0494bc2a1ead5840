"""Neural collapse and the estimators: the monitor, any encoder, the digits."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import f1_score, jaccard_score
from sklearn.pipeline import make_pipeline

from sklearn_mlcl import ContrastiveMultiLabelClassifier, MultiLabelMLPClassifier, recipes
from sklearn_mlcl.callbacks import NeuralCollapseMonitor
from sklearn_mlcl.collapse import NearestLabelSetClassifier, neural_collapse_metrics
from sklearn_mlcl.datasets import make_multilabel_digits
from tests.small import plain

#: Collapse is what a net does to the rows it is trained on, all of them as they are.
ONE_NET: dict[str, Any] = {"n_estimators": 1, "feature_noise": 0.0, "net_params": {"mixup": 0.0}}
MLP = plain(MultiLabelMLPClassifier, max_epochs=6)
PAL = clone(MLP).set_params(loss="pal", validation=0.2, net_params__feature_dim=8)
NETS = [PAL, MLP, plain(ContrastiveMultiLabelClassifier, n_estimators=2, max_epochs=6)]
every_net = pytest.mark.parametrize("net", NETS, ids=["pal", "bce", "contrastive"])


def weights_of(clf: Any) -> dict[str, torch.Tensor]:
    parts = {"module": clf.net_.module_, "criterion": clf.net_.criterion_}
    return {f"{part}.{k}": v for part, m in parts.items() for k, v in m.state_dict().items()}


def global_numpy_state() -> np.ndarray:
    return np.random.mtrand._rand.get_state()[1].copy()


# ---------------------------------------------------------------------- the monitor


@every_net
def test_training_is_the_same_with_the_monitor(net: Any, label_data: Any) -> None:
    X, Y = label_data
    plain = clone(net).fit(X, Y)
    torch_state, numpy_state = torch.get_rng_state(), global_numpy_state()
    watched = clone(net).set_params(callbacks=[NeuralCollapseMonitor(every=4, n_rows=60)])
    watched.fit(X, Y)
    expected, found = weights_of(plain), weights_of(watched)
    assert expected.keys() == found.keys()
    for name in expected:
        assert torch.equal(expected[name], found[name]), name
    assert_array_equal(plain.predict_proba(X), watched.predict_proba(X))
    assert torch.equal(torch_state, torch.get_rng_state())
    assert_array_equal(numpy_state, global_numpy_state())
    for name, column in watched.history_.items():
        assert len(column) == 6, name
    recorded = ~np.isnan(watched.history_["tag_r2"])
    assert_array_equal(recorded, [True, False, False, False, True, True])
    assert ("nc2_w" in watched.history_) == (net is not NETS[2])


def test_the_last_entry_is_that_of_the_fitted_net(label_data: Any) -> None:
    X, Y = label_data
    monitor = NeuralCollapseMonitor(n_rows=10**6)
    clf = clone(MLP).set_params(callbacks=[monitor]).fit(X, Y)
    report = neural_collapse_metrics(
        clf.transform(X.astype(np.float32)),
        Y,
        clf.predictor_.head.weight.numpy(),
        clf.predictor_.head.bias.numpy(),
    )
    for name in ("tag_r2", "phi_rmse", "ncm_m2", "nc1_trace_m1", "nc2_h", "nc2_w", "nc3"):
        assert clf.history_[name][-1] == pytest.approx(report[name], rel=1e-4), name
    assert list(monitor.reports_) == [6]


def test_rows_are_stratified_on_the_number_of_labels(label_data: Any) -> None:
    X, Y = label_data
    Y = Y.astype(float)
    Y[::10, 0] = np.nan
    monitor = NeuralCollapseMonitor(n_rows=90, metrics=["tag_r2"])
    clone(MLP).set_params(callbacks=[monitor]).fit(X, Y)
    report = monitor.reports_[6]
    assert report["n_incomplete"] == 0
    complete = Y[~np.isnan(Y).any(axis=1)]
    for m in (1, 2, 3):
        share = (complete.sum(axis=1) == m).mean()
        assert abs(report[f"rows_m{m}"] - 90 * share) <= 1
    assert_array_equal(np.diff(list(monitor.reports_)), [])


@pytest.mark.parametrize("sparse", [False, True])
def test_monitor_on_sparse_rows_and_pickles(sparse: bool, label_data: Any) -> None:
    X, Y = label_data
    monitor = NeuralCollapseMonitor(every=3, n_rows=50, keep_reports=True)
    clf = clone(PAL).set_params(callbacks=[monitor])
    clf.fit(*((sp.csr_array(X), sp.csr_array(Y)) if sparse else (X, Y)))
    assert list(monitor.reports_) == [1, 4, 6]
    again = pickle.loads(pickle.dumps(clf))
    assert again.callbacks[0].reports_[4]["tag_r2"] == monitor.reports_[4]["tag_r2"]
    assert not hasattr(monitor, "Y_")
    fresh = clone(monitor)
    assert fresh.get_params() == monitor.get_params() and not hasattr(fresh, "reports_")


def test_monitor_follows_a_warm_start(label_data: Any) -> None:
    monitor = NeuralCollapseMonitor(every=4, keep_reports=True)
    clf = clone(MLP).set_params(warm_start=True, callbacks=[monitor])
    clf.fit(*label_data).fit(*label_data)
    assert list(monitor.reports_) == [1, 5, 6, 7, 11, 12]
    assert len(clf.history_["phi_rmse"]) == 12


def test_monitor_of_a_fixed_frame_with_a_class_for_empty_rows(label_data: Any) -> None:
    X, Y = label_data
    clf = clone(PAL).set_params(
        classifier="etf", callbacks=[NeuralCollapseMonitor()], loss_params__empty_rows="none_class"
    )
    # The frame has one row more than there are labels; five of them are no simplex of five.
    assert_allclose(clf.fit(X, Y).history_["nc2_w"], 0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be an integer of at least 1, got 0"),
        ({"n_rows": 2.5}, "n_rows must be an integer"),
        ({"metrics": ["nc5"]}, "metrics must be of .* got \\['nc5'\\]"),
    ],
)
def test_monitor_refuses_bad_arguments(options: dict, message: str, label_data: Any) -> None:
    clf = clone(MLP).set_params(callbacks=[NeuralCollapseMonitor(**options)])
    with pytest.raises(ValueError, match=message):
        clf.fit(*label_data)


def test_monitor_refuses_rows_without_a_label_set(label_data: Any) -> None:
    X, Y = label_data
    clf = clone(MLP).set_params(callbacks=[NeuralCollapseMonitor()])
    with pytest.raises(ValueError, match="there is none among 200 samples with 1 labels"):
        clf.fit(X, Y[:, 0])


# ---------------------------------------------------------------------- any encoder


def test_metrics_and_decoding_of_a_contrastive_embedding(label_data: Any) -> None:
    X, Y = label_data
    encoder = ContrastiveMultiLabelClassifier(**ONE_NET, max_epochs=15, random_state=0)
    pipe = make_pipeline(encoder, NearestLabelSetClassifier()).fit(X, Y)
    embedding = pipe[0].transform(X)
    untrained = clone(encoder).set_params(max_epochs=1, learning_rate=1e-9).fit(X, Y)
    before = neural_collapse_metrics(untrained.transform(X), Y)
    after = neural_collapse_metrics(embedding, Y)
    assert after["tag_r2"] > before["tag_r2"] + 0.2
    assert after["nc1_trace_m2"] < 0.5 * before["nc1_trace_m2"]
    alone = NearestLabelSetClassifier().fit(embedding, Y)
    assert_array_equal(pipe.predict(X), alone.predict(embedding))
    assert_allclose(pipe.predict_proba(X), alone.predict_proba(embedding), rtol=1e-6)
    assert f1_score(Y, pipe.predict(X), average="micro") > 0.7


# ---------------------------------------------------------------------- the digits


def jaccard(Y: np.ndarray, predicted: np.ndarray) -> float:
    return float(jaccard_score(Y, predicted, average="samples", zero_division=0))


def test_nearest_prototypes_beat_a_softmax_cut_on_the_digits() -> None:
    """The softmax gets the cut that is best on the test rows themselves, and still loses."""
    data = make_multilabel_digits()
    X, Y = data.data[data.train_idx], data.target[data.train_idx]
    X_test, Y_test = data.data[data.test_idx], data.target[data.test_idx]
    gains = []
    for seed in range(2):
        clf = MultiLabelMLPClassifier(**recipes.PAL_COLLAPSE, decision="onn", random_state=seed)
        clf.set_params(max_epochs=12).fit(X, Y)
        with torch.no_grad():
            p = clf.net_.criterion_.head(torch.from_numpy(clf.transform(X_test)).float())
        p = p.softmax(dim=1).numpy()
        best_cut = max(jaccard(Y_test, p >= cut) for cut in np.linspace(0.02, 0.5, 25))
        gains.append(jaccard(Y_test, clf.predict(X_test)) - best_cut)
    assert np.mean(gains) >= 0.01
