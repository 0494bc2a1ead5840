"""Calibration against a general optimiser, and its effect on held-out log loss."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler

from sklearn_mlcl.calibration import MultiLabelCalibratedClassifierCV, fit_calibration
from sklearn_mlcl.metrics import multilabel_log_loss


def random_case(seed, n=80, L=5, scale=3.0):
    rng = np.random.default_rng(seed)
    z = scale * rng.normal(size=(n, L))
    Y = (rng.random((n, L)) < expit(0.4 * z - 1)).astype(float)
    Y[rng.random((n, L)) < 0.2] = np.nan
    return Y, z, rng.integers(0, 4, n) / 2


def objective_of(parameters, y, z, w):
    """Loop-written loss with Platt's targets."""
    a, b = parameters
    positives = sum(wi for yi, wi in zip(y, w, strict=True) if yi == 1)
    negatives = sum(wi for yi, wi in zip(y, w, strict=True) if yi == 0)
    total = 0.0
    for yi, zi, wi in zip(y, z, w, strict=True):
        t = (positives + 1) / (positives + 2) if yi == 1 else 1 / (negatives + 2)
        total += wi * (np.logaddexp(0, a * zi + b) - t * (a * zi + b))
    return total


@pytest.mark.parametrize("method", ["platt", "temperature"])
@pytest.mark.parametrize("scale", [0.01, 3.0, 500.0])
def test_optimum_of_a_general_optimiser(method, scale):
    Y, z, w = random_case(0, scale=scale)
    fitted = fit_calibration(Y, z, method=method, sample_weight=w)
    for j in range(Y.shape[1]):
        known = ~np.isnan(Y[:, j])
        arguments = (Y[known, j], z[known, j] / scale, w[known])
        if method == "platt":
            best = minimize(objective_of, [0.1, 0.0], arguments, tol=1e-12, method="BFGS").fun
        else:
            lowest = 0.01 * scale
            best = minimize(
                lambda a, *rest: objective_of((a[0], 0.0), *rest),
                [max(0.1, lowest)],
                arguments,
                bounds=[(lowest, None)],
                tol=1e-12,
            ).fun
        ours = objective_of((fitted.slope[j] * scale, fitted.offset[j]), *arguments)
        assert ours == pytest.approx(best, rel=1e-7)


def test_known_temperature_is_recovered():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(40_000, 2))
    Y = (rng.random(z.shape) < expit(z)).astype(int)
    fitted = fit_calibration(Y, z * [1.0, 4.0], method="temperature")
    np.testing.assert_allclose(fitted.temperature, [1.0, 4.0], rtol=0.05)
    np.testing.assert_array_equal(fitted.offset, 0)


@pytest.mark.parametrize("method", ["platt", "temperature"])
def test_constant_separable_and_unknown_labels(method):
    z = np.linspace(-2, 2, 40)[:, None] * np.ones(5)
    Y = np.zeros((40, 5))
    Y[:, 1] = 1
    Y[:, 2] = z[:, 2] > 0  # separable
    Y[:, 3] = z[:, 3] < 0  # upside down
    Y[:, 4] = np.nan
    fitted = fit_calibration(Y, z, method=method)
    assert np.isfinite([fitted.slope, fitted.offset]).all()
    assert fitted.slope[4] == 1
    assert fitted.offset[4] == 0
    proba = fitted.probabilities(z)
    assert ((proba > 0) & (proba < 1)).all()
    assert fitted.slope[2] > 1
    if method == "platt":
        assert (proba[:, 0] < 0.1).all()
        assert (proba[:, 1] > 0.9).all()
        assert fitted.slope[3] < -1
    else:
        assert (fitted.slope >= 0.01 - 1e-12).all()


def test_weights_are_repetitions_and_forms_agree():
    Y, z, w = random_case(3)
    Y, w = np.nan_to_num(Y), (2 * w).astype(int)
    fitted = fit_calibration(sp.csr_matrix(Y), z, sample_weight=w)
    rows = np.repeat(np.arange(len(Y)), w)
    repeated = fit_calibration(Y[rows], z[rows])
    np.testing.assert_allclose(fitted.slope, repeated.slope, rtol=1e-6)
    np.testing.assert_allclose(fitted.offset, repeated.offset, rtol=1e-6, atol=1e-8)
    assert fitted.probabilities(z.astype(np.float32)).dtype == np.float32
    with pytest.raises(ValueError, match="method must be one of"):
        fit_calibration(Y, z, method="isotonic")


def bundled(name):
    """Label matrices from scikit-learn's own sets."""
    if name == "digits":
        X, y = (part[:700] for part in load_digits(return_X_y=True))
        # strokes shared by digits: closed loop, straight line, curve, even
        marks = [{0, 6, 8, 9}, {1, 4, 7}, {2, 3, 5, 6}, {0, 2, 4, 6, 8}]
    else:
        X, y = (load_wine if name == "wine" else load_iris)(return_X_y=True)
        marks = [{0}, {1}, {0, 2}]
    X = X + np.random.default_rng(0).normal(scale=X.std(axis=0), size=X.shape)
    return X, np.column_stack([np.isin(y, list(mark)) for mark in marks]).astype(int)


@pytest.mark.parametrize("method", ["platt", "temperature"])
@pytest.mark.parametrize("name", ["digits", "wine", "iris"])
def test_held_out_log_loss_of_a_forest_falls(name, method):
    X, Y = bundled(name)
    X_train, X_test, Y_train, Y_test = train_test_split(X, Y, random_state=0)
    forest = RandomForestClassifier(15, random_state=0)
    calibrated = MultiLabelCalibratedClassifierCV(forest, method=method, cv=4)
    calibrated.fit(X_train, Y_train)
    raw = np.column_stack([p[:, 1] for p in forest.fit(X_train, Y_train).predict_proba(X_test)])
    # Clipped as the calibration clips, so that the forest's zeros do not decide the comparison.
    floor = calibrated.probability_floor_
    before = multilabel_log_loss(Y_test, np.clip(raw, floor, 1 - floor))
    after = multilabel_log_loss(Y_test, calibrated.predict_proba(X_test))
    assert after < before


def test_decision_function_is_calibrated_and_orders_rows_alike():
    X, Y = bundled("wine")
    X = StandardScaler().fit_transform(X)
    rest = OneVsRestClassifier(LogisticRegression())
    calibrated = MultiLabelCalibratedClassifierCV(rest, cv=3).fit(X, Y)
    assert calibrated.probability_floor_ is None
    logits = calibrated.decision_function(X)
    np.testing.assert_allclose(calibrated.predict_proba(X), expit(logits), rtol=1e-12)
    np.testing.assert_array_equal(calibrated.predict(X), logits >= 0)
    prefit = MultiLabelCalibratedClassifierCV(rest.fit(X, Y), cv="prefit", method="temperature")
    np.testing.assert_array_equal(
        np.argsort(prefit.fit(X, Y).decision_function(X), axis=0),
        np.argsort(rest.decision_function(X), axis=0),
    )
