"""Tables and picture of the accuracy benchmark, from its rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import studentized_range

from benchmarks._study_report import TIE

METRICS = {
    "f1_samples": "example-F1",
    "f1_micro": "micro-F1",
    "f1_macro": "macro-F1",
    "accuracy": "Hamming accuracy",
    "map": "mAP",
    "precision_at_1": "precision@1",
    "log_loss": "log loss",
}
#: Shares of a log loss that are a tie; of the scores it is TIE.
LOSS_TIE = 0.01
ORACLE = {
    f"{name}_oracle": f"{METRICS[name]}, oracle thresholds"
    for name in ("f1_samples", "f1_micro", "f1_macro", "accuracy")
}
SECONDS = {"fit_seconds": "fit seconds"}
SEEDS = "seeds"
CAPPED = "capped"
ESTIMATES = {
    "estimate": "estimate",
    "estimated": "micro-F1 of predict",
    "estimated_low": "5 %",
    "estimated_high": "95 %",
}
#: Below every score, in ties: what an estimator over its budget is ranked by.
UNFINISHED = -1e6
#: Differences of printed scores that are a tie stay one in floating point.
ROUNDING = 1e-9
#: Tables that a run shows at its end.
PRINTED = ("ranks", "ours", "wins", "estimates")
COLOURS = {True: "#d1495b", False: "#2e4057"}


def comparable_rows(
    rows: Sequence[dict[str, Any]], estimators: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the rows of the sets and seeds that have one of every estimator."""
    there: dict[tuple, set] = {}
    for row in rows:
        there.setdefault((row["dataset"], row["seed"]), set()).add(row["estimator"])
    whole = {key for key, found in there.items() if found >= set(estimators)}
    return [
        row
        for row in rows
        if (row["dataset"], row["seed"]) in whole and row["estimator"] in estimators
    ]


def seed_means(rows: Sequence[dict[str, Any]], estimators: Sequence[str]) -> pd.DataFrame:
    """Return means over the seeds by set and estimator, ``<metric> sd`` beside those of METRICS.

    A fit over its budget makes the whole line missing, but for the numbers of seeds and of such
    fits.
    """
    names = {**METRICS, **ORACLE, **SECONDS}
    frame = pd.DataFrame(rows).reindex(columns=["dataset", "estimator", *names]).rename(
        columns=names
    )  # fmt: skip
    groups = frame.groupby(["dataset", "estimator"], sort=False)
    table = groups.mean()
    for metric in METRICS.values():
        table[f"{metric} sd"] = groups[metric].std()
    capped = groups.size() - groups[METRICS["map"]].count()
    table[capped > 0] = np.nan
    table[SEEDS], table[CAPPED] = groups.size(), capped
    sets = list(dict.fromkeys(frame["dataset"]))
    order = pd.MultiIndex.from_product([sets, estimators], names=["set", "estimator"])
    return table.reindex(order)


def tied_ranks(scores: np.ndarray, tie: float = TIE) -> np.ndarray:
    """Return ranks, 1 the best, where two scores within ``tie`` share.

    An estimator's rank is 1, plus one for each that is better by more than ``tie``, plus a half
    for each other within ``tie``. The ranks of k estimators always sum to k (k + 1) / 2.
    """
    lead = scores[None, :] - scores[:, None]
    better = lead > tie + ROUNDING
    tied = np.abs(lead) <= tie + ROUNDING
    return 1 + better.sum(axis=1) + (tied.sum(axis=1) - 1) / 2


def in_ties(means: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a metric in units of a tie, larger the better, a line a set, a column an estimator."""
    estimators = means.index.get_level_values("estimator").unique()
    values = means[metric].unstack("estimator", sort=False)[list(estimators)]
    if metric == METRICS["log_loss"]:
        return -np.log(values) / np.log1p(LOSS_TIE)
    return values / TIE


def set_ranks(means: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return ranks, a line a set and a column an estimator; over the budget is last."""
    scores = in_ties(means, metric).fillna(UNFINISHED)
    return scores.apply(lambda line: pd.Series(tied_ranks(line.to_numpy(), 1), line.index), axis=1)


def mean_ranks(means: pd.DataFrame) -> pd.DataFrame:
    """Return the mean rank of every estimator by every metric, the best on average first."""
    table = pd.DataFrame({metric: set_ranks(means, metric).mean() for metric in METRICS.values()})
    table["mean"] = table.mean(axis=1)
    return table.rename_axis("estimator").sort_values("mean", kind="stable")


def ranks_among_peers(means: pd.DataFrame, ours: Sequence[str]) -> pd.DataFrame:
    """Return the mean rank of each of ours among itself and the peers, none else of ours."""
    lines = {}
    for name in ours:
        others = [other for other in ours if other != name]
        lines[name] = mean_ranks(means.drop(index=others, level="estimator")).loc[name]
    return pd.DataFrame(lines).T.rename_axis("estimator")


def macro_f1_by_set(means: pd.DataFrame, ours: Sequence[str]) -> pd.DataFrame:
    """Return macro-F1, a line a set, of ours beside the best peer of the set."""
    scores = means["macro-F1"].unstack("estimator", sort=False)
    table = scores[list(ours)]
    peers = scores.drop(columns=list(ours))
    return table if peers.empty else table.assign(**{"best peer": peers.max(axis=1)})


def wins_table(means: pd.DataFrame, ours: Sequence[str]) -> pd.DataFrame:
    """Return by metric how often each of ours beats, ties with, loses to the set's best peer.

    A set is counted by an estimator of ours that finished there, against the peers that did.
    """
    columns = {}
    for metric in METRICS.values():
        scores = in_ties(means, metric)
        best = scores.drop(columns=list(ours)).max(axis=1)
        columns[metric] = {name: _record(scores[name] - best) for name in ours}
    return pd.DataFrame(columns).rename_axis("estimator")


def set_means(means: pd.DataFrame) -> pd.DataFrame:
    """Return means over the sets of what the first page shows; missing with one set missing."""
    columns = ["example-F1", "micro-F1", "macro-F1", "mAP", "log loss", *SECONDS.values()]
    groups = means.groupby(level="estimator", sort=False)[columns]
    table = groups.agg(lambda values: values.mean(skipna=False))
    seconds = [*SECONDS.values()]
    table[seconds] = table[seconds].map("{:.1f}".format, na_action="ignore")
    return table


def estimates_table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return what fits expected of their own micro-F1 beside the interval of the test samples.

    Means over the seeds, and in how many the estimate lies inside. Empty where no row has one.
    """
    frame = pd.DataFrame(rows).reindex(columns=["dataset", "estimator", *ESTIMATES])
    frame = frame.dropna(subset="estimate").rename(columns={"dataset": "set", **ESTIMATES})
    frame["inside"] = frame["estimate"].between(frame["5 %"], frame["95 %"]).astype(int)
    groups = frame.groupby(["set", "estimator"], sort=False)
    table = groups.mean()
    table["inside"], table[SEEDS] = groups["inside"].sum(), groups.size()
    return table


def _record(lead: pd.Series) -> str:
    lead = lead.dropna()
    won, lost = int((lead > 1 + ROUNDING).sum()), int((lead < -1 - ROUNDING).sum())
    return f"{won}/{len(lead) - won - lost}/{lost}"


def critical_difference(n_estimators: int, n_sets: int, level: float = 0.05) -> float:
    """Return the difference in mean rank that a Nemenyi test of all pairs calls significant."""
    quantile = studentized_range.ppf(1 - level, n_estimators, np.inf) / np.sqrt(2)
    return float(quantile * np.sqrt(n_estimators * (n_estimators + 1) / (6 * n_sets)))


def plot_ranks(means: pd.DataFrame, ours: Sequence[str]) -> Figure:
    """Draw the mean ranks, one panel a metric, with half the critical difference to each side."""
    figure, axes = plt.subplots(2, 4, figsize=(15, 8), layout="constrained")
    for axis in axes.flat[len(METRICS) :]:
        axis.set_axis_off()
    for axis, metric in zip(axes.flat, METRICS.values(), strict=False):
        by_set = set_ranks(means, metric)
        ranks = by_set.mean().sort_values(ascending=False, kind="stable")
        half = critical_difference(len(ranks), len(by_set)) / 2
        for height, (name, rank) in enumerate(ranks.items()):
            colour = COLOURS[name in ours]
            axis.errorbar(rank, height, xerr=half, fmt="o", color=colour, ms=5, elinewidth=1.2)
        axis.set_yticks(range(len(ranks)), ranks.index, fontsize=8)
        axis.set(title=f"{metric}, {len(by_set)} sets", xlabel="mean rank")
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(axis="y", length=0)
    return figure


def write_report(
    rows: Sequence[dict[str, Any]],
    estimators: Sequence[str],
    ours: Sequence[str],
    doc: Path,
    suffix: str = "",
) -> None:
    """Write the tables and the picture over what is comparable, and name the sets that are not."""
    comparable = comparable_rows(rows, estimators)
    sets = list(dict.fromkeys(row["dataset"] for row in comparable))
    open_sets = sorted({row["dataset"] for row in rows} - set(sets))
    print(f"in the tables: {', '.join(sets) or 'none'}; not yet: {', '.join(open_sets) or 'none'}")
    if not comparable:
        return
    means = seed_means(comparable, estimators)
    spread = [f"{metric} sd" for metric in METRICS.values()]
    tables = {
        "scores": means[[*METRICS.values(), *SECONDS.values(), SEEDS, CAPPED]],
        "spread": means[spread],
        "oracle": means[list(ORACLE.values())],
        "ranks": mean_ranks(means),
        "macro": macro_f1_by_set(means, ours),
        "means": set_means(means),
    }
    if ours and len(ours) < len(estimators):
        tables |= {"ours": ranks_among_peers(means, ours), "wins": wins_table(means, ours)}
    estimates = estimates_table(comparable)
    if len(estimates):
        tables["estimates"] = estimates
    for name in PRINTED:
        if name in tables:
            print(f"\n{name}\n{tables[name].to_string(float_format='%.3f')}")
    _write_tables(tables, doc / "_data", suffix)
    (doc / "_static").mkdir(parents=True, exist_ok=True)
    if not means[list(METRICS.values())].unstack("estimator").dropna().empty:
        figure = plot_ranks(means, ours)
        figure.savefig(doc / "_static" / f"accuracy_ranks{suffix}.png", dpi=120)
        plt.close(figure)


def _write_tables(tables: dict[str, pd.DataFrame], directory: Path, suffix: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        digits = "%.2f" if name == "ranks" else "%.3f"
        text = table.to_csv(float_format=digits, na_rep="missing")
        (directory / f"accuracy_{name}{suffix}.csv").write_text(text)
