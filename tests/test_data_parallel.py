"""One fit shared by the processes of a torch.distributed group."""

from __future__ import annotations

import re
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
import torch

from sklearn_mlcl.losses import CONTRASTIVE_LOSSES
from tests import parallel_worker
from tests.losses.cases import tile_budget
from tests.processes import in_group


@pytest.fixture(scope="module")
def found() -> list[Any]:
    return [process.result() for process in in_group(2, parallel_worker.work)]


def test_gradients_are_those_of_one_process(found: list[Any]) -> None:
    assert max(process["gradients"] for process in found) < 1e-10


def test_fits_are_those_of_one_process(found: list[Any]) -> None:
    gaps = {name: difference for name, (difference, _) in found[0]["gaps"].items()}
    assert {name: gap for name, gap in gaps.items() if not gap < 1e-5} == {}
    first, second = ({n: own for n, (_, own) in process["gaps"].items()} for process in found)
    assert first == second


def test_all_processes_end_with_the_same_estimator(found: list[Any]) -> None:
    first, second = (process["sames"] for process in found)
    assert first == second
    assert first["memory map"] and first["loaded"] and first["stopped by one"][0] == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("samples", r"^ValueError: X must be the same in all processes .*\(101, 8\).*\(100, 8\)"),
        ("labels", "^ValueError: y must be the same in all processes"),
        (
            "parameter",
            r"^ValueError: dropout must be the same .* got 0\.1 in process 0 and 0\.2 in",
        ),
        ("batch norm", "^ValueError: module has BatchNorm1d .*data_parallel"),
        ("later", "^no error$"),
    ],
)
def test_what_differs_is_an_error_everywhere(found: list[Any], name: str, message: str) -> None:
    for process in found:
        assert re.search(message, process["errors"][name])


@pytest.mark.parametrize(
    ("name", "error"), [("in one", "OSError: in one"), ("input of one", "ValueError: Input X")]
)
def test_a_fit_that_fails_in_one_process_fails_in_all(
    found: list[Any], name: str, error: str
) -> None:
    first, second = (process["errors"][name] for process in found)
    assert first.startswith("RuntimeError: fit: another process") and second.startswith(error)


def test_a_fit_in_one_process_alone_says_what_it_waits_for(found: list[Any]) -> None:
    assert found[0]["waits"].startswith("RuntimeError: fit: the other processes")
    assert "fit waits for the other 1 processes" in found[0]["waits"]


def test_a_lost_process_and_a_new_start_end_as_an_undisturbed_fit(
    found: list[Any], tmp_path: Path
) -> None:
    one, lost = in_group(2, parallel_worker.resume, str(tmp_path), "1")
    assert isinstance(lost.exception(), BrokenProcessPool)
    assert isinstance(one.exception(), RuntimeError)
    assert len(list(tmp_path.iterdir())) == 1
    again, other = in_group(2, parallel_worker.resume, str(tmp_path), "none")
    assert again.result() == other.result() == found[0]["undisturbed"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("budget", [2**28, tile_budget(3)])
@pytest.mark.parametrize("name", sorted(CONTRASTIVE_LOSSES))
def test_parts_of_a_loss_sum_to_it(name: str, budget: int) -> None:
    generator = torch.Generator().manual_seed(0)
    loss = CONTRASTIVE_LOSSES[name](memory_budget=budget)
    labels = (torch.rand(9, 5, generator=generator) < 0.4).double()
    labels[0, 1] = torch.nan
    points = torch.randn(9, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    args: dict[str, Any] = {"sample_weight": torch.rand(9, 5, generator=generator).double()}
    if loss.uses_prototypes:
        args["prototypes"] = torch.randn(5, 3, dtype=torch.float64, generator=generator)
    whole = loss(points, labels, **args)
    (gradient,) = torch.autograd.grad(whole, points)
    for n_parts in (1, 2, 4, 11):
        parts = [loss.part_of_sum(points, labels, (k, n_parts), **args) for k in range(n_parts)]
        total = torch.stack([t for t, _ in parts]).sum() / torch.stack([w for _, w in parts]).sum()
        torch.testing.assert_close(total, whole, rtol=1e-12, atol=0)
        (own,) = torch.autograd.grad(total, points)
        torch.testing.assert_close(own, gradient, rtol=1e-10, atol=1e-14)
    with pytest.raises(ValueError, match=r"part must be \(k, m\) with 0 <= k < m, got \(2, 2\)"):
        loss.part_of_sum(points, labels, (2, 2), **args)
