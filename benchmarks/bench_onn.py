"""Decoding by the nearest prototype: is it worth it, and is ``decision="auto"`` safe?

    python -m benchmarks.bench_onn [--json FILE] [--threads N]

Digits: the pick-all-label net of ``recipes.PAL_COLLAPSE`` by the nearest label-set prototype,
against one cut of its softmax; the fixed frame against the linear head; cross-entropy with one cut
beside them. A tenth of the training rows is left to the cuts, which are tuned for the score that
is reported (the samples' Jaccard index).

Emotions, scene, yeast (from the directory that SKLEARN_MLCL_DATA names) and the digits:
``decision="auto"`` against the tuned threshold of the same fit, for cross-entropy as shipped and
for the recipe above. Means of three seeds; the official test rows are scored once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.utils import Bunch

from benchmarks._report import Bar, report
from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.collapse import NearestLabelSetClassifier
from sklearn_mlcl.datasets import fetch_multilabel, make_multilabel_digits
from sklearn_mlcl.metrics import f1_micro, jaccard_samples
from sklearn_mlcl.model_selection import MultilabelStratifiedShuffleSplit
from sklearn_mlcl.recipes import PAL_COLLAPSE, PLAIN
from sklearn_mlcl.thresholds import threshold_decision

SETS = ("digits", "emotions", "scene", "yeast")
SEEDS = range(3)
#: The fixed frame: as wide as the frame needs.
PAL_ETF: dict[str, Any] = {
    **PAL_COLLAPSE,
    "classifier": "etf",
    "net_params": {**PAL_COLLAPSE["net_params"], "feature_dim": None},
}
#: The nearest prototype without a prior, as published.
NEAREST = NearestLabelSetClassifier(prior=0.0)
BCE: dict[str, Any] = {**PLAIN, "weight_decay": 0.01, "neighbor_weight": 0.0}
SHIPPED: dict[str, Any] = {"loss": "bce"}


@cache
def load(name: str) -> Bunch:
    """Return training and test rows of a set, labels dense."""
    if name == "digits":
        bunch = make_multilabel_digits()
    else:
        bunch = fetch_multilabel(name, download_if_missing=False)
    Y = bunch.target.toarray() if sp.issparse(bunch.target) else bunch.target
    train, test = bunch.train_idx, bunch.test_idx
    return Bunch(X=bunch.data[train], Y=Y[train], X_test=bunch.data[test], Y_test=Y[test])


def available() -> list[str]:
    """Return the digits, and the other sets where their directory is known."""
    if os.environ.get("SKLEARN_MLCL_DATA"):
        return list(SETS)
    print("SKLEARN_MLCL_DATA is not set: the digits alone")
    return ["digits"]


def best_cut(Y: np.ndarray, scores: np.ndarray) -> float:
    """Return the cut of all scores with the largest Jaccard index."""
    cuts = np.unique(np.quantile(scores, np.linspace(0, 1, 401)))
    return float(max(cuts, key=lambda cut: jaccard_samples(Y, scores >= cut)))


def softmax_of(clf: MultiLabelMLPClassifier, X: np.ndarray) -> np.ndarray:
    """Return the softmax of the logits of the trained head."""
    with torch.inference_mode():
        return clf.net_.criterion_.head(torch.from_numpy(clf.transform(X))).softmax(dim=1).numpy()


def n_trained(clf: MultiLabelMLPClassifier) -> int:
    """Return the number of trained parameters of encoder and head."""
    return sum(p.numel() for _, p in clf.net_.get_all_learnable_params())


def digits_scores(seed: int) -> dict[str, float]:
    """Return Jaccard indices on the test digits and parameter counts of one seed."""
    data = load("digits")
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=0.1, random_state=seed)
    fitted, cut_rows = next(splitter.split(data.X, data.Y))

    def fit(**params: Any) -> MultiLabelMLPClassifier:
        return MultiLabelMLPClassifier(**params, random_state=seed).fit(
            data.X[fitted], data.Y[fitted]
        )

    def cut_score(scores_of: Any) -> float:
        cut = best_cut(data.Y[cut_rows], scores_of(data.X[cut_rows]))
        return jaccard_samples(data.Y_test, scores_of(data.X_test) >= cut)

    pal = fit(**PAL_COLLAPSE, decision=NEAREST)
    etf = fit(**PAL_ETF, decision=NEAREST)
    bce = fit(**BCE)
    return {
        "onn": jaccard_samples(data.Y_test, pal.predict(data.X_test)),
        "softmax": cut_score(lambda X: softmax_of(pal, X)),
        "etf onn": jaccard_samples(data.Y_test, etf.predict(data.X_test)),
        "etf softmax": cut_score(lambda X: softmax_of(etf, X)),
        "bce": cut_score(bce.predict_proba),
        "parameters": n_trained(pal),
        "etf parameters": n_trained(etf),
    }


def digits_bars() -> Iterator[Bar]:
    """Yield the bars on the digits."""
    rows = [digits_scores(seed) for seed in SEEDS]
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    for name in ("onn", "softmax", "etf onn", "etf softmax", "bce"):
        label = {"bce": "cross-entropy, one tuned cut"}.get(name, f"pick-all-label, {name}")
        yield Bar(f"digits, Jaccard: {label}", None, mean[name], "")
    gain = mean["onn"] - mean["softmax"]
    yield Bar("digits, Jaccard: ONN - tuned softmax cut", 0.01, gain, "", True)
    loss = mean["onn"] - mean["etf onn"]
    yield Bar("digits, Jaccard: linear head - fixed frame, d = K-1, by ONN", 0.01, loss, "")
    loss = mean["softmax"] - mean["etf softmax"]
    yield Bar("digits, Jaccard: linear head - fixed frame, d = K-1, by softmax", 0.01, loss, "")
    share = mean["etf parameters"] / mean["parameters"]
    yield Bar("digits: trained parameters, fixed frame / linear head", 0.99, share, "x")


def auto_gain(name: str, params: dict[str, Any], seed: int) -> tuple[float, str]:
    """Return micro-F1 of "auto" minus that of its own tuned threshold, and the rule it chose."""
    data = load(name)
    clf = MultiLabelMLPClassifier(**params, decision="auto", random_state=seed)
    clf.fit(data.X, data.Y)
    by_cut = threshold_decision(clf.predict_proba(data.X_test), clf.threshold_).astype(int)
    chosen = f1_micro(data.Y_test, clf.predict(data.X_test))
    return chosen - f1_micro(data.Y_test, by_cut), clf.decision_.rule


def auto_bars(sets: Sequence[str]) -> Iterator[Bar]:
    """Yield the bars of decision="auto": the mean over the seeds, and the worst seed."""
    worst = []
    for name in sets:
        for loss, params in {"bce": SHIPPED, "pal": PAL_COLLAPSE}.items():
            gains, rules = zip(*(auto_gain(name, params, seed) for seed in SEEDS), strict=True)
            took = f"ONN in {rules.count('onn')} of {len(rules)}"
            text = f"{name}, {loss}, micro-F1: auto - tuned threshold ({took})"
            yield Bar(text, -0.005, float(np.mean(gains)), "", True)
            worst.append(min(gains))
    text = "worst single fit of them, micro-F1: auto - tuned threshold"
    yield Bar(text, -0.005, min(worst), "", True)


def bars() -> Iterator[Bar]:
    """Yield all bars."""
    yield from digits_bars()
    yield from auto_bars(available())


def main(argv: Sequence[str] | None = None) -> None:
    report(bars, __doc__, argv)


if __name__ == "__main__":
    main()
