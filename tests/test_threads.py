"""The threading contract: threads, processes and the caller's modes of torch change no digit."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from functools import cache, partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.model_selection import cross_val_score
from torch import nn

from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.training._torch_compat import private_draws
from sklearn_mlcl.training.net import is_foreign
from sklearn_mlcl.utils.runtime import seeded
from tests.fuzz_threads import answers, unequal_fits, unequal_predictions
from tests.processes import CONTEXT
from tests.small import NETS, every_classifier, every_net, small

ROOT = Path(__file__).parents[1]
needs_fork = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork"
)
#: Settings of each net under which all that can be random is drawn.
DRAWS: dict[str, dict[str, Any]] = {
    "ContrastiveMultiLabelClassifier": {"loss_params__n_negatives": 1},
    "MultiLabelMLPClassifier": {"early_stopping": True},
    "CGMVAEClassifier": {
        "loss_params__n_negatives": 1,
        "loss_params__n_latent_samples": 2,
    },
}


def drawing(make: Any, **changes: Any) -> Any:
    return small(make, **DRAWS.get(make.__name__, {}) | changes)


@pytest.fixture(autouse=True)
def global_state_stays() -> Iterator[None]:
    """What belongs to the process is as before after each test."""

    def state() -> tuple[Any, ...]:
        modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        threads = torch.get_num_threads(), torch.get_default_dtype()
        return *modes, *threads, torch.empty(0).device, torch.get_rng_state().numpy().tobytes()

    before = state()
    yield
    assert state() == before


@every_net
def test_predictions_of_one_estimator_in_threads(make: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = small(make).fit(X, Y)
    assert unequal_predictions(clf, X, n_calls=80) == 0
    assert all(isinstance(p, nn.Parameter) for p in clf.net_.module_.parameters())
    clf.partial_fit(X, Y)


@every_net
def test_fits_in_threads_equal_serial_fits(make: Any, label_data: Any) -> None:
    assert unequal_fits(partial(drawing, make), *label_data, n_pairs=2) == 0


@every_classifier
def test_cross_validation_in_threads_equals_serial(make: Any, label_data: Any) -> None:
    X, Y = label_data
    score = partial(cross_val_score, small(make), X, Y, cv=2, scoring="roc_auc")
    with joblib.parallel_config("threading"):
        assert_array_equal(score(n_jobs=2), score())


@pytest.mark.parametrize("forked", [pytest.param(True, marks=needs_fork), False])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of any fork beside threads
def test_a_child_predicts_and_fits_as_its_parent(forked: bool, label_data: Any) -> None:
    X, Y = label_data
    clf = small(MultiLabelMLPClassifier).fit(X, Y)
    context = multiprocessing.get_context("fork") if forked else CONTEXT
    with ProcessPoolExecutor(1, context) as pool:
        assert_array_equal(pool.submit(clf.predict_proba, X).result(), clf.predict_proba(X))
        again = pool.submit(small(MultiLabelMLPClassifier).fit, X, Y).result()
    assert_array_equal(again.predict_proba(X), clf.predict_proba(X))


AFTER_FORK = """
import multiprocessing, numpy as np, torch
from sklearn_mlcl import load
from tests.small import CLASSIFIERS, small
X, Y = np.random.RandomState(0).randn(900, 200), np.random.RandomState(1).rand(900, 9) > 0.5
models = [small(make).fit(X, Y) for make in CLASSIFIERS]
models[0].save("model")
torch.set_num_threads(2)
torch.ones(10**6).exp().sum()
def child():
    for model in models:
        model.predict_proba(X)
        model.fit(X, Y)
    load("model").partial_fit(X, Y).to_module()
    assert torch.get_num_threads() == 2
process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join(60)
hangs = process.is_alive()
process.kill()
assert not hangs and process.exitcode == 0, process.exitcode
"""


@needs_fork
def test_a_fork_after_work_on_two_threads_does_not_hang(tmp_path: Path) -> None:
    """torch's pool of threads does not survive a fork: the child works on one thread."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{AFTER_FORK}"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)


# ---------------------------------------------------------------------- modes of the caller


@contextmanager
def switched(setter: Callable[[Any], None], value: Any, before: Any) -> Iterator[None]:
    setter(value)
    try:
        yield
    finally:
        setter(before)


MODES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "default device": lambda: torch.device("meta"),
    "default dtype": lambda: switched(torch.set_default_dtype, torch.float64, torch.float32),
    "deterministic": lambda: switched(torch.use_deterministic_algorithms, True, False),
    "anomaly": lambda: torch.autograd.set_detect_anomaly(True, check_nan=False),
}


@pytest.fixture(scope="module")
def in_no_mode(label_data: Any) -> Callable[[Any], tuple[Any, Any, Any]]:
    """Of a class: a fit, what it answers, and probabilities after a ``partial_fit`` more."""
    X, Y = label_data

    @cache
    def of_class(make: Any) -> tuple[Any, Any, Any]:
        clf, further = drawing(make).fit(X, Y), None
        if hasattr(clf, "partial_fit"):
            further = deepcopy(clf).partial_fit(X, Y).predict_proba(X)
        return clf, answers(clf, X), further

    return of_class


@every_classifier
@pytest.mark.parametrize("mode", MODES)
def test_modes_of_the_caller_change_nothing(
    make: Any, mode: str, label_data: Any, in_no_mode: Any
) -> None:
    X, Y = label_data
    clf, expected, further = in_no_mode(make)
    with MODES[mode]():
        inside = drawing(make).fit(X, Y)
        found = answers(clf, X)
        module = inside.to_module()
    for other in (found, answers(inside, X)):
        for here, there in zip(other, expected, strict=True):
            assert_array_equal(here, there)
    rows = torch.from_numpy(X.astype(np.float32)).requires_grad_()
    module(rows).sum().backward()
    assert rows.grad is not None
    if further is not None:
        with MODES[mode]():
            inside.partial_fit(X, Y)
        assert_array_equal(inside.predict_proba(X), further)


@every_net
def test_bf16_inside_autocast_of_the_caller(make: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = small(make, net_params__precision="bf16")
    expected = clf.fit(X, Y).predict_proba(X)
    with torch.autocast("cpu", torch.float16):
        assert_array_equal(clf.fit(X, Y).predict_proba(X), expected)


# ---------------------------------------------------------------------- modules from elsewhere


class Noisy(nn.Module):
    """An encoder that draws in many ways, as one that knows nothing of us does."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(n_features, 8), nn.Dropout(0.3)
        self.register_buffer("shift", torch.rand(8))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        h = self.dropout(self.linear(X)) + self.get_buffer("shift")
        return h + 0.1 * torch.rand_like(h) + torch.randn(8) if self.training else h


@pytest.mark.parametrize("make", NETS)
def test_a_module_from_elsewhere_draws_from_the_fit(make: Any, label_data: Any) -> None:
    assert unequal_fits(partial(small, make, module=Noisy), *label_data, n_pairs=1) == 0


def test_a_compiled_module_from_elsewhere_is_seeded(
    label_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its draws are from the global generator, which is put back."""
    monkeypatch.setattr(torch, "compile", lambda module: module)
    X, Y = label_data
    clf = small(MultiLabelMLPClassifier, module=Noisy, net_params__compile=True)
    expected = clf.fit(X, Y).predict_proba(X)
    torch.rand(3, generator=torch.default_generator.clone_state())
    assert_array_equal(clf.fit(X, Y).predict_proba(X), expected)


ONES = torch.ones(3, 4, 5)
WAYS: dict[str, Callable[[], Any]] = {
    "rand": lambda: torch.rand(9),
    "rand, out": lambda: torch.rand(9, out=torch.empty(9)),
    "randn": lambda: torch.randn(9),
    "randint": lambda: torch.randint(2**40, (9,)),
    "randint from": lambda: torch.randint(5, 2**40, (9,)),
    "randperm": lambda: torch.randperm(99),
    "rand_like": lambda: torch.rand_like(ONES),
    "randn_like": lambda: torch.randn_like(ONES),
    "normal": lambda: torch.normal(0.0, 1.0, (9,)),
    "normal of tensors": lambda: torch.normal(ONES, ONES),
    "bernoulli": lambda: torch.bernoulli(ONES / 2),
    "multinomial": lambda: torch.multinomial(ONES.flatten(), 9),
    "poisson": lambda: torch.poisson(ONES),
    "in place": lambda: ONES.clone().exponential_(),
    "Dropout": lambda: nn.Dropout()(ONES),
    "Dropout1d": lambda: nn.Dropout1d()(ONES),
    "AlphaDropout": lambda: nn.AlphaDropout()(ONES),
    "native_dropout": lambda: torch.native_dropout(ONES, 0.5, True)[0],
    "RReLU": lambda: nn.RReLU()(-ONES),
    "LSTM": lambda: nn.LSTM(5, 2, 2, dropout=0.5)(ONES)[0],
    "attention": lambda: nn.MultiheadAttention(5, 1, dropout=0.5)(ONES, ONES, ONES)[0],
    "orthogonal_": lambda: nn.init.orthogonal_(torch.empty(4, 4)),
    "trunc_normal_": lambda: nn.init.trunc_normal_(torch.empty(9)),
    "Beta": lambda: torch.distributions.Beta(ONES, ONES).sample(),
}


@pytest.mark.parametrize("way", WAYS)
def test_draws_of_torch_are_redirected(way: str) -> None:
    found = []
    for seed in (0, 0, 1):
        with seeded(seed), private_draws():
            found.append(WAYS[way]())
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_a_generator_of_the_module_is_its_own() -> None:
    own = torch.Generator().manual_seed(3)
    expected = torch.rand(3, generator=torch.Generator().manual_seed(3))
    with seeded(0), private_draws():
        assert torch.equal(torch.rand(3, generator=own), expected)


@every_net
def test_our_own_modules_need_no_redirection(make: Any, label_data: Any) -> None:
    """It costs a tenth of a step."""
    net = small(make).fit(*label_data).net_
    assert not is_foreign(net.module_) and not is_foreign(net.criterion_)
    assert is_foreign(nn.Sequential(nn.Dropout())) and not is_foreign(nn.Sequential(nn.ReLU()))
