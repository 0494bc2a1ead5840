"""Constructor parameters and the keys of the dicts among them: set, checked, searched, listed."""

from __future__ import annotations

import pickle
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpydoc.docscrape import NumpyDocString
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_mlcl import (
    CGMVAEClassifier,
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
)
from sklearn_mlcl.collapse import NearestLabelSetClassifier
from sklearn_mlcl.metrics import get_scorer
from sklearn_mlcl.model_selection import MultilabelStratifiedKFold
from sklearn_mlcl.utils.parameters import AT_LEAST_1, Interval, options, param
from tests.small import NETS, every_classifier, every_net, small

EVERYDAY = (
    "threshold hidden_layer_sizes max_epochs batch_size learning_rate class_weight missing_label "
    "device callbacks verbose random_state"
)
ADVANCED = (
    "loss_params module scale_input activation dropout feature_noise weight_decay validation "
    "early_stopping neighbor_weight checkpoint warm_start net_params"
)
#: Parameters of one class: everyday ones, advanced ones, and the number of all.
OWN = {
    ContrastiveMultiLabelClassifier: (
        "loss temperature lambda_reg lambda_contrastive lambda_joint head_C n_estimators",
        "head linear_weight",
        33,
    ),
    MultiLabelMLPClassifier: ("loss classifier decision n_estimators", "linear_weight", 29),
    CGMVAEClassifier: ("temperature lambda_bce lambda_kl lambda_contrastive head_C", "head", 30),
}
#: Every key of every dict parameter.
KEYS = [
    (make, f"{name}__{key}")
    for make in NETS
    for name in ("loss_params", "net_params")
    for key in make._declared[name].keys
]


# ---------------------------------------------------------------------- keys of dicts


def test_keys_are_parameters() -> None:
    clf = ContrastiveMultiLabelClassifier(loss_params={"alpha": 2.0})
    params = clf.get_params()
    assert params["loss_params"] == {"alpha": 2.0} and params["loss_params__alpha"] == 2.0
    assert params["loss_params__beta"] == 0.1 and params["net_params__mixup"] == 0.5
    assert not [name for name in clf.get_params(deep=False) if "__" in name]
    mlp = MultiLabelMLPClassifier(decision=NearestLabelSetClassifier(prior=0.5))
    assert mlp.get_params()["decision__prior"] == 0.5


def test_setting_a_key_keeps_the_others_and_leaves_other_estimators_alone() -> None:
    shared = {"alpha": 2.0}
    one, other = (ContrastiveMultiLabelClassifier(loss_params=shared) for _ in range(2))
    twin = clone(one)
    assert one.set_params(loss_params__beta=0.2) is one
    assert one.loss_params == {"alpha": 2.0, "beta": 0.2}
    assert other.loss_params == twin.loss_params == shared == {"alpha": 2.0}
    one.set_params(loss_params__alpha=1.0, loss_params={"beta": 0.3}, temperature=0.4)
    assert one.loss_params == {"alpha": 1.0, "beta": 0.3} and one.temperature == 0.4
    assert one.set_params(loss_params=None).get_params()["loss_params__beta"] == 0.1
    assert repr(one.set_params(net_params__mixup=0.1)) == (
        "ContrastiveMultiLabelClassifier(net_params={'mixup': 0.1}, temperature=0.4)"
    )


@every_net
def test_defaults_of_keys_are_those_in_force(make: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = make(max_epochs=1, random_state=0, hidden_layer_sizes=(8,))
    named = {
        name: {key: p.default for key, p in make._declared[name].keys.items()}
        for name in ("loss_params", "net_params")
    }
    by_name = clone(clf).set_params(**named).fit(X, Y)
    assert_array_equal(by_name.predict_proba(X), clf.fit(X, Y).predict_proba(X))


def test_a_wrong_key_is_told_the_nearest(label_data: Any) -> None:
    clf = ContrastiveMultiLabelClassifier()
    message = (
        r"loss_params of ContrastiveMultiLabelClassifier has no key 'bta'\. "
        r"Did you mean 'beta'\? Its keys are \['alpha', 'anchor_weighting', 'beta', "
    )
    with pytest.raises(ValueError, match=message):
        clf.set_params(loss_params__bta=0.2)
    with pytest.raises(ValueError, match=message):
        ContrastiveMultiLabelClassifier(loss_params={"bta": 0.2}).fit(*label_data)
    with pytest.raises(ValueError, match=r"net_params of .* has no key 'zzz'\. Its keys are"):
        clf.set_params(net_params__zzz=0)
    with pytest.raises(ValueError, match="Invalid parameter 'beta'"):
        clf.set_params(beta=0.2)


@pytest.mark.parametrize(("make", "name"), KEYS)
def test_keys_are_checked_by_name(make: Any, name: str, label_data: Any) -> None:
    with pytest.raises(ValueError, match=f"The '{name}' parameter of {make.__name__} must be"):
        make().set_params(**{name: object()}).fit(*label_data)


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (ContrastiveMultiLabelClassifier, "temperature", 0),
        (ContrastiveMultiLabelClassifier, "lambda_reg", -1),
        (ContrastiveMultiLabelClassifier, "lambda_joint", -1),
        (ContrastiveMultiLabelClassifier, "lambda_contrastive", -1),
        (ContrastiveMultiLabelClassifier, "head_C", 0),
        (ContrastiveMultiLabelClassifier, "head_C", "best"),
        (ContrastiveMultiLabelClassifier, "loss_params__beta", 0.0),
        (ContrastiveMultiLabelClassifier, "loss_params__overlap_threshold", 0.0),
        (ContrastiveMultiLabelClassifier, "loss_params__overlap_threshold", 1.1),
        (ContrastiveMultiLabelClassifier, "loss_params__n_negatives", -1),
        (ContrastiveMultiLabelClassifier, "loss_params__queue_size", -1),
        (ContrastiveMultiLabelClassifier, "loss_params__joint_loss", "focal"),
        (ContrastiveMultiLabelClassifier, "net_params__projection_dim", 0),
        *(
            (MultiLabelMLPClassifier, name, value)
            for value in (0, "many", 2.5, None)
            for name in ("max_epochs", "batch_size", "n_estimators")
        ),
        (MultiLabelMLPClassifier, "loss_params__pal_norm", 1.5),
        (MultiLabelMLPClassifier, "feature_noise", -1),
        (MultiLabelMLPClassifier, "net_params__precision", "float16"),
        (MultiLabelMLPClassifier, "net_params__compile", "yes"),
        (MultiLabelMLPClassifier, "loss_params__label_smoothing", 1.0),
        (MultiLabelMLPClassifier, "loss_params__feature_decay", -0.1),
        (MultiLabelMLPClassifier, "net_params__feature_dim", 0),
        (MultiLabelMLPClassifier, "net_params__mixup", -0.1),
        (MultiLabelMLPClassifier, "net_params__pseudo_count", -0.1),
        (CGMVAEClassifier, "loss_params__n_latent_samples", 0),
        (CGMVAEClassifier, "loss_params__n_negatives", 0),
        (CGMVAEClassifier, "loss_params__free_bits", -0.1),
        (CGMVAEClassifier, "net_params__n_predict_samples", -1),
        (CGMVAEClassifier, "net_params__latent_dim", 0),
    ],
)
def test_bounds_of_parameters_and_keys(make: Any, name: str, value: Any, label_data: Any) -> None:
    with pytest.raises(ValueError, match=rf"'{name}' parameter .* Got {value!r} instead"):
        make().set_params(**{name: value}).fit(*label_data)


def intervals(make: Any) -> list[tuple[str, Any]]:
    """Return every parameter, and key of a dict parameter, that is a number, with its bounds."""
    known = dict(make._declared)
    for name in ("loss_params", "net_params"):
        known |= {f"{name}__{key}": p for key, p in known.pop(name).keys.items()}
    return [(n, a) for n, p in known.items() for a in p.allowed if isinstance(a, Interval)]


@every_net
def test_no_number_is_beyond_what_is_computed_with(make: Any) -> None:
    beyond = [np.inf, -np.inf, np.nan, 10**30, 10**400, Fraction(1, 2), 1j, "1", np.array(0.5)]
    in_float64 = {"head_C", "missing_label"}
    for name, bounds in intervals(make):
        assert not any(map(bounds.is_satisfied_by, [*beyond, True, np.True_, b"1"])), name
        assert name in in_float64 or not bounds.is_satisfied_by(1e300), name


@every_net
def test_numbers_of_numpy_are_numbers(make: Any, label_data: Any) -> None:
    """Small ones too, in which products would overflow."""
    X, Y = label_data
    X, Y = X[:60], Y[:60]
    plain, of_numpy = small(make), small(make)
    for name, bounds in intervals(make):
        value = plain.get_params()[name]
        kind = np.uint8 if isinstance(value, int) else np.float16
        if isinstance(value, int | float) and bounds.is_satisfied_by(kind(value)):
            plain.set_params(**{name: kind(value).item()})
            of_numpy.set_params(**{name: kind(value)})
    assert type(of_numpy.learning_rate) is np.float16
    expected = plain.fit(X, Y).partial_fit(X, Y).predict_proba(X)
    assert_array_equal(of_numpy.fit(X, Y).partial_fit(X, Y).predict_proba(X), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss_params__queue_size": 8}, "loss='reg' takes no queue: loss_params__queue_size must"),
        ({"loss": "any", "loss_params__prototypes": True}, "loss='any' has no prototypes"),
        ({"loss": "proto", "loss_params__prototypes": False}, "loss='proto' needs prototypes"),
    ],
)
def test_keys_that_the_loss_does_not_take(changes: Any, message: str, label_data: Any) -> None:
    with pytest.raises(ValueError, match=message):
        ContrastiveMultiLabelClassifier(loss="reg").set_params(**changes).fit(*label_data)


@every_net
def test_what_is_set_after_a_fit_is_checked(make: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = small(make).fit(X, Y)
    for name, value in [
        ("neighbor_weight", np.nan),
        ("linear_weight", -1.0),
        ("threshold", "best"),
        ("decision", "best"),
        ("device", 3.5),
        ("net_params__pseudo_count", "x"),
        ("net_params__predict_precision", "float8"),
        ("net_params__n_predict_samples", 2.5),
        ("net_params", [1]),
    ]:
        if name in clf.get_params():
            changed = clone_of(clf).set_params(**{name: value})
            message = f"'{name}' parameter of {make.__name__} must be"
            with pytest.raises(ValueError, match=message):
                changed.predict_proba(X)
            with pytest.raises(ValueError, match=message):
                changed.predict(X)
            if name.startswith(("device", "net_params")):
                with pytest.raises(ValueError, match=message):
                    changed.transform(X)
    # Of others a prediction knows nothing.
    assert_array_equal(clone_of(clf).set_params(dropout=7).predict_proba(X), clf.predict_proba(X))


def clone_of(clf: Any) -> Any:
    return pickle.loads(pickle.dumps(clf))


@every_net
def test_sizes_beyond_memory_are_named(make: Any, label_data: Any) -> None:
    with pytest.raises(MemoryError, match="smaller hidden_layer_sizes, n_estimators"):
        small(make, hidden_layer_sizes=(2**45,)).fit(*label_data)


def test_a_search_over_keys_in_a_pipeline(label_data: Any) -> None:
    """Its scores are those of estimators that were given the dicts."""
    X, Y = label_data
    net = small(ContrastiveMultiLabelClassifier, loss="msc")
    pipe = Pipeline([("scale", StandardScaler()), ("clf", net)])
    grid = {"clf__loss_params__beta": [0.1, 5.0], "clf__net_params__mixup": [0.0, 1.0]}
    folds, scorer = MultilabelStratifiedKFold(2), get_scorer("neg_log_loss")
    search = GridSearchCV(pipe, grid, cv=folds, scoring=scorer).fit(X, Y)
    train, test = next(folds.split(X, Y))
    scaler = StandardScaler().fit(X[train])
    for k, point in enumerate(search.cv_results_["params"]):
        beta, mixup = point.values()
        by_hand = clone(net).set_params(loss_params={"beta": beta}, net_params={"mixup": mixup})
        by_hand.fit(scaler.transform(X[train]), Y[train])
        score = scorer(by_hand, scaler.transform(X[test]), Y[test])
        assert_allclose(search.cv_results_["split0_test_score"][k], score, rtol=1e-6)
    assert len(set(search.cv_results_["split0_test_score"])) == 4
    best = search.best_estimator_[-1]
    assert best.loss_params["beta"] == search.best_params_["clf__loss_params__beta"]


# ---------------------------------------------------------------------- classes of users


class Plain(MultiLabelMLPClassifier):
    """A user's class with a constructor of its own."""

    def __init__(self, width: int = 8, net_params: Any = None, random_state: Any = None) -> None:
        super().__init__(
            hidden_layer_sizes=(width,),
            max_epochs=2,
            net_params=net_params,
            random_state=random_state,
        )
        self.width = width


class Declared(MultiLabelMLPClassifier):
    """A user's class that declares its parameters.

    Parameters
    ----------
    depth : int
        Number of layers.
    loss_params : dict or None
        - ``gamma`` : float
          A key of the user's.

    Notes
    -----
    What follows stays.
    """

    depth: int = param(2, AT_LEAST_1)
    dropout: float = param(0.3)
    loss_params: Any = options(gamma=param(1.5, AT_LEAST_1), pal_norm=param("sum"))


def test_a_class_with_a_plain_constructor(label_data: Any) -> None:
    X, Y = label_data
    clf = Plain(width=5, net_params={"mixup": 0.0}, random_state=0).fit(X, Y)
    assert clf.get_params(deep=False).keys() == {"width", "net_params", "random_state"}
    assert "loss_params__pal_norm" not in clf.get_params()
    assert repr(clf) == "Plain(net_params={'mixup': 0.0}, random_state=0, width=5)"
    for twin in (clone(clf).fit(X, Y), pickle.loads(pickle.dumps(clf))):
        assert twin.width == 5 and twin.hidden_layer_sizes == (5,)
        assert_array_equal(twin.predict_proba(X), clf.predict_proba(X))
    with pytest.raises(ValueError, match="'net_params__mixup' parameter of Plain must be"):
        clf.set_params(net_params__mixup=-1).fit(X, Y)
    with pytest.raises(ValueError, match="Invalid parameter 'loss_params' for estimator Plain"):
        clf.set_params(loss_params__pal_norm="sum")


def test_a_class_that_declares_parameters(label_data: Any) -> None:
    """What it does not say stays: bounds, type and text."""
    clf, base = Declared(depth=3), MultiLabelMLPClassifier
    assert clf.get_params(deep=False).keys() == base().get_params(deep=False).keys() | {"depth"}
    assert clf.dropout == 0.3 and base().dropout == 0.4
    params = clf.get_params()
    assert params["loss_params__gamma"] == 1.5 and params["loss_params__pal_norm"] == "sum"
    assert params["loss_params__feature_decay"] == 0.0
    doc, base_doc = entries_of(Declared), entries_of(base)
    assert doc["depth"] == ("Parameters", "int, default=2", "Number of layers.")
    section, kind, text = base_doc["dropout"]
    assert doc["dropout"] == (section, kind.replace("0.4", "0.3"), text)
    assert (
        '- ``pal_norm`` : {"mean", "sum"} or float in [0, 1], default="sum"'
        in doc["loss_params"][2]
    )
    assert "- ``gamma`` : float, default=1.5\n  A key of the user's." in doc["loss_params"][2]
    assert {k: v for k, v in doc.items() if k in base_doc.keys() - {"dropout", "loss_params"}} == {
        k: v for k, v in base_doc.items() if k not in {"dropout", "loss_params"}
    }
    assert Declared.__doc__.endswith("What follows stays.")
    for changes in ({"dropout": 1.0}, {"depth": 0}, {"loss_params__gamma": 0}):
        with pytest.raises(ValueError, match=f"'{next(iter(changes))}' parameter of Declared"):
            Declared().set_params(**changes).fit(*label_data)
    twin = clone(clf.set_params(loss_params__gamma=2))
    assert twin.loss_params == {"gamma": 2} and "depth=3" in repr(twin)
    assert repr(pickle.loads(pickle.dumps(clf))) == repr(clf)


# ---------------------------------------------------------------------- docstrings


def entries_of(cls: Any) -> dict[str, tuple[str, str, str]]:
    """Return section, type and text of every parameter in a docstring; none is listed twice."""
    doc = NumpyDocString(cls.__doc__)
    entries = [(s, p) for s in ("Parameters", "Other Parameters") for p in doc[s]]
    assert len({p.name for _, p in entries}) == len(entries)
    return {p.name: (section, p.type, "\n".join(p.desc)) for section, p in entries}


def shown(default: Any) -> str:
    return f'"{default}"' if isinstance(default, str) else repr(default)


@every_classifier
def test_each_parameter_is_listed_once_with_its_default(make: Any) -> None:
    entries = entries_of(make)
    assert entries.keys() == make().get_params(deep=False).keys()
    for name, default in make().get_params(deep=False).items():
        _, kind, text = entries[name]
        assert kind.endswith(f", default={shown(default)}") and text
        for key, p in make._declared[name].keys.items():
            (line,) = [line for line in text.splitlines() if line.startswith(f"- ``{key}`` : ")]
            assert line.endswith(f", default={shown(p.default)}")
    assert "{" + "shared" not in make.__doc__


@every_net
def test_everyday_parameters_come_first(make: Any) -> None:
    everyday, advanced, number = OWN[make]
    entries = entries_of(make)
    listed = {name for name, (section, *_) in entries.items() if section == "Parameters"}
    assert listed == set(f"{EVERYDAY} {everyday}".split())
    assert entries.keys() - listed == set(f"{ADVANCED} {advanced}".split())
    assert len(entries) == number


def test_logistic_regression_has_no_advanced_parameters() -> None:
    sections = {section for section, *_ in entries_of(MultiLabelLogisticRegression).values()}
    assert sections == {"Parameters"}


def test_lambda_reg_is_as_published() -> None:
    assert ContrastiveMultiLabelClassifier().lambda_reg == 1.0
    assert np.isnan(MultiLabelMLPClassifier().missing_label)
