"""Quality of prediction by one protocol: our estimators and their peers, on the same rows.

``python -m benchmarks.accuracy`` fits what is missing in the results (one JSON line a set,
estimator and seed), then writes the tables and the picture that ``doc/benchmark.rst`` shows, and
prints the mean ranks; ``--report-only`` fits nothing. It may be killed at any moment and started
again. The sets are looked for in the directory that the environment variable SKLEARN_MLCL_DATA
names. Rows of the peers come from ``benchmarks/rows/accuracy_peers.jsonl`` where it has them.

Everything that is chosen is chosen inside the training rows: hyper-parameters by a cross-validation
of the estimator's own, and for each score one threshold for all labels, from probabilities of
held-out training rows. Then the estimator is fitted on all training rows and predicts the test
rows once. Scores at the best of nine thresholds on the test rows, as papers report them, are kept
beside under "oracle" and enter nothing else.

Each fit is one thread and may use 15 minutes of its processor. An estimator that needs more on a
set has no score there and ranks last.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path

from benchmarks._accuracy_fit import FIT_SECONDS, run_fit
from benchmarks._accuracy_models import MODELS, OURS, VARIANTS
from benchmarks._accuracy_peers import missing_module
from benchmarks._accuracy_report import write_report
from benchmarks._resumable import KilledError, Row, RowFile, preload, run_missing, within_budget
from benchmarks.study_losses import found

WORK_SETS = (
    "emotions", "waterquality", "genbase", "medical", "yeast", "scene", "sider", "langlog",
    "enron", "corel5k", "bibtex", "ohsumed",
)  # fmt: skip
#: Reported once and not tuned on.
LAST_LOOK_SETS = (
    "20ng", "corel16k001", "delicious", "yahoo_health", "goemotions", "imdb_aligned",
)  # fmt: skip
N_SEEDS = 3
KEY = ("dataset", "estimator", "seed")
AGAIN = " with another seed"
ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "accuracy.jsonl"
DOC = ROOT / "doc"
#: Rows of the peers by this protocol, kept with the code: no change of ours changes them.
PEER_ROWS = ROOT / "benchmarks" / "rows" / "accuracy_peers.jsonl"


def plan(
    datasets: Sequence[str], estimators: Sequence[str] = tuple(MODELS), n_seeds: int = N_SEEDS
) -> Iterator[Row]:
    """Yield what is to be fitted: a seed of all sets, one after the other, then the next seed."""
    for values in product(range(n_seeds), datasets, estimators):
        yield dict(zip(("seed", "dataset", "estimator"), values, strict=True))


def can_fit(estimators: Iterable[str]) -> list[str]:
    """Return the estimators that can be fitted here, and say which lack their package."""
    lacking = {name: module for name in estimators if (module := missing_module(name))}
    for name, module in lacking.items():
        print(f"no new rows of {name}: there is no module {module}; see doc/benchmark.rst")
    return [name for name in estimators if name not in lacking]


def run_within(task: Row, budget: float, results: RowFile) -> Row:
    """Return the row of a task; a fit over the budget, or killed for its memory, one that says so.

    What did not end with one seed is not tried with the next.
    """
    key = {name: task[name] for name in KEY}
    for row in list(results.rows.values()):
        same = (key["dataset"], key["estimator"]) == (row["dataset"], row["estimator"])
        if same and row["status"] != "ok" and row["budget_s"] >= budget:
            status = f"{row['status'].removesuffix(AGAIN)}{AGAIN}"
            return {**key, "status": status, "budget_s": budget}
    try:
        row = within_budget(run_fit, *key.values(), budget)
    except TimeoutError:
        row = {"status": "over budget"}
    except KilledError:
        row = {"status": "killed"}
    return {**key, **row, "budget_s": budget}


def stands(row: Row, budget: float) -> bool:
    """Whether a row needs no other fit: it ended, or had no less time than there is now."""
    return row["status"] == "ok" or row["budget_s"] >= budget


def main(argv: Sequence[str] | None = None) -> None:
    """Fit what is missing, then write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--datasets", nargs="+", help="other than the sets for work")
    parser.add_argument(
        "--estimators", nargs="+", default=list(MODELS), choices=[*MODELS, *VARIANTS]
    )
    parser.add_argument("--seeds", type=int, default=N_SEEDS, help="how many")
    parser.add_argument("--suffix", default="", help="of the names of the tables")
    parser.add_argument("--last-look", action="store_true", help="the sets that are not tuned on")
    parser.add_argument(
        "--budget-s", type=float, default=FIT_SECONDS, help="processor seconds for one fit"
    )
    parser.add_argument(
        "--peers", type=Path, default=PEER_ROWS, help="rows that are not fitted again"
    )
    parser.add_argument("--jobs", type=int, default=1, help="rows at the same time")
    parser.add_argument("--doc", type=Path, default=DOC, help="where the report is written")
    parser.add_argument("--report-only", action="store_true", help="fit nothing")
    options = parser.parse_args(argv)
    names = options.datasets or (LAST_LOOK_SETS if options.last_look else WORK_SETS)
    results, known = RowFile(options.out, KEY), RowFile(options.peers, KEY).rows
    tasks = list(plan(names, options.estimators, options.seeds))
    if not options.report_only:
        preload("benchmarks._accuracy_fit", "benchmarks._accuracy_report")
        budget = options.budget_s
        here = plan(found(names), options.estimators, options.seeds)
        unknown = [task for task in here if results.key_of(task) not in known]
        possible = can_fit(dict.fromkeys(task["estimator"] for task in unknown))
        run_missing(
            [task for task in unknown if task["estimator"] in possible],
            results,
            lambda task: run_within(task, budget, results),
            jobs=options.jobs,
            is_done=lambda row: stands(row, budget),
            title="accuracy",
        )
    there = {**known, **results.rows}
    rows = [there[key] for key in map(results.key_of, tasks) if key in there]
    suffix = "_last_look" if options.last_look else ""
    ours = [name for name in options.estimators if name in OURS or name in VARIANTS]
    write_report(rows, options.estimators, ours, options.doc, options.suffix or suffix)


if __name__ == "__main__":
    main()
