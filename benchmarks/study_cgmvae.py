"""C-GMVAE as released and as it is here: scores, the living mixture, ablations, half the rows.

``python -m benchmarks.study_cgmvae`` fits what is missing in the cache (one JSON line a fit), then
writes the tables that ``doc/cgmvae.rst`` shows; ``--report-only`` only writes, ``--part`` and
``--datasets`` fit a part. The sets are looked for in the directory that the environment variable
SKLEARN_MLCL_DATA names.

Splits are random, 80/10/10 (numpy's ``RandomState(seed)``), features raw. The nine thresholds of
the release are tried on the validation rows, separately for each score, and the best is applied to
the test rows. The recipe keeps the epoch with the best validation macro-F1, as the release does;
the defaults train to the end.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from benchmarks._cgmvae_fit import run_fit
from benchmarks._cgmvae_report import write_report
from benchmarks._resumable import RowFile, run_missing
from sklearn_mlcl import CGMVAEClassifier, recipes

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "study_cgmvae.jsonl"
KEY = ("dataset", "model", "seed", "fraction", "digest")

PAIRED = ("emotions", "scene", "yeast")
N_PAIRED = 10
#: Splits of the ablations, by set.
SEEDS = {"emotions": 3, "scene": 3, "yeast": 3, "sider": 3, "delicious": 1}
RECIPE: dict[str, Any] = recipes.CGMVAE_PAPER
SKIP = "with the skip connection"
#: What is changed of the defaults.
ABLATIONS: dict[str, dict[str, Any]] = {
    SKIP: {"net_params": {"concat_input": True}},
    "no KL": {"lambda_kl": 0.0},
    "KL weight of the release": {"lambda_kl": 6.0},
    "no contrastive term": {"lambda_contrastive": 0.0},
    "no label branch": {"loss_params": {"label_branch": False}},
    "cross-entropy alone": {
        "lambda_kl": 0.0,
        "lambda_contrastive": 0.0,
        "loss_params": {"label_branch": False},
    },
    "with the vote of neighbours": {"neighbor_weight": 0.5},
    "logistic heads": {"head": "logistic"},
}
HALF = ("emotions", "scene", "yeast", "sider")


def task(
    dataset: str, model: str, seed: int, arguments: dict[str, Any], fraction: float = 1.0
) -> dict[str, Any]:
    """Return a fit to do; the digest tells when its arguments, defaults included, have changed."""
    params = CGMVAEClassifier(**arguments).get_params()
    names = [name for name in sorted(params) if name.partition("__")[0] in RECIPE]
    relevant = {name: params[name] for name in names}
    digest = hashlib.sha1(json.dumps(relevant).encode()).hexdigest()[:10]
    return {
        "dataset": dataset, "model": model, "seed": seed, "fraction": fraction, "digest": digest,
        "arguments": arguments,
    }  # fmt: skip


def paired() -> Iterator[dict[str, Any]]:
    """Yield the fits of the recipe, the defaults, and these with x in the decoder, on one split."""
    for seed in range(1, N_PAIRED + 1):
        for dataset in PAIRED:
            yield task(dataset, "defaults", seed, {})
            yield task(dataset, "recipe", seed, RECIPE)
            yield task(dataset, SKIP, seed, ABLATIONS[SKIP])


def ablations() -> Iterator[dict[str, Any]]:
    """Yield the fits of the defaults and of what is left without a part."""
    for dataset, n_seeds in SEEDS.items():
        for seed in range(1, n_seeds + 1):
            yield task(dataset, "defaults", seed, {})
            for model, arguments in ABLATIONS.items():
                yield task(dataset, model, seed, arguments)


def half() -> Iterator[dict[str, Any]]:
    """Yield the fits on half of the training rows, and those on all of them."""
    for dataset in HALF:
        for seed in range(1, SEEDS[dataset] + 1):
            for fraction in (0.5, 1.0):
                yield task(dataset, "defaults", seed, {}, fraction)
                yield task(dataset, "recipe", seed, RECIPE, fraction)


PARTS = {"paired": paired, "ablations": ablations, "half": half}


def work(row: dict[str, Any]) -> dict[str, Any]:
    """Do a fit and return its row."""
    known = {name: row[name] for name in KEY}
    best_epoch = row["model"] == "recipe"
    with threadpool_limits(1):
        torch.set_num_threads(1)
        found = run_fit(
            row["dataset"], row["seed"], row["arguments"], best_epoch=best_epoch,
            fraction=row["fraction"],
        )  # fmt: skip
    return {**known, **found}


def main(argv: Sequence[str] | None = None) -> None:
    """Fit what is missing and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--report-only", action="store_true")
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--datasets", nargs="+", default=list(SEEDS))
    parser.add_argument("--models", nargs="+", default=None)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--tables", type=Path, default=ROOT / "doc" / "_data")
    options = parser.parse_args(argv)
    done = RowFile(options.results, KEY)
    tasks = [t for part in PARTS for t in PARTS[part]()]
    if not options.report_only:
        wanted = [t for part in options.part for t in PARTS[part]()]
        wanted = [
            t for t in wanted
            if t["dataset"] in options.datasets
            and (options.models is None or t["model"] in options.models)
        ]  # fmt: skip
        run_missing(wanted, done, work)
    current = [done.rows[key] for key in dict.fromkeys(map(done.key_of, tasks)) if key in done.rows]
    write_report(current, list(ABLATIONS), options.tables)


if __name__ == "__main__":
    main()
