"""Callbacks and sample weights on their way through pipelines and searches to the net."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from sklearn_mlcl.inspection import training_history
from sklearn_mlcl.metrics import get_scorer as get_label_scorer
from sklearn_mlcl.model_selection import MultilabelStratifiedKFold
from tests.processes import in_process
from tests.small import every_classifier, every_net, small, with_sklearn_callbacks

FOLDS = MultilabelStratifiedKFold(2)


class StopAfter(Callback):
    """Stop after some epochs, and count them; ``fitted`` says whether it was ever used."""

    def __init__(self, n_epochs: int) -> None:
        self.n_epochs = n_epochs

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        self.n_seen_ = len(net.history)
        if self.n_seen_ == self.n_epochs:
            raise KeyboardInterrupt


# ---------------------------------------------------------------------- skorch's callbacks


@every_net
def test_skorch_callbacks_are_searched_and_cloned(make: Any, label_data: Any) -> None:
    """Each fit of a search has callbacks of its own, and they are a parameter like others."""
    stopper = StopAfter(2)
    pipe = Pipeline([("scale", StandardScaler()), ("clf", small(make, batch_size=32))])
    grid = {"clf__callbacks": [None, [stopper]]}
    search = GridSearchCV(pipe, grid, cv=FOLDS, scoring="roc_auc", refit=False).fit(*label_data)
    assert len(np.unique(search.cv_results_["mean_test_score"])) == 2
    assert not hasattr(stopper, "n_seen_")
    stopped = clone(pipe).set_params(clf__callbacks=[stopper]).fit(*label_data)
    assert stopped[-1].n_iter_ == len(training_history(stopped)) == 2


# ---------------------------------------------------------------------- scikit-learn's callbacks


class Patience:
    """Stop a net once its score on training samples no longer rises: scikit-learn's protocol."""

    max_propagation_depth = None

    def __init__(self, scoring: str, n_epochs: int) -> None:
        self.scorer = get_scorer(scoring)
        self.n_epochs = n_epochs

    def setup(self, estimator: Any, context: Any) -> None:
        self.scores: list[list[float]] = []

    def teardown(self, estimator: Any, context: Any) -> None:
        pass

    def on_fit_task_begin(self, estimator: Any, context: Any, **given: Any) -> None:
        if context.task_name == "fit" and hasattr(estimator, "max_epochs"):
            self.scores.append([])

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, X: Any, y: Any, fitted_estimator: Any, **rest: Any
    ) -> bool:
        if context.task_name != "epoch":
            return False
        scores = self.scores[-1]
        scores.append(self.scorer(fitted_estimator, X, y))
        return len(scores) - np.argmax(scores) > self.n_epochs


@with_sklearn_callbacks
@every_net
def test_a_user_stops_nets_by_a_score_through_pipeline_and_search(
    make: Any, label_data: Any
) -> None:
    pipe = Pipeline([("scale", StandardScaler()), ("clf", small(make))])
    grid = {"clf__max_epochs": [12], "clf__learning_rate": [1e-9, 3e-3]}
    search = GridSearchCV(pipe, grid, cv=FOLDS, scoring="roc_auc")
    patience = Patience("average_precision", n_epochs=2)
    search.set_callbacks(patience).fit(*label_data)
    assert len(patience.scores) == 2 * 2 + 1
    for scores in patience.scores:
        assert len(scores) == 12 or len(scores) - np.argmax(scores) == 3
    assert min(map(len, patience.scores)) < 12
    assert search.best_estimator_[-1].n_iter_ == len(patience.scores[-1])


def last_loss() -> float:
    """Train a net of the package as it was imported last."""
    from sklearn_mlcl import MultiLabelMLPClassifier

    X, Y = make_multilabel_classification(60, random_state=0)
    clf = MultiLabelMLPClassifier(hidden_layer_sizes=(8,), max_epochs=2, random_state=0)
    return float(clf.fit(X, Y).history_["train_loss"][-1])


def last_loss_without_callbacks() -> float:
    """Import the package as if scikit-learn had no callbacks, and train."""
    sys.modules["sklearn.callback"] = None
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn_mlcl"]:
        del sys.modules[name]
    from sklearn_mlcl import MultiLabelMLPClassifier
    from sklearn_mlcl.utils._sklearn_compat import CallbackSupportMixin

    assert [name for name in vars(CallbackSupportMixin) if not name.startswith("__")] == []
    assert not hasattr(MultiLabelMLPClassifier, "set_callbacks")
    return last_loss()


def test_without_the_callbacks_of_1_9_the_nets_train_alike() -> None:
    """scikit-learn 1.8 played: its callback module cannot be imported, all else is there."""
    assert_allclose(in_process(last_loss_without_callbacks), last_loss(), rtol=1e-5)


# ---------------------------------------------------------------------- metadata routing


def weights_of(Y: np.ndarray) -> np.ndarray:
    return np.where(Y[:, 0] == 1, 5.0, 0.2)


@every_classifier
def test_weights_are_routed_through_a_search_to_fit_and_score(make: Any, label_data: Any) -> None:
    """The scores and the refit of a weighted search are those of weighted fits by hand."""
    X, Y = label_data
    weight = weights_of(Y)
    scaled = StandardScaler().fit_transform(X)
    scorer = get_label_scorer("f1_macro")
    with config_context(enable_metadata_routing=True):
        pipe = make_pipeline(
            StandardScaler().set_fit_request(sample_weight=False),
            small(make).set_fit_request(sample_weight=True),
        )
        weighted = get_label_scorer("f1_macro").set_score_request(sample_weight=True)
        search = GridSearchCV(pipe, {}, cv=FOLDS, scoring=weighted)
        search.fit(X, Y, sample_weight=weight)
        asking_nothing = make_pipeline(StandardScaler(), small(make))
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            asking_nothing.fit(X, Y, sample_weight=weight)
    by_hand = small(make).fit(scaled, Y, sample_weight=weight)
    assert_allclose(search.predict_proba(X), by_hand.predict_proba(scaled), atol=1e-10)
    unweighted = small(make).fit(scaled, Y)
    assert np.abs(unweighted.predict_proba(scaled) - search.predict_proba(X)).max() > 1e-3
    for fold, (train, test) in enumerate(FOLDS.split(X, Y)):
        scaler = StandardScaler().fit(X[train])
        clf = small(make).fit(scaler.transform(X[train]), Y[train], weight[train])
        score = scorer(clf, scaler.transform(X[test]), Y[test], sample_weight=weight[test])
        assert_allclose(search.cv_results_[f"split{fold}_test_score"][0], score)


@every_net
def test_weights_are_asked_for_by_every_method_that_takes_them(make: Any) -> None:
    with config_context(enable_metadata_routing=True):
        asking = small(make)
        for method in ("fit", "partial_fit", "score"):
            getattr(asking, f"set_{method}_request")(sample_weight=True)
        requests = asking.get_metadata_routing()
    for method in ("fit", "partial_fit", "score"):
        assert requests.__getattribute__(method).requests["sample_weight"] is True
