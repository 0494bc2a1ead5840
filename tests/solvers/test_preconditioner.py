"""The pair of the last direction in the preconditioner of the Newton systems."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sklearn_mlcl.solvers import fit_logistic, fit_logistic_path
from sklearn_mlcl.solvers._design import DenseOperator
from sklearn_mlcl.solvers._newton import CurvaturePairs, Preconditioner

from .oracles import count_widths

R, L = 7, 3


def systems() -> tuple[torch.Tensor, torch.Tensor]:
    """Positive definite matrices (L, r, r) and one direction for each (r, L)."""
    rng = np.random.default_rng(0)
    B = rng.standard_normal((L, R, 2 * R))
    s = rng.standard_normal((R, L))
    return torch.from_numpy(B @ B.transpose(0, 2, 1)), torch.from_numpy(s)


def preconditioner() -> tuple[Preconditioner, torch.Tensor, torch.Tensor]:
    H, s = systems()
    y = torch.einsum("lij,jl->il", H, s)
    pairs = CurvaturePairs.none(R, L, torch.device("cpu"))
    pairs.step, pairs.product = s, y
    return Preconditioner.of(torch.diagonal(H, dim1=1, dim2=2).T, pairs), s, y


def as_matrices(P: Preconditioner) -> torch.Tensor:
    columns = [P.solve(torch.eye(R, dtype=torch.float64)[:, [j] * L]) for j in range(R)]
    return torch.stack(columns, 2).transpose(0, 1)


def test_exact_along_the_last_direction_and_positive_definite():
    P, s, y = preconditioner()
    torch.testing.assert_close(P.solve(y), s)
    matrices = as_matrices(P)
    torch.testing.assert_close(matrices, matrices.transpose(1, 2))
    assert torch.linalg.eigvalsh(matrices).min() > 0


def test_is_the_product_form():
    P, s, y = preconditioner()
    for k, got in enumerate(as_matrices(P)):
        V = torch.eye(R) - torch.outer(y[:, k], s[:, k]) / (y[:, k] @ s[:, k])
        want = V.T @ torch.diag(1 / P.metric[:, k]) @ V
        want += torch.outer(s[:, k], s[:, k]) / (y[:, k] @ s[:, k])
        torch.testing.assert_close(got, want)


def test_without_a_direction_it_is_the_diagonal():
    metric = torch.rand(R, L) + 0.5
    residual = torch.randn(R, L)
    for pairs in (None, CurvaturePairs.none(R, L, metric.device)):
        P = Preconditioner.of(metric, pairs)
        torch.testing.assert_close(P.solve(residual), residual / metric)
        P = P.take(torch.tensor([2, 0]))
        torch.testing.assert_close(P.solve(residual[:, [2, 0]]), (residual / metric)[:, [2, 0]])


def test_labels_taken_write_into_the_memory_of_all():
    pairs = CurvaturePairs.none(R, L, torch.device("cpu"))
    some = pairs.take(torch.tensor([0, 2])).take(torch.tensor([1]))
    some.put(torch.ones(R, 1), torch.full((R, 1), 2.0))
    assert pairs.step[:, 2].eq(1).all() and pairs.product[:, 2].eq(2).all()
    assert not pairs.step[:, :2].any()


@pytest.mark.parametrize("grid", [[1.0], [0.01, 0.1, 1.0, 10.0]])
def test_saves_products_with_the_features(monkeypatch, grid):
    """On labels whose logits bend along their coefficients, a tenth at the least."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((2000, 40))
    Y = rng.random((2000, 20)) < 1 / (1 + np.exp(-X @ rng.standard_normal((40, 20)) / 2))
    widths = count_widths(monkeypatch, DenseOperator)
    counts, objectives = [], []
    for rows_a_coefficient in (2, 10**6):
        monkeypatch.setattr("sklearn_mlcl.solvers._task.ROWS_A_COEFFICIENT", rows_a_coefficient)
        widths.clear()
        fits = fit_logistic_path(X, Y, grid, tol=1e-8)
        counts.append(sum(widths))
        objectives.append([fit.objective for fit in fits])
    assert counts[0] < 0.9 * counts[1]
    np.testing.assert_allclose(*objectives, rtol=1e-13)


@pytest.mark.parametrize("weight", [1e-20, 1e20])
def test_the_scale_of_the_weights_is_that_of_C(weight):
    rng = np.random.default_rng(2)
    X, Y = rng.standard_normal((60, 4)), rng.random((60, 3)) < 0.4
    weighted = fit_logistic(X, Y, C=1 / weight, sample_weight=np.full(60, weight))
    plain = fit_logistic(X, Y)
    np.testing.assert_allclose(weighted.coef, plain.coef, rtol=1e-9)
    np.testing.assert_allclose(weighted.objective, plain.objective, rtol=1e-12)
