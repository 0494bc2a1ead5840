"""Training curves show the history of a net wherever it is wrapped."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_mlcl import ContrastiveMultiLabelClassifier, MultiLabelThresholdClassifierCV
from sklearn_mlcl.callbacks import RepresentationMonitor
from sklearn_mlcl.inspection import TrainingCurveDisplay, training_history


def net(**arguments: Any) -> ContrastiveMultiLabelClassifier:
    arguments = {"hidden_layer_sizes": (8,), "max_epochs": 4, "random_state": 0, **arguments}
    return ContrastiveMultiLabelClassifier(**arguments)


def test_losses_of_every_epoch(label_data: Any) -> None:
    clf = net(early_stopping=True).fit(*label_data)
    display = TrainingCurveDisplay.from_estimator(clf, line_kwargs={"linewidth": 3})
    assert_array_equal(display.epochs, 1 + np.arange(clf.n_iter_))
    for name in ("train_loss", "valid_loss"):
        assert_array_equal(display.lines_[name].get_ydata(), clf.history_[name])
        assert display.lines_[name].get_linewidth() == 3
    best = int(np.argmin(clf.history_["valid_loss"]))
    assert display.best_.get_xydata().tolist() == [[best + 1, clf.history_["valid_loss"][best]]]
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["training", "validation", f"lowest, epoch {best + 1}"]


def test_without_validation_rows(label_data: Any) -> None:
    clf = net(max_epochs=1, validation=None).fit(*label_data)
    display = TrainingCurveDisplay.from_estimator(clf)
    assert list(display.lines_) == ["train_loss"] and display.best_ is None
    assert display.lines_["train_loss"].get_marker() == "o"  # one epoch is a point


def test_net_inside_other_estimators(label_data: Any) -> None:
    tuned = MultiLabelThresholdClassifierCV(make_pipeline(StandardScaler(), net()), cv=2)
    tuned.fit(*label_data)
    display = TrainingCurveDisplay.from_estimator(tuned)
    expected = tuned.estimator_[-1].history_["train_loss"]
    assert_array_equal(display.values["train_loss"], expected)


def test_any_record_of_a_table_with_gaps() -> None:
    table = pd.DataFrame({"train_loss": [3.0, 2.0, 1.0], "prr": [0.5, np.nan, 0.1]})
    display = TrainingCurveDisplay.from_history(table, metrics=["prr"])
    assert not hasattr(display, "ax_")
    assert display.plot().lines_["prr"].get_xydata().tolist() == [[1, 0.5], [3, 0.1]]
    assert display.ax_.get_ylabel() == "value"
    assert TrainingCurveDisplay.from_history(table).plot().ax_.get_ylabel() == "loss"


def test_what_is_not_there_is_named(label_data: Any) -> None:
    with pytest.raises(ValueError, match=r"history has no prr; it has \['train_loss'\]"):
        TrainingCurveDisplay.from_history({"train_loss": [1.0]}, metrics=["train_loss", "prr"])
    with pytest.raises(ValueError, match="history has no train_loss or valid_loss"):
        TrainingCurveDisplay.from_history({"dur": [1.0]})
    forest = make_pipeline(RandomForestClassifier(1)).fit(*label_data)
    with pytest.raises(NotFittedError, match="RandomForestClassifier has no history_"):
        TrainingCurveDisplay.from_estimator(forest)
    with pytest.raises(NotFittedError, match="ContrastiveMultiLabelClassifier has no history_"):
        TrainingCurveDisplay.from_estimator(net())


# ---------------------------------------------------------------------- the table


def test_the_history_is_a_table_wherever_the_net_is(label_data: Any) -> None:
    X, Y = label_data
    pipe = make_pipeline(StandardScaler(), net(early_stopping=True))
    search = GridSearchCV(pipe, {}, cv=2, scoring="f1_macro").fit(X, Y)
    log = search.best_estimator_[-1].history_
    table = training_history(search)
    assert set(table.columns) == set(log) - {"epoch"} >= {"train_loss", "valid_loss", "dur"}
    assert list(table.index) == list(range(1, len(log["train_loss"]) + 1))
    assert table.index.name == "epoch"
    assert_array_equal(table.index, log["epoch"])
    for name in table:
        assert isinstance(log[name], np.ndarray)
        assert_array_equal(table[name], log[name])
    again = TrainingCurveDisplay.from_history(table)
    assert_array_equal(again.values["train_loss"], log["train_loss"])


def test_the_table_has_what_callbacks_recorded(label_data: Any) -> None:
    clf = net(callbacks=[RepresentationMonitor()]).fit(*label_data)
    assert {"alignment", "uniformity", "prr"} <= set(training_history(clf).columns)


def test_no_table_without_a_net_or_pandas(label_data: Any, monkeypatch: Any) -> None:
    forest = RandomForestClassifier(2, random_state=0).fit(*label_data)
    with pytest.raises(NotFittedError, match="RandomForestClassifier has no history_"):
        training_history(forest)
    clf = net().fit(*label_data)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pandas.*pip install 'sklearn-mlcl\[plot\]'"):
        training_history(clf)
