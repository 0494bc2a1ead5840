"""Slow, plain definitions that the solvers are held against, and problems to solve."""

from __future__ import annotations

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression


def problem(n, d, L, seed=0, shift=0.5, scale=1.0):
    """Gaussian features off centre, labels of a noisy linear rule with both classes."""
    rng = np.random.default_rng(seed)
    X = scale * (rng.standard_normal((n, d)) + shift)
    logits = (X - X.mean(0)) @ rng.standard_normal((d, L)) / (scale * np.sqrt(d))
    Y = (rng.random((n, L)) < expit(2 * logits - 0.5)).astype(float)
    Y[0], Y[1] = 1.0, 0.0
    return X, Y


def count_widths(monkeypatch, operator):
    """Return a list that gets the number of labels of each product with the features."""
    widths = []
    forward = operator.forward

    def counted(self, T, out=None):
        widths.append(T.shape[1])
        return forward(self, T, out)

    monkeypatch.setattr(operator, "forward", counted)
    return widths


def objective(X, y, w, b, C, s):
    """Penalty plus C times the weighted log losses, row by row."""
    loss = 0.0
    for i in range(len(y)):
        sign = 2 * y[i] - 1
        loss += s[i] * np.logaddexp(0.0, -sign * (X[i] @ w + b))
    return 0.5 * (w @ w) + C * loss


def gradient(X, y, w, b, C, s, fit_intercept=True):
    """Gradient of `objective` in (w, b)."""
    residual = C * s * (expit(X @ w + b) - y)
    return np.append(w + X.T @ residual, residual.sum() if fit_intercept else 0.0)


def reference(X, y, C, s=None, fit_intercept=True):
    """scikit-learn's solution: (coef (d,), intercept)."""
    model = LogisticRegression(
        C=C, solver="newton-cholesky", tol=1e-12, max_iter=1000, fit_intercept=fit_intercept
    ).fit(X, y, sample_weight=s)
    return model.coef_[0], float(np.ravel(model.intercept_)[0])
