"""``kill -9`` at random moments of fits that keep their state: the next fit ends as undisturbed.

``python -m tests.fuzz_kill`` goes on for ``FUZZ_S`` seconds, 60 by default, from the seed
``FUZZ_SEED`` (the time).
"""

from __future__ import annotations

import os
import pickle
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from sklearn.datasets import make_multilabel_classification

from sklearn_mlcl import CGMVAEClassifier
from sklearn_mlcl.persistence import FitCheckpoint
from tests.small import NETS, small

X, Y = make_multilabel_classification(120, 6, n_classes=4, random_state=0)
SCHEDULES = ("averaged", "one_cycle")


def estimator(make: Any, schedule: str, folder: Path | None) -> Any:
    """Return an estimator that holds out folds and chooses its epochs."""
    own = {} if make is CGMVAEClassifier else {"n_estimators": 4}
    checkpoint = None if folder is None else FitCheckpoint(folder, every=1)
    return small(make, max_epochs=32, net_params__schedule=schedule, checkpoint=checkpoint, **own)


def answers(clf: Any) -> dict[str, Any]:
    """Return what a fit ended in, but for the time it took."""
    optimizer = clf.net_.optimizer_.state_dict()["state"]
    moments = [np.asarray(value) for state in optimizer.values() for value in state.values()]
    return {
        "probabilities": clf.predict_proba(X).tobytes(),
        "embedding": clf.transform(X).tobytes(),
        "out of fold": clf.oof_proba_.tobytes() if hasattr(clf, "oof_proba_") else None,
        "optimizer": [moment.tobytes() for moment in moments],
        "history": {n: v.tobytes() for n, v in clf.history_.items() if n != "dur"},
        "chosen": repr((clf.n_iter_, clf.threshold_, clf.blend_, clf.validation_scores_)),
    }


class Child:
    """A fit in a process of its own."""

    def __init__(self, clf: Any, out: Path) -> None:
        self.out = out
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                answer = answers(clf.fit(X, Y))
                draft = out.with_suffix(".draft")
                draft.write_bytes(pickle.dumps(answer))
                draft.rename(out)
                code = 0
            finally:
                os._exit(code)

    def end(self, seconds: float | None = None) -> Any:
        """Let it end, or kill it after so many seconds; return its answers, None if it was killed.

        Raises
        ------
        AssertionError
            If it ended in an error.
        """
        if seconds is not None:
            time.sleep(seconds)
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        assert status == 0 or os.WIFSIGNALED(status), f"a fit ended with {status}"
        return pickle.loads(self.out.read_bytes()) if self.out.exists() else None


def killed(make: Any, schedule: str, n_times: int, random: Random) -> Counter[str]:
    """Kill fits, one to three times each, and count how those that go on end."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        states, out = Path(name, "states"), Path(name, "answers")
        # The first fit of a process imports what it needs: the children begin behind that.
        expected = answers(estimator(make, schedule, None).fit(X, Y))
        start = time.monotonic()
        again = Child(estimator(make, schedule, None), out).end()
        seconds = time.monotonic() - start
        assert again == expected, "a fit is not reproducible"
        for _ in range(n_times):
            for _ in range(random.randint(1, 3)):
                out.unlink(missing_ok=True)
                Child(estimator(make, schedule, states), out).end(random.uniform(0, seconds))
            counts["killed with a state" if any(states.glob("*.fit")) else "killed without"] += 1
            out.unlink(missing_ok=True)
            found = Child(estimator(make, schedule, states), out).end()
            other = [part for part in expected if found[part] != expected[part]]
            counts[f"OTHER {other}" if other else "equal"] += 1
            left = [path.name for path in states.iterdir()]
            if left:
                counts[f"LEFT {left}"] += 1
    return counts


def main() -> None:
    """Kill fits until the time is over."""
    seed = int(os.environ.get("FUZZ_SEED", time.time()))
    end = time.monotonic() + float(os.environ.get("FUZZ_S", 60))
    random, total, n_rounds = Random(seed), Counter[str](), 0
    while time.monotonic() < end:
        for make in NETS:
            for schedule in SCHEDULES:
                counts = killed(make, schedule, 1, random)
                total += counts
                bad = [what for what in counts if what.isupper() or what.split()[0].isupper()]
                assert not bad, f"{make.__name__}, {schedule}, seed {seed}: {counts}"
        n_rounds += 1
        print(f"seed {seed}: {n_rounds} rounds, {dict(total)}", flush=True)


if __name__ == "__main__":
    main()
