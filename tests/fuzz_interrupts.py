"""SIGINT at random moments of fits: it reaches the caller, and all is as it was.

``python -m tests.fuzz_interrupts`` goes on for ``FUZZ_S`` seconds, 60 by default, from the seed
``FUZZ_SEED`` (the time).
"""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections import Counter
from random import Random
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.datasets import make_multilabel_classification
from skorch.callbacks import Callback

from tests.small import NETS, small

#: How an interrupted fit may end. One that is done may be so a moment before the signal comes.
FINE = {"raised", "raised when done", "finished"}
X, Y = make_multilabel_classification(120, 6, n_classes=4, random_state=0)


class Busy(Callback):
    """Spend as much time in callbacks as training takes, where a stop may come from too."""

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        end = time.perf_counter() + 1e-4
        while time.perf_counter() < end:
            sum(range(50))


def process_state() -> dict[str, Any]:
    """Return what a fit must leave in the process as it was."""
    return {
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "torch's generator": torch.get_rng_state().numpy().tobytes(),
        "threads of torch": torch.get_num_threads(),
        "threads": threading.active_count(),
        "filters of warnings": list(warnings.filters),
        "handler": signal.getsignal(signal.SIGINT),
        "settings of scikit-learn": sklearn.get_config(),
    }


def fitted(make: Any) -> Any:
    """Return a fitted estimator whose next fit goes on, and takes long enough to be broken off."""
    clf = small(make, max_epochs=10, early_stopping=False, callbacks=[Busy()])
    return clf.fit(X, Y).set_params(warm_start=True)


def answers(clf: Any) -> list[bytes]:
    """Return what an estimator says and knows, to compare it."""
    optimizer = clf.net_.optimizer_.state_dict()["state"]
    moments = [value for state in optimizer.values() for value in state.values()]
    known = [clf.predict_proba(X), clf.transform(X), *clf.history_.values(), *moments]
    counts = [clf.n_iter_, len(clf.net_.history), len(clf.net_.callbacks_)]
    return [np.asarray(part).tobytes() for part in (*known, *counts)]


def interrupt(clf: Any, seconds: float) -> str:
    """Fit, let SIGINT come after so many seconds; return how it ended."""
    before, state, n_epochs = answers(clf), process_state(), clf.n_iter_
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        clf.fit(X, Y)
        ended = "finished" if signal.getitimer(signal.ITIMER_REAL)[0] else "SWALLOWED"
    except KeyboardInterrupt:
        ended = "raised"
    except BaseException as error:
        ended = f"OTHER {error!r}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    changed = [name for name, value in process_state().items() if value != state[name]]
    if changed:
        return f"{ended}, CHANGED {changed}"
    whole = clf.n_iter_ == len(clf.net_.history) == n_epochs + clf.max_epochs
    if ended == "raised" and answers(clf) != before:
        return "raised when done" if whole else "raised, ANOTHER ESTIMATOR"
    if ended == "finished" and not whole:
        return "STOPPED EARLY"
    return ended


def interrupted(make: Any, n: int, random: Random, end: float = float("inf")) -> Counter[str]:
    """Interrupt fits of a net, n times or until a moment; return how often what happened."""
    counts: Counter[str] = Counter()
    # A shell starts what runs in the background with SIGINT ignored.
    of_sigint = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        clf = fitted(make)
        start = time.perf_counter()
        clf.fit(X, Y)
        duration = time.perf_counter() - start
        clf = fitted(make)
        while counts["raised"] < n and time.monotonic() < end:
            ended = interrupt(clf, random.uniform(0.0, 1.0) * duration + 1e-6)
            counts[ended] += 1
            if ended != "raised":
                clf = fitted(make)
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.signal(signal.SIGINT, of_sigint)
    return counts


def main() -> None:
    """Interrupt fits of the three nets in turn."""
    seconds = float(os.environ.get("FUZZ_S", "60"))
    seed = int(os.environ.get("FUZZ_SEED", str(time.time_ns())))
    print(f"FUZZ_SEED={seed}", flush=True)
    harm = False
    for make in NETS:
        end = time.monotonic() + seconds / len(NETS)
        counts = interrupted(make, int(os.environ.get("FUZZ_N", 10**9)), Random(seed), end)
        print(make.__name__, dict(counts), flush=True)
        harm |= bool(counts.keys() - FINE)
    raise SystemExit(int(harm))


if __name__ == "__main__":
    main()
