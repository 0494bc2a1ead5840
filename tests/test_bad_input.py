"""Bad input gets an error that names the argument, what came and what was expected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_array_equal
from skorch.callbacks import Callback

from tests.small import every_classifier, every_net, small


@every_classifier
@pytest.mark.parametrize(
    ("make_y", "message"),
    [
        (lambda Y: Y[:-1], "inconsistent numbers of samples"),
        (lambda Y: np.where(Y, "a", "b"), "MultiLabelBinarizer"),
        (lambda Y: [set(np.flatnonzero(row)) for row in Y], "MultiLabelBinarizer"),
        (lambda Y: [np.flatnonzero(row).tolist() for row in Y], "MultiLabelBinarizer"),
        (lambda Y: 2 * Y, r"got also \[2.0\]"),
        (lambda Y: 2 * Y - 1, r"got also \[-1.0\]"),
        (lambda Y: Y[:, :, None], "must have shape|dim 3|1d array"),
        (lambda Y: np.random.default_rng(0).normal(size=len(Y)), "Unknown label type"),
        (lambda Y: None, "requires y to be passed"),
    ],
)
def test_targets(make: Any, label_data: Any, make_y: Any, message: str) -> None:
    X, Y = label_data
    with pytest.raises(ValueError, match=message):
        small(make).fit(X, make_y(Y))


@every_classifier
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_must_be_finite(make: Any, label_data: Any, value: float) -> None:
    X, Y = label_data
    X = X.copy()
    X[3, 1] = value
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        small(make).fit(X, Y)


@every_classifier
@pytest.mark.parametrize(
    ("make_X", "message"),
    [
        (lambda X: np.ma.masked_array(X, X > 1), "X has masked entries"),
        (lambda X: pd.DataFrame({"a": pd.date_range("2020", periods=len(X))}), "X must hold numb"),
        (lambda X: pl.DataFrame({"a": pd.date_range("2020", periods=len(X))}), "X must hold numb"),
        (lambda X: dict(enumerate(X)), "X cannot be read as a matrix of numbers"),
        (lambda X: iter(X), "X cannot be read as a matrix of numbers"),
        (lambda X: [*X.tolist()[:-1], [1.0]], "X cannot be read as a matrix of numbers"),
        (lambda X: torch.from_numpy(X).requires_grad_(), "X cannot be read .* requires grad"),
        (lambda X: np.full(X.shape, 10**400, dtype=object), "X cannot be read .* too large"),
    ],
)
def test_features_that_are_no_numbers(
    make: Any, label_data: Any, make_X: Any, message: str
) -> None:
    X, Y = label_data
    with pytest.raises((TypeError, ValueError), match=message):
        small(make).fit(make_X(X.copy()), Y)


@every_net
@pytest.mark.parametrize(
    ("make_groups", "shape"),
    [
        (lambda n: np.zeros((n, 2)), r"\(200, 2\)"),
        (lambda n: dict.fromkeys(range(n)), r"\(\)"),
        (lambda n: 1, r"\(\)"),
    ],
)
def test_groups(make: Any, label_data: Any, make_groups: Any, shape: str) -> None:
    X, Y = label_data
    with pytest.raises(ValueError, match=rf"groups must have shape \(200,\).*of shape {shape}"):
        small(make).fit(X, Y, groups=make_groups(len(X)))


@every_net
@pytest.mark.parametrize(
    ("dtype", "missing"),
    [(float, np.nan), (object, np.nan), (object, None), (object, pd.NA), ("M8[D]", "NaT")],
)
def test_groups_that_are_missing(make: Any, label_data: Any, dtype: Any, missing: Any) -> None:
    X, Y = label_data
    groups = np.arange(len(X)).astype(dtype)
    groups[3] = missing
    with pytest.raises(ValueError, match=r"groups must hold values .* none that are missing"):
        small(make).fit(X, Y, groups=groups)


@every_net
def test_a_share_that_is_all(make: Any, label_data: Any) -> None:
    X, Y = (part[:20] for part in label_data)
    with pytest.raises(ValueError, match=r"validation=0.99 holds out all 20 samples"):
        small(make, validation=0.99).fit(X, Y)


@every_classifier
def test_other_features_at_predict(make: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = small(make).fit(X, Y)
    with pytest.raises(ValueError, match=r"19 features, but .* is expecting 20"):
        clf.predict(X[:, 1:])


@every_classifier
@pytest.mark.parametrize("threshold", [1.5, [0.5, 0.5], "best"])
def test_threshold(make: Any, label_data: Any, threshold: Any) -> None:
    X, Y = label_data
    with pytest.raises(ValueError, match="threshold"):
        small(make, threshold=threshold).fit(X, Y).predict(X)


@every_net
@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("loss", "no_such_loss"),
        ("learning_rate", 0),
        ("dropout", 1.0),
        ("hidden_layer_sizes", (16, 0)),
        ("hidden_layer_sizes", ()),
        ("activation", "step"),
        ("validation", 1.0),
        ("early_stopping", 0),
        ("device", "cuda:0"),
        ("callbacks", "loud"),
        ("callbacks", [3]),
        ("callbacks", [("name", "loud")]),
        ("loss_params", ["beta"]),
        ("net_params__optimizer", "lion"),
        ("net_params__schedule", "warp"),
    ],
)
def test_parameters_of_the_nets(make: Any, label_data: Any, parameter: str, value: Any) -> None:
    with pytest.raises(ValueError, match=parameter):
        small(make, **{parameter: value}).fit(*label_data)


@every_net
@pytest.mark.parametrize("n_samples", [1, 2, 5])
def test_few_samples(make: Any, label_data: Any, n_samples: int) -> None:
    X, Y = (a[:n_samples] for a in label_data)
    clf = small(make)
    if (Y[0] == Y).all(axis=0).any():
        with pytest.warns(UserWarning, match="single value"):
            clf.fit(X, Y)
    else:
        clf.fit(X, Y)
    assert clf.predict(X).shape == Y.shape


@every_net
def test_a_last_batch_of_one_sample(make: Any, label_data: Any) -> None:
    X, Y = (a[:33] for a in label_data)
    clf = small(make, batch_size=16).fit(X, Y)
    assert np.isfinite(clf.history_["train_loss"]).all()


class Poison(Callback):
    """Spoil a weight in the second epoch, as an overflow would."""

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        if len(net.history) == 2:
            with torch.no_grad():
                next(net.module_.parameters()).fill_(torch.nan)


@every_net
@pytest.mark.parametrize("warm_start", [False, True])
def test_non_finite_loss_names_the_remedies_and_keeps_the_old_fit(
    make: Any, label_data: Any, warm_start: bool
) -> None:
    X, Y = label_data
    clf = small(make, max_epochs=1).fit(X, Y)
    before = clf.predict_proba(X)
    clf.set_params(max_epochs=3, warm_start=warm_start, callbacks=[Poison()])
    with pytest.raises(ValueError, match=r"nan in epoch 2 at learning_rate=.* smaller learning_"):
        clf.fit(X, Y)
    assert_array_equal(clf.predict_proba(X), before)
    assert clf.n_iter_ == len(clf.net_.history) == 1
