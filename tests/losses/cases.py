"""The losses under test with the options that the oracle needs, and random batches for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from sklearn_mlcl import losses
from sklearn_mlcl.losses import ContrastiveLoss
from tests.losses.oracle import contrastive


@dataclass(frozen=True)
class Case:
    """A loss class, its own options, and the name the oracle knows it by."""

    name: str
    build: Callable[..., ContrastiveLoss]
    options: dict[str, Any] = field(default_factory=dict)

    def loss(self, **settings: Any) -> ContrastiveLoss:
        return self.build(**self.options, **settings)


CASES = {
    "any": Case("any", losses.SupConLoss, {}),
    "all": Case("all", losses.SupConLoss, {"positives": "all"}),
    "jaccard": Case("jaccard", losses.JaccardSupConLoss),
    "multisupcon-.3": Case("multisupcon", losses.MultiSupConLoss, {"overlap_threshold": 0.3}),
    "multisupcon-.5": Case("multisupcon", losses.MultiSupConLoss, {"overlap_threshold": 0.5}),
    "simdis": Case("simdis", losses.SimilarityDissimilarityLoss),
    "mulsupcon-label": Case("mulsupcon", losses.MulSupConLoss, {"anchor_weighting": "label"}),
    "mulsupcon-sample": Case("mulsupcon", losses.MulSupConLoss, {"anchor_weighting": "sample"}),
    "proto": Case("proto", losses.PrototypeLoss),
    "msc": Case("msc", losses.MSCLoss, {"beta": 0.1}),
    "msc-1": Case("msc", losses.MSCLoss, {"beta": 1.0}),
    "reg-0": Case("reg", losses.RegularizedContrastiveLoss, {"alpha": 0.0}),
    "reg-1": Case("reg", losses.RegularizedContrastiveLoss, {"alpha": 1.0}),
    "reg-.5": Case("reg", losses.RegularizedContrastiveLoss, {"alpha": 0.5}),
    "reg-hard": Case("reg", losses.RegularizedContrastiveLoss, {"alpha": -1.0}),
}

DENSE = 2**28
LEAVES = ("embeddings", "prototypes")
OF_MEMBERS = (*LEAVES, "queue")
OF_SAMPLES = ("labels", "queue_labels", "sample_weight")


def tile_budget(edge: int, itemsize: int = 8) -> int:
    """A memory budget that makes the kernel cut tiles of this edge."""
    return 4 * itemsize * edge * edge


@dataclass
class Batch:
    """Arrays of one call, as numpy so that the oracle reads the same."""

    embeddings: np.ndarray
    labels: np.ndarray
    prototypes: np.ndarray
    queue: np.ndarray
    queue_labels: np.ndarray
    weights: dict[str | None, np.ndarray | None]

    @classmethod
    def random(
        cls, seed: int, B: int, L: int, *, d: int = 3, Q: int = 3, missing: float = 0.0
    ) -> Batch:
        """Random labels with an empty row, a full one and an exact duplicate."""
        rng = np.random.default_rng(seed)
        labels = (rng.random((B + Q, L)) < rng.choice([0.2, 0.5])).astype(float)
        labels[0], labels[B // 2] = 0.0, 1.0
        embeddings = rng.normal(size=(B + Q, d)) * rng.uniform(0.1, 3.0, size=(B + Q, 1))
        if B > 3:
            embeddings[2], labels[2] = embeddings[1], labels[1]
        labels[rng.random(labels.shape) < missing] = np.nan
        weights = {None: None, "sample": rng.uniform(0.0, 2.0, size=B)}
        weights["entry"] = rng.uniform(0.2, 3.0, (B, L)) * (rng.random((B, L)) < 0.8)
        prototypes = rng.normal(size=(L, d))
        return cls(embeddings[:B], labels[:B], prototypes, embeddings[B:], labels[B:], weights)

    def arguments(
        self, loss: ContrastiveLoss, *, prototypes: bool = True, queue: bool = False,
        weights: str | None = None, n_members: int | None = None, own_labels: bool = False,
    ) -> dict[str, np.ndarray]:  # fmt: skip
        """The arguments that this loss takes; the first member has the vectors of the batch."""
        chosen = {"embeddings": self.embeddings, "labels": self.labels}
        if loss.uses_prototypes and prototypes:
            chosen["prototypes"] = self.prototypes
        if loss.accepts_queue and queue:
            chosen |= {"queue": self.queue, "queue_labels": self.queue_labels}
        if weights is not None:
            chosen["sample_weight"] = self.weights[weights]
        if n_members is not None:
            rng = np.random.default_rng(0)
            for name in set(OF_MEMBERS) & set(chosen):
                others = rng.normal(size=(n_members - 1, *chosen[name].shape))
                chosen[name] = np.stack([chosen[name], *others])
            for name in set(OF_SAMPLES) & set(chosen) if own_labels else ():
                array = chosen[name]
                chosen[name] = np.stack([np.roll(array, m, axis=0) for m in range(n_members)])
        return chosen


def of_member(arguments: dict[str, Any], m: int, own_labels: bool = False) -> dict[str, Any]:
    """The arguments of one member."""
    own = (*OF_MEMBERS, *OF_SAMPLES) if own_labels else OF_MEMBERS
    return {name: x[m] if name in own else x for name, x in arguments.items()}


def as_tensors(
    arguments: dict[str, np.ndarray], dtype: torch.dtype = torch.float64
) -> dict[str, torch.Tensor]:
    """Tensors of the arguments; embeddings and prototypes are leaves that want a gradient."""
    tensors = {name: torch.tensor(array, dtype=dtype) for name, array in arguments.items()}
    for name in set(LEAVES) & set(tensors):
        tensors[name].requires_grad_()
    return tensors


def evaluate(
    loss: ContrastiveLoss, arguments: dict[str, np.ndarray], dtype: torch.dtype = torch.float64
) -> dict[str, np.ndarray]:
    """Value and gradients of a call."""
    tensors = as_tensors(arguments, dtype)
    value = loss(**tensors)
    value.sum().backward()
    gradients = {name: tensors[name].grad.numpy() for name in LEAVES if name in tensors}
    return {"value": value.detach().numpy(), **gradients}


def expect(case: Case, arguments: dict[str, np.ndarray], **settings: Any) -> dict[str, Any]:
    """The oracle's answer to the same call."""
    return contrastive(case.name, **arguments, **case.options, **settings)
