"""Missing codes, weights of entries and class_weight in the estimators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.model_selection import cross_val_predict as sklearn_cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_mlcl import (
    CGMVAEClassifier,
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
    MultiLabelThresholdClassifierCV,
)
from sklearn_mlcl.calibration import MultiLabelCalibratedClassifierCV
from sklearn_mlcl.metrics import get_scorer
from sklearn_mlcl.model_selection import (
    MultilabelStratifiedKFold,
    MultiLabelVotingClassifierCV,
    cross_val_predict,
)
from sklearn_mlcl.utils.answers import infer_format
from sklearn_mlcl.utils.fit_data import class_weights
from tests.small import plain, small

NETS = {
    "contrastive": small(ContrastiveMultiLabelClassifier),
    "two-stage": plain(
        ContrastiveMultiLabelClassifier,
        loss="jaccard",
        lambda_joint=0.0,
        neighbor_weight=0.5,
        loss_params__queue_size=64,
    ),
    "mlp": small(MultiLabelMLPClassifier, loss_params__feature_decay=0.01),
    "pal": plain(MultiLabelMLPClassifier, loss="pal", neighbor_weight=0.5, validation=0.1),
    "cgmvae": small(CGMVAEClassifier),
    "cgmvae-drawn": small(CGMVAEClassifier, head="logistic", loss_params__n_negatives=2),
}
ALL = NETS | {"logistic": MultiLabelLogisticRegression()}
every_classifier = pytest.mark.parametrize("estimator", ALL.values(), ids=ALL)
every_net = pytest.mark.parametrize("estimator", NETS.values(), ids=NETS)
HIDDEN = 0.3


@pytest.fixture(scope="module")
def coded(label_data: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels with NaN, and the same labels with -1."""
    X, Y = label_data
    missing = np.random.default_rng(0).random(Y.shape) < HIDDEN
    return X, np.where(missing, np.nan, Y), np.where(missing, -1, Y)


def probabilities(estimator: Any, X: Any, Y: Any, *args: Any, **parameters: Any) -> np.ndarray:
    return clone(estimator).set_params(**parameters).fit(X, Y, *args).predict_proba(X)


# ---------------------------------------------------------------------- codes


@every_classifier
def test_a_code_is_what_nan_is(estimator: Any, coded: Any) -> None:
    X, Y_nan, Y = coded
    by_code = clone(estimator).set_params(missing_label=-1).fit(X, Y.astype(np.int8))
    by_nan = clone(estimator).fit(X, Y_nan)
    assert_array_equal(by_code.predict_proba(X), by_nan.predict_proba(X))
    assert by_code.predict(X).dtype == np.int8 and by_nan.predict(X).dtype == np.int64
    assert by_code.score(X, Y) == by_nan.score(X, Y_nan)
    right = (by_nan.predict(X) == Y_nan) | np.isnan(Y_nan)
    assert_allclose(by_code.score(X, Y), right[(Y != -1).any(1)].all(axis=1).mean())


@every_classifier
def test_an_unannounced_code_is_an_error(estimator: Any, coded: Any) -> None:
    X, _, Y = coded
    for labels in (Y, pd.DataFrame(Y), sp.csr_matrix(Y)):
        with pytest.raises(ValueError, match="pass missing_label=-1"):
            clone(estimator).fit(X, labels)


@pytest.mark.parametrize("estimator", [NETS["mlp"], ALL["logistic"]], ids=["mlp", "logistic"])
def test_codes_in_frames_lists_and_csr(estimator: Any, coded: Any) -> None:
    X, Y_nan, Y = coded
    expected = probabilities(estimator, X, Y_nan)
    for labels in (pd.DataFrame(Y, columns=list("abcde")), Y.tolist(), sp.csr_matrix(Y)):
        clf = clone(estimator).set_params(missing_label=-1).fit(X, labels)
        assert_array_equal(clf.predict_proba(X), expected)
        assert sp.issparse(clf.predict(X)) == sp.issparse(labels)


def test_partial_fit_and_warm_start_take_codes(coded: Any) -> None:
    X, Y_nan, Y = coded
    mlp = clone(NETS["mlp"])
    by_nan = clone(mlp).partial_fit(X, Y_nan).partial_fit(X, Y_nan)
    by_code = clone(mlp).set_params(missing_label=-1).partial_fit(X, Y).partial_fit(X, Y)
    assert_array_equal(by_code.predict_proba(X), by_nan.predict_proba(X))
    late = clone(mlp).partial_fit(X, Y_nan).set_params(missing_label=-1).partial_fit(X, Y)
    assert_array_equal(late.predict_proba(X), by_nan.predict_proba(X))


def test_one_dimensional_targets_have_no_code(label_data: Any) -> None:
    X, Y = label_data
    y = np.where(Y[:, 0] == 1, 1, -1)
    assert set(MultiLabelLogisticRegression().fit(X, y).predict(X)) == {-1, 1}
    with pytest.raises(ValueError, match="1-D and holds missing_label=-1"):
        MultiLabelLogisticRegression(missing_label=-1).fit(X, y)


# ---------------------------------------------------------------------- scikit-learn's utilities


def test_grid_search_with_codes_is_that_with_nan(coded: Any) -> None:
    """scikit-learn's searches refuse NaN in y of their own folds; codes go through everywhere."""
    X, Y_nan, Y = coded
    results = []
    for labels, code in ((Y, -1), (Y_nan, np.nan)):
        search = GridSearchCV(
            make_pipeline(StandardScaler(), MultiLabelLogisticRegression(missing_label=code)),
            {"multilabellogisticregression__C": [0.01, 1.0]},
            scoring={
                name: get_scorer(name, missing_label=code)
                for name in ("f1_macro", "roc_auc_macro", "neg_log_loss", "subset_accuracy")
            },
            refit="f1_macro",
            cv=MultilabelStratifiedKFold(3, missing_label=code),
        ).fit(X, labels)
        keys = [key for key in search.cv_results_ if key.startswith("split")]
        results.append(np.array([search.cv_results_[key] for key in keys]))
        assert np.isfinite(results[-1]).all() and search.predict(X).min() == 0
    assert_array_equal(*results)


def test_cross_validation_with_codes(coded: Any) -> None:
    X, Y_nan, Y = coded
    clf, cv = MultiLabelLogisticRegression(missing_label=-1), MultilabelStratifiedKFold
    by_code = cross_val_predict(clf, X, Y, cv=3, missing_label=-1)
    by_nan = cross_val_predict(MultiLabelLogisticRegression(), X, Y_nan, cv=3)
    assert_array_equal(by_code, by_nan)
    folds = cv(3, missing_label=-1)
    labels = sklearn_cross_val_predict(clf, X, Y, cv=folds)
    assert_array_equal(labels, by_code >= 0.5)
    scorer = get_scorer("average_precision_macro", missing_label=-1)
    scores = cross_val_score(clf, X, Y, cv=folds, scoring=scorer)
    assert scores.shape == (3,) and (scores > 0.5).all()
    with pytest.raises(ValueError, match="each sample exactly once"):
        cross_val_predict(clf, X, Y, cv=0.3, missing_label=-1)
    with pytest.raises(ValueError, match="must be a label matrix"):
        cross_val_predict(clf, X, np.array(["a", "b"] * 100))


def test_cross_val_predict_is_scikit_learns_where_that_works(label_data: Any) -> None:
    X, Y = label_data
    folds, clf = MultilabelStratifiedKFold(4), MultiLabelLogisticRegression()
    weight = np.linspace(0.5, 2, len(X))
    for method in ("predict_proba", "decision_function"):
        ours, theirs = (
            f(clf, X, Y, cv=folds, method=method, params={"sample_weight": weight})
            for f in (cross_val_predict, sklearn_cross_val_predict)
        )
        assert_array_equal(ours, theirs)
    forest = RandomForestClassifier(5, random_state=0)
    by_label = sklearn_cross_val_predict(forest, X, Y, cv=folds, method="predict_proba")
    assert_array_equal(
        cross_val_predict(forest, X, Y, cv=folds), np.column_stack([p[:, 1] for p in by_label])
    )


def vote_of(estimator: Any, **params: Any) -> Any:
    second = clone(estimator).set_params(C=0.01)
    return MultiLabelVotingClassifierCV([("one", estimator), ("two", second)], **params)


@pytest.mark.parametrize(
    "Meta", [MultiLabelThresholdClassifierCV, MultiLabelCalibratedClassifierCV, vote_of]
)
def test_meta_estimators_take_codes_and_weights_of_entries(Meta: Any, coded: Any) -> None:
    X, Y_nan, Y = coded
    weight = np.random.default_rng(1).integers(0, 3, Y.shape).astype(float)
    inner = MultiLabelLogisticRegression(missing_label=-1)
    by_code = Meta(inner, cv=3, missing_label=-1).fit(X, Y, weight)
    by_nan = Meta(MultiLabelLogisticRegression(), cv=3).fit(X, Y_nan, weight)
    assert_array_equal(by_code.predict_proba(X), by_nan.predict_proba(X))
    assert_array_equal(by_code.predict(X), by_nan.predict(X))
    assert by_code.score(X, Y, weight) == by_nan.score(X, Y_nan, weight)
    hidden = np.where(weight > 0, Y_nan, np.nan)
    folds = list(MultilabelStratifiedKFold(3).split(X, Y_nan))
    meta = Meta(MultiLabelLogisticRegression(), cv=folds)
    zero_is_absent = clone(meta).fit(X, Y_nan, (weight > 0).astype(float))
    expected = clone(meta).fit(X, hidden).predict_proba(X)
    assert_allclose(zero_is_absent.predict_proba(X), expected, rtol=1e-6)


# ---------------------------------------------------------------------- weights of entries


@every_classifier
def test_an_entry_of_weight_zero_is_missing(estimator: Any, coded: Any) -> None:
    X, Y_nan, _ = coded
    shown = np.random.default_rng(2).random(Y_nan.shape) < 0.95
    shown[:4] = False
    hidden = np.where(shown, Y_nan, np.nan)[4:]
    clf = clone(estimator).fit(X[4:], hidden)
    weighted = clone(estimator).fit(X, Y_nan, shown.astype(float))
    assert_allclose(weighted.predict_proba(X), clf.predict_proba(X), rtol=1e-4, atol=1e-5)


@every_classifier
def test_equal_weights_in_a_row_are_a_weight_of_the_sample(estimator: Any, label_data: Any) -> None:
    X, Y = label_data
    weight = np.random.default_rng(3).integers(0, 3, len(X)).astype(float)
    by_row = probabilities(estimator, X, Y, weight)
    by_entry = np.repeat(weight[:, None], Y.shape[1], axis=1)
    by_entries = probabilities(estimator, X, Y, by_entry)
    assert_allclose(by_entries, by_row, rtol=1e-3, atol=1e-4)


def test_a_weight_of_k_is_k_copies_of_the_entry(coded: Any) -> None:
    """A theorem for the convex heads, where the scaling of X has no part in the optimum."""
    X, Y_nan, _ = coded
    weight = np.random.default_rng(4).integers(0, 4, Y_nan.shape)
    copies = np.vstack([np.where(weight > c, Y_nan, np.nan) for c in range(3)])
    for class_weight in (None, "balanced"):
        clf = MultiLabelLogisticRegression(class_weight=class_weight)
        assert_allclose(
            clone(clf).fit(X, Y_nan, weight).coef_,
            clone(clf).fit(np.tile(X, (3, 1)), copies).coef_,
            rtol=1e-5,
            atol=1e-7,
        )


@every_net
def test_weights_of_entries_move_their_label(estimator: Any, label_data: Any) -> None:
    """Heavier positives of one label raise its probabilities and leave the others about alone."""
    X, Y = label_data
    weight = np.ones(Y.shape)
    weight[:, 1] = np.where(Y[:, 1] == 1, 8.0, 1.0)
    estimator = clone(estimator).set_params(max_epochs=12)
    moved = probabilities(estimator, X, Y, weight) - probabilities(estimator, X, Y)
    others = np.abs(np.delete(moved.mean(axis=0), 1))
    assert moved[:, 1].mean() > 0.05 and moved[:, 1].mean() > 2 * others.max()


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones((200, 4)), r"must have shape \(200,\) or \(200, 5\)"),
        (np.zeros((200, 5)), "zero"),
        (np.full((200, 5), -1.0), "not negative"),
    ],
)
def test_bad_weights_of_entries(weight: Any, message: str, label_data: Any) -> None:
    with pytest.raises(ValueError, match=message):
        MultiLabelLogisticRegression().fit(*label_data, weight)


# ---------------------------------------------------------------------- class weights


def test_class_weights_are_scikit_learns_label_by_label(label_data: Any) -> None:
    X, Y = label_data
    by_label = {0: {0: 0.5, 1: 3.0}, 3: {1: 2.0}}
    forms = [by_label, [by_label.get(label, {}) for label in range(5)], "balanced"]
    for given in forms:
        clf = MultiLabelLogisticRegression(class_weight=given).fit(X, Y)
        for label in range(5):
            own = "balanced" if given == "balanced" else {0: 1, 1: 1} | by_label.get(label, {})
            reference = LogisticRegression(class_weight=own, tol=1e-10, max_iter=2000)
            reference.fit(X, Y[:, label])
            assert_allclose(clf.coef_[label], reference.coef_[0], rtol=1e-4, atol=1e-5)


def test_class_weights_by_name(label_data: Any) -> None:
    X, Y = label_data
    frame = pd.DataFrame(Y, columns=list("abcde"))
    by_name = MultiLabelLogisticRegression(class_weight={"d": {1: 2.0}}).fit(X, frame)
    by_number = MultiLabelLogisticRegression(class_weight={3: {1: 2.0}}).fit(X, Y)
    assert_array_equal(by_name.coef_, by_number.coef_)


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
@pytest.mark.parametrize("class_weight", ["balanced", "dict"])
def test_class_weights_of_one_dimensional_targets(
    kind: str, class_weight: str, label_data: Any
) -> None:
    X, Y = label_data
    y = (
        np.array(["no", "yes"])[Y[:, 0]]
        if kind == "binary"
        else np.array(list("abc"))[Y[:, 0] + Y[:, 1]]
    )
    given: Any = class_weight
    if class_weight == "dict":
        given = {c: 1.0 + 2 * i for i, c in enumerate(np.unique(y))}
    clf = MultiLabelLogisticRegression(class_weight=given).fit(X, y)
    reference = LogisticRegression(class_weight=given, tol=1e-10, max_iter=2000)
    if kind == "binary":
        assert_allclose(clf.coef_, reference.fit(X, y).coef_, rtol=1e-4, atol=1e-5)
        return
    weights = {c: len(y) / (3 * (y == c).sum()) for c in np.unique(y)}
    weights = weights if given == "balanced" else given
    by_row = MultiLabelLogisticRegression().fit(X, y, np.array([weights[c] for c in y]))
    assert_allclose(clf.coef_, by_row.coef_, rtol=1e-6)


def test_balanced_counts_known_entries_with_their_weights(coded: Any) -> None:
    _, Y_nan, _ = coded
    weight = np.random.default_rng(5).uniform(0.1, 2, Y_nan.shape)
    target_format = infer_format(Y_nan)
    factors = class_weights("balanced", target_format, Y_nan, weight)
    positive, negative = ((weight * (Y_nan == v)).sum(axis=0) for v in (1, 0))
    assert_allclose(factors.positive * positive, factors.negative * negative)
    assert_allclose(factors.positive * positive + factors.negative * negative, positive + negative)
    Y = np.column_stack([np.zeros(10), np.arange(10) % 2])
    constant = class_weights("balanced", infer_format(Y), Y, None)
    assert constant.positive[0] == constant.negative[0] == 1


@pytest.mark.parametrize("name", sorted(NETS.keys() - {"pal"}))
@pytest.mark.parametrize("balanced", [False, True])
def test_class_weights_of_nets_are_weights_of_entries(
    name: str, balanced: bool, label_data: Any
) -> None:
    """But for "pal", which takes its spread from held-out samples, without class weights."""
    X, Y = label_data
    weight = np.ones(Y.shape)
    net = clone(NETS[name])
    if balanced:
        net.set_params(validation=None)  # else it counts the samples that are learnt from
        given: Any = "balanced"
        positive = Y.sum(axis=0)
        weight = np.where(Y == 1, len(Y) / (2 * positive), len(Y) / (2 * (len(Y) - positive)))
    else:
        given = {0: {0: 0.5, 1: 3.0}, 3: {1: 2.0}}
        weight[:, 0] = np.where(Y[:, 0] == 1, 3.0, 0.5)
        weight[Y[:, 3] == 1, 3] = 2.0
    by_entry = probabilities(net, X, Y, weight)
    assert_allclose(probabilities(net, X, Y, class_weight=given), by_entry, atol=1e-6)


def test_calibration_takes_class_weights_out_again() -> None:
    """A calibration on held-out samples knows no class weights: probabilities return."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 5))
    Y = (X[:, :2] + rng.normal(size=(600, 2)) > 1.2).astype(int)
    weighted = MultiLabelLogisticRegression(class_weight="balanced")
    calibrated = MultiLabelCalibratedClassifierCV(weighted)
    raised, corrected = (probabilities(e, X, Y).mean(axis=0) for e in (weighted, calibrated))
    rate = Y.mean(axis=0)
    assert (raised > 1.5 * rate).all()
    assert_allclose(corrected, rate, atol=0.02)


def test_factors_meet_weights_codes_csr_and_early_stopping(coded: Any) -> None:
    X, Y_nan, Y = coded
    weight = np.random.default_rng(6).integers(0, 3, Y.shape).astype(float)
    mlp = clone(NETS["mlp"]).set_params(
        class_weight="balanced", early_stopping=True, threshold="f1_macro"
    )
    by_nan = clone(mlp).fit(X, Y_nan, weight)
    by_code = clone(mlp).set_params(missing_label=-1).fit(X, sp.csr_matrix(Y), weight)
    assert_array_equal(by_nan.predict_proba(X), by_code.predict_proba(X))
    assert by_nan.threshold_ == by_code.threshold_


def test_partial_fit_wants_numbers(label_data: Any) -> None:
    mlp = clone(NETS["mlp"]).set_params(class_weight="balanced")
    with pytest.raises(ValueError, match="needs all samples at once"):
        mlp.partial_fit(*label_data)
    mlp.set_params(class_weight={0: {1: 2.0}}).partial_fit(*label_data)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"class_weight": {7: {1: 2.0}}}, r"class_weight: there is no label 7"),
        ({"class_weight": [{1: 2.0}]}, "one dict for each of 5 labels, got 1"),
        ({"class_weight": {0: 2.0, 1: 1.0}}, "got 2.0 for a label"),
        ({"class_weight": {0: {2: 1.0}}}, "for a label"),
        ({"class_weight": {0: {1: -1.0}}}, "finite weights of at least 0"),
        ({"class_weight": "heavy"}, "class_weight"),
        ({"class_weight": [{0: 0, 1: 0}] * 5}, "is zero"),
    ],
)
def test_bad_factors(parameters: Any, message: str, label_data: Any) -> None:
    with pytest.raises(ValueError, match=message):
        MultiLabelLogisticRegression(**parameters).fit(*label_data)


def test_class_weight_must_be_a_dict_for_one_dimensional_targets(label_data: Any) -> None:
    X, Y = label_data
    with pytest.raises(ValueError, match="must be a dict"):
        MultiLabelLogisticRegression(class_weight=[{0: 1, 1: 2}]).fit(X, Y[:, 0])
