"""One fit of the study of C-GMVAE: the split, the best epoch, the scores, the living mixture."""

from __future__ import annotations

import copy
import time
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from skorch.callbacks import Callback

from sklearn_mlcl import CGMVAEClassifier
from sklearn_mlcl.datasets import fetch_multilabel

#: The thresholds of the released evaluation.
THRESHOLDS = np.arange(1, 10) / 10
SCORES = ("f1_samples", "f1_micro", "f1_macro")


@lru_cache(maxsize=1)
def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return dense raw features, float32, and labels of a set."""
    X, Y = fetch_multilabel(name, return_X_y=True)
    X, Y = (array.toarray() if sp.issparse(array) else array for array in (X, Y))
    return X.astype(np.float32), Y.astype(np.float64)


def split(n: int, seed: int, fraction: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a random 80/10/10 split, the training rows thinned to a fraction of them."""
    order = np.random.RandomState(seed).permutation(n)
    train, valid, test = np.split(order, [int(0.8 * n), int(0.9 * n)])
    return train[: round(fraction * len(train))], valid, test


def f1_by_threshold(Y: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return example-, micro- and macro-F1 at each threshold, (9, 3), as the release counts them.

    Rows without a label, true or predicted, are left out of the first; a label without either
    counts 0 in the last.
    """
    found = []
    for threshold in THRESHOLDS:
        predicted = probabilities >= threshold
        hits, sizes = Y * predicted, Y + predicted
        rows = sizes.sum(axis=1) > 0
        per_row = 2 * hits[rows].sum(axis=1) / sizes[rows].sum(axis=1)
        per_label = 2 * hits.sum(axis=0) / (sizes.sum(axis=0) + 1e-6)
        micro = 2 * hits.sum() / max(sizes.sum(), 1)
        found.append((per_row.mean() if rows.any() else 0.0, micro, per_label.mean()))
    return np.array(found)


class BestEpoch(Callback):
    """Keep the weights of the epoch with the best validation macro-F1 over the thresholds.

    Parameters
    ----------
    X, Y : ndarray
        Validation rows.
    """

    def __init__(self, X: np.ndarray, Y: np.ndarray) -> None:
        self.X, self.Y = X, Y

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        self.best_, self.epoch_ = -1.0, 0

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        model = net.module_.eval()
        with torch.no_grad():
            probabilities = model.logits(model(torch.from_numpy(self.X))).sigmoid().numpy()
        score = f1_by_threshold(self.Y, probabilities)[:, 2].max()
        if score > self.best_:
            self.best_, self.epoch_ = score, len(net.history)
            self._state = copy.deepcopy(model.state_dict())

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        net.module_.load_state_dict(self._state)
        del self._state


def with_permuted_codes(
    clf: CGMVAEClassifier, X: np.ndarray, random_state: np.random.RandomState
) -> np.ndarray:
    """Return the probabilities of rows of which each is decoded from the code of another."""

    def permute(module: torch.nn.Module, inputs: Any, posterior: Any) -> Any:
        means, *others = posterior
        return means[torch.from_numpy(random_state.permutation(len(means)))], *others

    with clf.net_.module_.to_posterior.register_forward_hook(permute):
        return clf.predict_proba(X)


def separation(clf: CGMVAEClassifier) -> float:
    """Return the distance of label means from their common mean: rms over labels and dimensions.

    In standard deviations of the label Gaussians.
    """
    offset = clf.label_means_ - clf.label_means_.mean(axis=0)
    return float(np.sqrt(np.mean(offset**2 / np.exp(clf.label_log_vars_))))


def label_agreement(clf: CGMVAEClassifier, Y: np.ndarray) -> float:
    """Return the correlation of label similarities with those of the columns of Y, over pairs."""
    varying = np.flatnonzero(Y.std(axis=0) > 0)
    pairs = np.triu_indices(len(varying), 1)
    similarity = clf.label_similarity()[np.ix_(varying, varying)][pairs]
    return float(np.corrcoef(similarity, np.corrcoef(Y[:, varying].T)[pairs])[0, 1])


def run_fit(
    dataset: str, seed: int, arguments: dict[str, Any], *, best_epoch: bool, fraction: float
) -> dict[str, Any]:
    """Fit on the training rows, take thresholds from the validation rows, score the test rows."""
    X, Y = load(dataset)
    train, valid, test = split(len(X), seed, fraction)
    keeper = [BestEpoch(X[valid], Y[valid])] if best_epoch else []
    clf = CGMVAEClassifier(**arguments, callbacks=keeper, random_state=seed)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*labels have a single value")
        clf.fit(X[train], Y[train])
    seconds = time.perf_counter() - start
    chosen = f1_by_threshold(Y[valid], clf.predict_proba(X[valid])).argmax(axis=0)
    table = f1_by_threshold(Y[test], clf.predict_proba(X[test]))
    scores = table[chosen, range(3)]
    permuted = [
        f1_by_threshold(Y[test], with_permuted_codes(clf, X[test], np.random.RandomState(s)))
        for s in range(3)
    ]
    lost = scores - np.mean(permuted, axis=0)[chosen, range(3)]
    return {
        "seconds": round(seconds, 2),
        "best_epoch": keeper[0].epoch_ if keeper else clf.n_iter_,
        "kl": round(float(clf.history_["kl"][-1]), 4),
        "separation": round(separation(clf), 4),
        "label_agreement": round(label_agreement(clf, Y[train]), 4),
        **{name: round(float(v), 5) for name, v in zip(SCORES, scores, strict=True)},
        **{f"{n}_oracle": round(float(v), 5) for n, v in zip(SCORES, table.max(0), strict=True)},
        **{f"{n}_permuted_cost": round(float(v), 5) for n, v in zip(SCORES, lost, strict=True)},
    }
