"""What one process of ``test_data_parallel.py`` does: many small fits in a group of two."""

from __future__ import annotations

import tempfile
import warnings
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import joblib
import numpy as np
import scipy.sparse as sp
import torch
import torch.distributed as dist
from sklearn.datasets import make_multilabel_classification
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from torch import nn

from benchmarks.bench_parallel import gradient_gap, join_group, resumed_fit
from sklearn_mlcl import (
    CGMVAEClassifier,
    ContrastiveMultiLabelClassifier,
    MultiLabelMLPClassifier,
    load,
)
from sklearn_mlcl.training import _parallel as parallel
from sklearn_mlcl.utils import samples
from tests.small import small

MLP, CON, VAE = MultiLabelMLPClassifier, ContrastiveMultiLabelClassifier, CGMVAEClassifier
QUIET = {"dropout": 0.0, "feature_noise": 0.0, "max_epochs": 2, "batch_size": 48}
X, Y = make_multilabel_classification(n_samples=101, n_features=8, n_classes=5, random_state=0)
WITH_GAPS = np.where(np.random.default_rng(0).random(Y.shape) < 0.2, np.nan, Y)
WEIGHTS = np.random.default_rng(1).uniform(0.0, 2.0, Y.shape)


class InOne(Callback):
    """Raises an error in the second epoch of process 1."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        if dist.get_rank() == 1 and len(net.history) == 2:
            raise self.error("in one process")


class Normalised(nn.Sequential):
    def __init__(self, n_features: int) -> None:
        super().__init__(nn.Linear(n_features, 4), nn.BatchNorm1d(4))


class Foreign(nn.Sequential):
    def __init__(self, n_features: int) -> None:
        super().__init__(nn.Linear(n_features, 4), nn.Dropout(0.2))


def digest(clf: Any) -> str:
    """Return what tells a fitted estimator from others."""
    weights = [t.numpy() for t in clf.predictor_.state_dict().values() if torch.is_tensor(t)]
    losses = {name: values for name, values in clf.history_.items() if name != "dur"}
    chosen = (clf.threshold_, clf.blend_, clf.n_iter_, losses)
    return joblib.hash((weights, chosen, getattr(clf, "oof_proba_", None), clf.predict_proba(X)))


def gap(make: Any, data: tuple[Any, Any] = (X, Y), fit: Any = None, **changes: Any) -> Any:
    """Return the difference of a shared fit to one alone, and the digest of the shared one.

    Probabilities count, and what the history says of each epoch, relative to its size.
    """
    changes = QUIET | ({} if make is VAE else {"net_params__mixup": 0.0}) | changes
    # C-GMVAE draws its codes: with a draw of 0 they are the means.
    with patch("sklearn_mlcl.modules._gaussian_mixture.standard_normal", torch.zeros_like):
        shared = small(make, **changes).fit(*data, **(fit or {}))
        if dist.get_rank() == 1:  # one process is enough for the fit alone
            return 0.0, digest(shared)
        alone = small(make, net_params__data_parallel=False, **changes).fit(*data, **(fit or {}))
    found = [abs(shared.predict_proba(data[0]) - alone.predict_proba(data[0])).max()]
    for name, known in alone.history_.items():
        if name != "dur" and known.dtype.kind == "f":
            found.append((abs(shared.history_[name] - known) / np.maximum(1, abs(known))).max())
    return float(max(found)), digest(shared)


def message(clf: Any, X: Any, Y: Any) -> str:
    try:
        clf.fit(X, Y)
    except (ValueError, RuntimeError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def gaps() -> dict[str, Any]:
    """Return shared fits against fits alone."""
    sparse = sp.csr_array(X * (X > 3))
    return {
        "mlp": gap(MLP, n_estimators=4),
        "contrastive": gap(CON, n_estimators=4),
        "cgmvae": gap(VAE),
        "cgmvae, free bits": gap(VAE, (X, WITH_GAPS), loss_params__free_bits=0.3, lambda_kl=1.0),
        "cgmvae, weights": gap(VAE, fit={"sample_weight": WEIGHTS}),
        "sparse": gap(MLP, (sparse, Y), loss="asl"),
        "missing, decay": gap(MLP, (X, WITH_GAPS), loss_params__feature_decay=0.1),
        "logistic heads": gap(CON, n_estimators=4, lambda_joint=0.0, head_C="cv"),
        "two-way, all epochs": gap(MLP, loss="two_way", early_stopping=False),
        "pick-all-label, until it stops": gap(MLP, loss="pal", early_stopping=1),
        "queue": gap(CON, loss="any", loss_params__queue_size=40, n_estimators=1),
        "negatives of lists": gap(CON, (sparse, sp.csr_array(Y)), loss_params__n_negatives=1),
        "missing, float32": gap(CON, (X.astype(np.float32), WITH_GAPS), n_estimators=4),
        "weights": gap(CON, fit={"sample_weight": WEIGHTS}, n_estimators=4),
        "class weights, groups": gap(
            MLP, fit={"groups": np.arange(101) // 3}, class_weight="balanced", n_estimators=4
        ),
        "in chunks": gap(CON, net_params__chunk_size=10, n_estimators=4),
        "refitted heads": gap(MLP, net_params__refit_head=True, n_estimators=4),
        "given": gap(MLP, fit={"X_val": X[:30], "y_val": Y[:30]}),
        "given one": gap(MLP, fit={"X_val": X[:1], "y_val": Y[:1]}),
    }


def sames() -> dict[str, Any]:
    """Return digests that are the same in all processes."""
    number = dist.get_rank()
    made: dict[str, Any] = {}
    for make in (MLP, CON, VAE):
        made[f"noise {make.__name__}"] = digest(small(make, max_epochs=2).fit(X, Y))
    made["noise in chunks"] = digest(small(CON, net_params__chunk_size=10).fit(X, Y))
    own_seed = np.random.RandomState(number)
    made["a generator of its own"] = digest(small(MLP, random_state=own_seed).fit(X, Y))
    made["no seed"] = digest(small(MLP, random_state=None).fit(X, Y))
    made["module"] = digest(small(MLP, module=Foreign, max_epochs=1).fit(X, Y))
    stopped = small(MLP, callbacks=[InOne(KeyboardInterrupt)], max_epochs=4).fit(X, Y)
    made["stopped by one"] = [stopped.n_iter_, digest(stopped)]
    parts = small(MLP)
    for part in np.array_split(np.arange(101), 2):
        parts.partial_fit(X[part], Y[part])
    made["partial_fit"] = digest(parts)
    warm = small(MLP, warm_start=True, net_params__data_parallel=False, random_state=number)
    warm.fit(X, Y).set_params(net_params__data_parallel=True, random_state=0)
    made["warm"] = digest(warm.fit(X, Y))
    made["one sample"] = [
        digest(small(make).fit(X[:n], Y[:n])) for make in (MLP, CON) for n in (1, 3)
    ]
    search = GridSearchCV(small(MLP), {"dropout": [0.1]}, cv=2).fit(X, Y)
    made["search"] = [search.best_params_, digest(search.best_estimator_)]
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/X.npy", X)
        in_memory = digest(small(MLP).fit(X, Y))
        with patch.object(samples, "READ_AT_ONCE", 0):
            mapped = small(MLP).fit(np.load(f"{folder}/X.npy", mmap_mode="r"), Y)
        made["memory map"] = in_memory == digest(mapped)
        mapped.save(f"{folder}/model")
        made["loaded"] = bool(
            (load(f"{folder}/model").predict_proba(X) == mapped.predict_proba(X)).all()
        )
    return made


def errors() -> dict[str, str]:
    """Return messages of fits that must not be shared, or that fail in one process."""
    k = dist.get_rank()
    return {
        "samples": message(small(MLP), X[k:], Y[k:]),
        "labels": message(small(MLP), X, np.roll(Y, k)),
        "parameter": message(small(MLP, dropout=0.1 * (k + 1)), X, Y),
        "batch norm": message(small(MLP, module=Normalised), X, Y),
        "in one": message(small(MLP, callbacks=[InOne(OSError)]), X, Y),
        "input of one": message(small(MLP), np.where(k, np.nan, X), Y),
        "later": message(small(MLP), X, Y),
    }


def waits() -> str:
    """Return the error of a fit in process 0 alone, once the group's time is over."""
    if dist.get_rank() == 1:
        return ""
    with (
        patch.object(parallel, "PATIENCE", 0.1),
        patch.object(parallel, "timeout_of_world", lambda: timedelta(seconds=1)),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        said = message(small(MLP), X, Y)
    return " ".join([said, *(str(warning.message) for warning in caught)])


def work() -> dict[str, Any]:
    """Return what a process of the group finds."""
    join_group()
    with tempfile.TemporaryDirectory() as folder:
        undisturbed = resumed_fit(folder, dies="none")
    found = {
        "gradients": gradient_gap(),
        "undisturbed": undisturbed,
        "gaps": gaps(),
        "sames": sames(),
        "errors": errors(),
    }
    found["waits"] = waits()
    dist.destroy_process_group()
    return found


def resume(folder: str, dies: str) -> list[float]:
    """Return probabilities of a fit whose state is kept; the process ``dies`` is lost."""
    join_group()
    found = resumed_fit(folder, dies)
    dist.destroy_process_group()
    return found
