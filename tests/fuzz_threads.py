"""Storms of threads: predictions of one estimator, and fits at once, equal serial ones to the bit.

``python -m tests.fuzz_threads`` goes on for ``FUZZ_S`` seconds, 60 by default.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.datasets import make_multilabel_classification

from tests.small import NETS, small

Call = Callable[[], np.ndarray]


def answers(clf: Any, X: np.ndarray) -> list[np.ndarray]:
    """Return all that an estimator says of samples, in both dtypes."""
    return [call() for call in calls(clf, X)]


def calls(clf: Any, X: np.ndarray) -> list[Call]:
    """Return one call for each method that predicts and each dtype."""
    methods = [clf.predict_proba, clf.predict, clf.decision_function]
    methods += [clf.transform] if hasattr(clf, "transform") else []
    return [
        *(partial(method, x) for method in methods for x in (X, X.astype(np.float32))),
        lambda: clf.predict_topk(X, 2).toarray(),
    ]


@contextmanager
def impatient_threads() -> Iterator[None]:
    """Let Python change threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def unequal_predictions(clf: Any, X: np.ndarray, n_calls: int, n_threads: int = 8) -> int:
    """Return how many answers of one estimator in threads differ from serial ones."""
    rows = torch.from_numpy(X.astype(np.float32))
    to_call = [*calls(clf, X), lambda: clf.to_module()(rows).detach().numpy()]
    expected = [call() for call in to_call]

    def differs(i: int) -> bool:
        return not np.array_equal(to_call[i % len(to_call)](), expected[i % len(to_call)])

    with impatient_threads(), ThreadPoolExecutor(n_threads) as pool:
        bad = sum(pool.map(differs, range(n_calls)))
    return bad + sum(map(differs, range(len(to_call))))


def unequal_fits(make: Callable[..., Any], X: Any, Y: Any, n_pairs: int) -> int:
    """Return how many of pairs of fits in threads differ from serial fits."""
    expected = [make(random_state=seed).fit(X, Y).predict_proba(X) for seed in (0, 1)]

    def differs(seed: int) -> bool:
        return not np.array_equal(
            make(random_state=seed).fit(X, Y).predict_proba(X), expected[seed]
        )

    with impatient_threads(), ThreadPoolExecutor(2) as pool:
        return sum(sum(pool.map(differs, (0, 1))) for _ in range(n_pairs))


def main() -> None:
    """Run storms in turn until the time is up, and fail on the first unequal answer."""
    X, Y = make_multilabel_classification(120, 6, n_classes=4, random_state=0)
    end = time.monotonic() + float(os.environ.get("FUZZ_S", 60))
    done: Counter[str] = Counter()
    state = torch.get_rng_state()
    while time.monotonic() < end:
        for net in NETS:
            clf = small(net).fit(X, Y)
            assert not unequal_predictions(clf, X, 160), f"predictions of {net.__name__} differ"
            assert not unequal_fits(partial(small, net), X, Y, 1), f"fits of {net.__name__} differ"
            clf.partial_fit(X, Y)
            done += Counter(predictions=160, pairs=1)
    assert torch.equal(torch.get_rng_state(), state), "torch's global generator was moved"
    print(
        f"{done['predictions']} predictions and {done['pairs']} pairs of fits, all as serial ones"
    )


if __name__ == "__main__":
    main()
