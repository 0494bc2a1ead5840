"""The steps of the solver, one by one: systems, line search, starts on a path, blocks of labels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.special import expit

from sklearn_mlcl.solvers import _newton, _task, fit_logistic, fit_logistic_path
from sklearn_mlcl.solvers._design import DenseOperator, SparseOperator
from sklearn_mlcl.solvers._newton import (
    Buffer,
    Hessian,
    Preconditioner,
    Problems,
    conjugate_gradients,
)
from sklearn_mlcl.solvers._task import Secant

from .oracles import count_widths, problem

CPU = torch.device("cpu")


# ---------------------------------------------------------------------- conjugate gradients


class Counted(DenseOperator):
    """Records how many labels each product has."""

    def __init__(self, A):
        super().__init__(A)
        self.widths = []

    def forward(self, T, out=None):
        self.widths.append(T.shape[1])
        return super().forward(T, out)


def systems(n=50, r=6, L=4, seed=0):
    """Newton systems of L labels: the operator, weights, ridge, metric and right sides."""
    rng = np.random.default_rng(seed)
    A, weight, ridge, right = (
        torch.from_numpy(rng.random(shape) - shift)
        for shape, shift in (((n, r), 0.5), ((n, L), -0.1), ((r, L), -0.1), ((r, L), 0.5))
    )
    operator = Counted(A)
    matrices = torch.einsum("nj,nl,nk->ljk", A, weight, A) + torch.diag_embed(ridge.T)
    metric = torch.diagonal(matrices, dim1=1, dim2=2).T.contiguous()
    return Hessian(operator, Buffer(n, L, CPU), weight, ridge), metric, right, matrices


def test_conjugate_gradients_solve_in_as_many_steps_as_coefficients():
    H, metric, right, matrices = systems()
    eta = torch.full((4,), 1e-9, dtype=torch.float64)
    x, rest = conjugate_gradients(H, Preconditioner(metric), right, eta)
    expected = torch.linalg.solve(matrices, right.T[..., None])[..., 0].T
    torch.testing.assert_close(x, expected, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(rest, torch.zeros_like(rest), rtol=0, atol=1e-8)
    assert len(H.A.widths) == 6


@pytest.mark.parametrize("eta", [0.5, 0.1, 0.01])
def test_conjugate_gradients_stop_at_the_asked_reduction(eta):
    """The residual is that of the answer, below `eta`, and above it one step before."""
    H, metric, right, matrices = systems()
    etas = torch.full((4,), eta, dtype=torch.float64)
    x, rest = conjugate_gradients(H, Preconditioner(metric), right, etas)
    torch.testing.assert_close(rest, right - torch.einsum("ljk,kl->jl", matrices, x))

    def size(residual):
        return (residual.square() / metric).sum(0).sqrt()

    assert (size(rest) <= eta * size(right)).all()
    steps = sum(H.A.widths)
    alone = 0
    for k in range(4):
        one = Hessian(Counted(H.A.A), H.buffer, H.weight[:, [k]], H.ridge[:, [k]])
        args = Preconditioner(metric[:, [k]]), right[:, [k]], etas[[k]]
        found, _ = conjugate_gradients(one, *args)
        torch.testing.assert_close(found, x[:, [k]])
        alone += len(one.A.widths)
    # A label that is done leaves, so that four labels cost what they cost alone.
    assert steps == alone


def test_labels_leave_when_an_eighth_of_them_is_done():
    """Systems with the identity end at once; the product with one left is of one column."""
    H, metric, right, _ = systems(L=8)
    right[:, :7] = 0.0
    eta = torch.full((8,), 1e-9, dtype=torch.float64)
    conjugate_gradients(H, Preconditioner(metric), right, eta)
    assert set(H.A.widths) == {1} and len(H.A.widths) == 6
    # Of sixteen labels one alone is too few to be worth the copies of fifteen.
    H, metric, right, _ = systems(L=16)
    right[:, 0] = 0.0
    conjugate_gradients(H, Preconditioner(metric), right, eta.repeat(2))
    assert H.A.widths[0] == 16


# ---------------------------------------------------------------------- Newton's method


def test_a_system_is_solved_as_far_as_is_of_use():
    """As far as Newton's own error or `tol` asks, between a tenth and a ten thousandth."""
    norm = torch.tensor([1e-2, 1e-3, 1.0, 5e-5, 1e-2, 1e-8])
    before = torch.tensor([1.0, 0.1, 1.0, 1.0, 0.05, 1.0])
    expected = [0.01, 0.001, 0.1, 1e-4, 0.04, 0.03]
    got = _newton._forcing(norm, before, 1e-9)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5)


def test_line_search_ends_between_half_the_slope_and_zero(monkeypatch):
    """From a poor start the full step of some labels is too long; each found step is checked."""
    X, Y = problem(150, 6, 5)
    met = []
    search = _newton._line_search

    def checked(A, problems, theta, direction):
        step = search(A, problems, theta, direction)
        A = A.A

        def slope(at):
            u = problems.sign * (A @ (theta + at * direction))
            loss = (A.T @ (problems.sign * torch.sigmoid(u))) / problems.total
            return ((loss + problems.rho * (theta + at * direction)) * direction).sum(0)

        first, found = slope(torch.zeros_like(step)), slope(step)
        assert ((step > 0) & (step < 1)).all()
        assert (found <= 1e-12).all() and (found >= 0.5 * first - 1e-12).all()
        assert (slope(torch.ones_like(step)) > -0.1 * first * (1 - 1e-3)).all()
        met.append(len(step))
        return step

    monkeypatch.setattr(_newton, "_line_search", checked)
    rng = np.random.default_rng(0)
    for size in (3.0, 30.0, 300.0):
        start = (size * rng.standard_normal((5, 6)), size * rng.standard_normal(5))
        got = fit_logistic(X, Y, C=10.0, init=start)
        assert got.converged.all()
    assert sum(met) >= 10
    assert max(met) == 1  # a quarter of the labels at a time


def test_slope_and_curvature_of_a_line_are_its_differences(monkeypatch):
    X, Y = problem(80, 4, 3)
    weight = np.random.default_rng(0).random((80, 3)) + 0.1
    slopes = []
    search = _newton._line_search

    def checked(A, problems, theta, direction):
        u, shift = (problems.signed_logits(A, t) for t in (theta, direction))
        at = torch.full_like(direction[0], 0.3)

        def slope(step):
            return _newton._slope(problems, theta, u, direction, shift, step)

        def value(step):
            t = theta + step * direction
            logits = torch.nn.functional.softplus(problems.signed_logits(A, t))
            return problems.weighted(logits, slice(None)).sum(0) / problems.total + problems.ridge(
                t
            )

        first, second = slope(at)
        h = 1e-5
        torch.testing.assert_close(
            first, (value(at + h) - value(at - h)) / (2 * h), rtol=1e-5, atol=1e-7
        )
        torch.testing.assert_close(
            second, (slope(at + h)[0] - slope(at - h)[0]) / (2 * h), rtol=1e-5, atol=1e-7
        )
        slopes.append(first)
        return search(A, problems, theta, direction)

    monkeypatch.setattr(_newton, "_line_search", checked)
    init = (np.full((3, 4), 5.0), np.array([-5.0, 5.0, 0.0]))
    fit_logistic(X, Y, C=10.0, init=init, sample_weight=weight)
    assert slopes


def test_steps_are_in_single_precision_until_the_last_ones(monkeypatch):
    """Fifteen systems in single; a point before the fifteenth is in double only near the end."""
    systems, points = [], []
    direction, evaluate = _newton.newton_direction, _newton.evaluate

    def system(A, problems, point, eta):
        systems.append((A.dtype, point.curvature.dtype))
        return direction(A, problems, point, eta)

    def at(A, *rest):
        points.append(A.dtype)
        return evaluate(A, *rest)

    X, Y = problem(150, 6, 1)
    start = (np.full((1, 6), 1000.0), np.array([-1000.0]))
    with monkeypatch.context() as patched:
        patched.setattr(_newton, "evaluate", at)
        rough = fit_logistic(X, Y, tol=_newton.ROUGH)
    assert set(points) == {torch.float32} and rough.converged.all()
    np.testing.assert_allclose(rough.objective, fit_logistic(X, Y).objective, rtol=1e-5)
    points.clear()
    monkeypatch.setattr(_newton, "newton_direction", system)
    monkeypatch.setattr(_newton, "_line_search", lambda A, p, theta, way: torch.ones(1) * 2.0**-9)
    monkeypatch.setattr(_newton, "evaluate", at)
    fit_logistic(X, Y, C=10.0, init=start, max_iter=18)
    single, double = torch.float32, torch.float64
    assert systems == [(single, single)] * 15 + [(double, double)] * 3
    full_steps = [points[0], *points[1::2]]
    # The start may be a minimum; the fifteenth step is the first whose point is in double.
    assert full_steps == [double] + [single] * 14 + [double] * 4
    points.clear()
    fit_logistic(X, Y, max_iter=3)
    assert points == [single, single, single, double]  # the last that is allowed


def test_line_search_aims_at_a_quarter_of_the_slope():
    """Where only the penalty bends, the slope is a line and the first aim is the answer."""
    L = 3
    theta = torch.tensor([[-1.0, -2.0, -0.5], [0.0, 1.0, 3.0]]).double()
    rho = torch.tensor([[1.0, 2.0, 8.0], [0.5, 0.0, 0.0]]).double()
    way = torch.tensor([[4.0, 8.0, 1.5], [0.0, 2.0, -1.0]]).double()
    flat = DenseOperator(torch.zeros(1, 2, dtype=torch.float64))
    sign, total = torch.ones(1, L, dtype=torch.int8), torch.ones(L, dtype=torch.float64)
    problems = Problems(sign, None, total, rho, Buffer(1, L, CPU), None)
    first, bend = (rho * way * theta).sum(0), (rho * way * way).sum(0)
    torch.testing.assert_close(
        _newton._line_search(flat, problems, theta, way), -0.75 * first / bend
    )


def test_line_search_finds_its_step_in_few_slopes(monkeypatch):
    X, Y = problem(150, 6, 1)
    counts = []
    search, slope = _newton._line_search, _newton._slope

    def counted(*args):
        counts[-1] += 1
        return slope(*args)

    def searched(*args):
        counts.append(0)
        return search(*args)

    monkeypatch.setattr(_newton, "_slope", counted)
    monkeypatch.setattr(_newton, "_line_search", searched)
    for size in (3.0, 30.0, 300.0):
        fit_logistic(X, Y, C=10.0, init=(np.full((1, 6), size), np.array([-size])))
    assert np.mean(counts) <= 6


@pytest.mark.parametrize(
    ("shape", "C", "most"),
    [((200, 8, 5), 1.0, 6), ((200, 8, 5), 1e3, 7), ((40, 90, 3), 1.0, 7), ((300, 30, 2), 1e-3, 4)],
)
def test_newton_steps_are_few(shape, C, most):
    got = fit_logistic(*problem(*shape), C=C)
    assert got.converged.all()
    assert got.n_iter.max() <= most


def test_newton_steps_from_afar_are_few():
    X, Y = problem(150, 6, 2)
    for size, most in ((1.0, 7), (30.0, 9), (1000.0, 20)):
        start = (np.full((2, 6), size), np.array([-size, size]))
        got = fit_logistic(X, Y, C=10.0, init=start)
        assert got.converged.all()
        assert got.n_iter.max() <= most


def test_a_limit_of_no_steps_judges_the_start():
    X, Y = problem(100, 5, 2)
    best = fit_logistic(X, Y)
    kept = fit_logistic(X, Y, init=(best.coef, best.intercept), max_iter=0)
    assert kept.converged.all() and not kept.n_iter.any()
    np.testing.assert_allclose(kept.objective, best.objective, rtol=1e-12)
    first = fit_logistic(X, Y, max_iter=0)
    assert not first.converged.any()
    # The start is the null model: the log odds, and no coefficient.
    share = Y.mean(0)
    np.testing.assert_allclose(first.coef, 0.0, atol=1e-15)
    np.testing.assert_allclose(first.intercept, np.log(share / (1 - share)), rtol=1e-12)
    entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    np.testing.assert_allclose(first.objective, 100 * entropy, rtol=1e-12)


# ---------------------------------------------------------------------- starts on a path


def quadratic_minima(C):
    """Minima of a loss of constant curvature h at C: t_j a_j, t_j = h S C / (h S C + l_j)."""
    penalty = torch.tensor([0.5, 2.0, 10.0, 0.0], dtype=torch.float64)
    total, curvature = torch.tensor([3.0, 8.0]).double(), torch.tensor([0.2, 0.1]).double()
    target = 0.7 * torch.arange(8, dtype=torch.float64).reshape(4, 2) - 1.0
    pull = curvature * total * C
    return penalty, total, curvature, target * pull / (pull + penalty[:, None])


def test_starts_of_a_quadratic_path_are_its_minima():
    Cs = [torch.tensor(c).double() for c in ([0.1, 0.2], [0.5, 1.0], [4.0, 2.0], [90.0, 3.0])]
    penalty, total, curvature, first = quadratic_minima(Cs[0])
    zero = torch.zeros(2, dtype=torch.float64)
    path = Secant(
        penalty[:, None], total, curvature, zero.expand(4, 2), zero, zero.expand(4, 2), zero
    )
    path.move(first, Cs[0])
    for before, C in pairwise(Cs):
        minimum = quadratic_minima(C)[-1]
        # The unpenalised coefficient does not move; its secant starts at zero.
        got = path.start(C)
        if before is Cs[0]:
            torch.testing.assert_close(got[:3], minimum[:3], rtol=1e-10, atol=1e-12)
        else:
            torch.testing.assert_close(got, minimum, rtol=1e-10, atol=1e-12)
        path.move(minimum, C)
    last = quadratic_minima(Cs[-1])[-1]
    for C in (Cs[-1], Cs[0]):  # not upwards: the last minimum
        torch.testing.assert_close(path.start(C), last, rtol=0, atol=0)


def test_the_path_starts_at_the_null_model():
    total, p = torch.tensor([4.0, 8.0]).double(), torch.tensor([0.5, 0.25]).double()
    theta = torch.arange(6, dtype=torch.float64).reshape(3, 2)
    path = Secant.at_null(torch.ones(3, dtype=torch.float64), total, theta, p)
    torch.testing.assert_close(path.curvature, torch.tensor([0.25, 0.1875]).double())
    torch.testing.assert_close(path.start(torch.ones(2, dtype=torch.float64)), theta)


def test_a_fine_path_takes_hardly_a_step_each():
    X, Y = problem(400, 10, 4)
    path = fit_logistic_path(X, Y, 10.0 ** np.linspace(-1, 1, 21), tol=1e-6)
    assert all(step.converged.all() for step in path)
    assert np.mean([step.n_iter for step in path[2:]]) <= 1.6


def test_a_start_close_to_its_minimum_is_judged_in_double_at_once(monkeypatch):
    """On a path the start is that close where a tenth of the last one was within `tol`."""
    X, Y = problem(400, 10, 3)
    near = []
    minimise = _task.minimise

    def recorded(*arguments):
        minimum = minimise(*arguments)
        near.append((arguments[-1], float(minimum.start.median())))
        return minimum

    monkeypatch.setattr(_task, "minimise", recorded)
    tol = 1e-3
    fit_logistic_path(X, Y, 10.0 ** np.arange(-2, 5), tol=tol)
    for (_, before), (now, _) in pairwise(near):
        assert now == (0.1 * before <= tol)
    assert [now for now, _ in near] == [False] * 4 + [True] * 3


# ---------------------------------------------------------------------- blocks of labels


@pytest.mark.parametrize("width", [1, 3, 7])
def test_the_budget_says_how_many_labels_are_solved_at_a_time(monkeypatch, width):
    """Of 56 bytes a logit and 160 a coefficient, the intercept among them."""
    n, d, L = 90, 4, 7
    X, Y = problem(n, d, L)
    bytes_a_label = 56 * n + 160 * (d + 1)
    widths = count_widths(monkeypatch, DenseOperator)
    fit_logistic(X, Y, memory_budget=width * bytes_a_label)
    assert max(widths) == width
    widths.clear()
    fit_logistic(X, Y, memory_budget=(width + 1) * bytes_a_label - 1)
    assert max(widths) == width


@pytest.mark.parametrize("sparse", [False, True])
def test_on_a_cpu_blocks_stay_within_the_caches(monkeypatch, sparse):
    """2**21 logits, or 64 labels where that is more; always 64 where X is sparse."""
    widths = count_widths(monkeypatch, SparseOperator if sparse else DenseOperator)
    rng = np.random.default_rng(0)
    for n, expected in ((2**14, 128), (2**16, 64)):
        X, Y = rng.standard_normal((n, 1)), rng.random((n, 150)) < 0.5
        widths.clear()
        fit_logistic(sp.csr_array(X) if sparse else X, Y, max_iter=0)
        assert widths[0] == (64 if sparse else expected)


@pytest.mark.parametrize("by_label", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_labels_of_one_class_among_others_and_in_blocks(by_label, fit_intercept):
    X, Y = problem(40, 3, 6)
    Y[:, 1], Y[:, 4] = 0.0, 1.0
    Y[:, 5] = np.nan
    rng = np.random.default_rng(0)
    weight = rng.random((40, 6) if by_label else 40) + 0.5
    w = weight if by_label else np.repeat(weight[:, None], 6, 1)
    keywords = {"sample_weight": weight, "fit_intercept": fit_intercept}
    # C times the weights of the labels, each on its own.
    C = np.array([0.5, 2.0, 1.0, 1.0, 3.0, 1.0])
    for budget in (2**28, 1):
        got = fit_logistic(X, Y, C=C, memory_budget=budget, **keywords)
        assert got.constant.tolist() == [False, True, False, False, True, True]
        assert got.converged.all()
        np.testing.assert_allclose(got.coef[5], 0.0, atol=0)
        assert got.intercept[5] == got.objective[5] == 0
        if not fit_intercept:
            assert got.coef[1].any() and got.n_iter[1] > 0
            continue
        assert not got.coef[[1, 4]].any() and not got.n_iter[[1, 4, 5]].any()
        for k, odds in ((1, 0.5 / (w[:, 1].sum() + 0.5)), (4, (w[:, 4].sum() + 0.5) / 0.5)):
            np.testing.assert_allclose(got.intercept[k], np.log(odds), rtol=1e-12)
            wrong = expit(np.log(odds) if k == 1 else -np.log(odds))
            expected = -C[k] * w[:, k].sum() * np.log1p(-wrong)
            np.testing.assert_allclose(got.objective[k], expected, rtol=1e-9)


def test_rows_of_weight_zero_are_as_if_they_were_not_there():
    X, Y = problem(60, 4, 3)
    weight = (np.arange(60) % 3 > 0).astype(float)
    X[weight == 0] *= 1e3
    kept = fit_logistic(X[weight > 0], Y[weight > 0])
    got = fit_logistic(X, Y, sample_weight=weight)
    np.testing.assert_allclose(got.coef, kept.coef, atol=1e-8)
    np.testing.assert_allclose(got.objective, kept.objective, rtol=1e-11)
