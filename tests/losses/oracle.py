"""The contrastive family written out in loops over points and labels, float64, sets of labels.

Slow and obvious on purpose: no matrix product, no shared code with the package.  Points are a list
of (vector, positives, missing labels); a prototype is a point with one label.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp, log

import numpy as np


@dataclass
class Point:
    """A unit vector with its label set; kind is instance, queue or prototype."""

    vector: np.ndarray
    positive: set
    missing: set
    kind: str
    weight: dict = field(default_factory=dict)

    def of(self, label):
        """Weight of a label of this point; 1 unless said otherwise."""
        return self.weight.get(label, 1.0)

    @property
    def mean_weight(self):
        """Of its positives."""
        return sum(self.of(j) for j in self.positive) / len(self.positive)


def unit(vectors):
    """Rows divided by their length; zero rows stay."""
    rows = []
    for row in np.asarray(vectors, dtype=np.float64):
        length = np.sqrt(sum(x * x for x in row))
        rows.append(row / length if length > 0 else row)
    return rows


def points_of(vectors, labels, kind, weights=None):
    """Points of an indicator matrix; NaN, or weight 0, is missing."""
    points = []
    labels = np.asarray(labels, dtype=np.float64)
    weights = np.ones(labels.shape) if weights is None else weights
    for vector, row, weight in zip(unit(vectors), labels, weights, strict=True):
        missing = {j for j, y in enumerate(row) if np.isnan(y) or weight[j] == 0}
        positive = {j for j, y in enumerate(row) if y == 1} - missing
        points.append(Point(vector, positive, missing, kind, dict(enumerate(weight))))
    return points


def prototypes_of(vectors):
    """One point a label."""
    return [Point(v, {j}, set(), "prototype") for j, v in enumerate(unit(vectors))]


def seen(i, j):
    """Both label sets without the labels that are missing in either."""
    return i.positive - j.missing, j.positive - i.missing


def jaccard(i, j):
    S, T = seen(i, j)
    return len(S & T) / len(S | T) if S | T else 0.0


def _normalised_rows(anchors, candidates, weight, counted=None):
    """Rows of weights over their sum, or over the number of counted pairs."""
    W = np.zeros((len(anchors), len(candidates)))
    for r, i in enumerate(anchors):
        others = [(c, j) for c, j in enumerate(candidates) if j is not i]
        raw = {c: weight(i, j) for c, j in others}
        total = sum(raw.values())
        if counted is not None:
            total = sum(counted(i, j) for _, j in others)
        for c in raw:
            W[r, c] = raw[c] / total if total > 0 else 0.0
    return W


def weights_any(anchors, candidates, options):
    def shared(i, j):
        S, T = seen(i, j)
        return float(bool(S & T))

    return _normalised_rows(anchors, candidates, shared)


def weights_all(anchors, candidates, options):
    def equal(i, j):
        S, T = seen(i, j)
        return float(S == T and bool(S))

    return _normalised_rows(anchors, candidates, equal)


def weights_jaccard(anchors, candidates, options):
    return _normalised_rows(anchors, candidates, jaccard)


def weights_multisupcon(anchors, candidates, options):
    c = options["overlap_threshold"]

    def above(i, j):
        return jaccard(i, j) if jaccard(i, j) >= c else 0.0

    return _normalised_rows(anchors, candidates, above, lambda i, j: jaccard(i, j) >= c)


def weights_simdis(anchors, candidates, options):
    def product(i, j):
        S, T = seen(i, j)
        return len(S & T) / len(S) / (1 + len(T - S)) if S & T else 0.0

    return _normalised_rows(anchors, candidates, product, lambda i, j: product(i, j) > 0)


def weights_mulsupcon(anchors, candidates, options):
    W = np.zeros((len(anchors), len(candidates)))
    for r, i in enumerate(anchors):
        for label in i.positive:
            P = [c for c, j in enumerate(candidates) if j is not i and label in j.positive]
            for c in P:
                W[r, c] += i.of(label) / len(P)
    return W


def weights_proto(anchors, candidates, options):
    W = np.zeros((len(anchors), len(candidates)))
    for r, i in enumerate(anchors):
        for c, j in enumerate(candidates):
            if j.kind == "prototype" and i.positive & j.positive:
                W[r, c] = i.of(*j.positive) / len(i.positive)
    return W


def _share_per_label(i, candidates, similarity):
    """sum over labels of the anchor of similarity / (total similarity on that label)."""
    row = np.zeros(len(candidates))
    for label in i.positive:
        on = [c for c, j in enumerate(candidates) if j is not i and label in j.positive]
        N = sum(similarity(i, candidates[c]) for c in on)
        for c in on:
            row[c] += i.of(label) * similarity(i, candidates[c]) / N if N > 0 else 0.0
    return row


def weights_msc(anchors, candidates, options):
    def inverse_union(i, j):
        if j.kind == "prototype":
            return 1.0
        S, T = seen(i, j)
        return 1 / len(S | T)

    return np.array([_share_per_label(i, candidates, inverse_union) for i in anchors])


def weights_reg(anchors, candidates, options):
    alpha = options["alpha"]

    def share(i, j):
        S, T = seen(i, j)
        r = len(S & T) / len(T) if T else 0.0
        if j.kind == "prototype":
            r = float(j.positive <= i.positive)
        return float(r == 1) if alpha < 0 else r**alpha

    rows = [_share_per_label(i, candidates, share) for i in anchors]
    return np.array(
        [row / len(i.positive) if i.positive else row for i, row in zip(anchors, rows, strict=True)]
    )


# The losses that are sums over the labels of an anchor.
BY_LABEL = ("mulsupcon", "proto", "msc", "reg")
WEIGHTS = {
    name.removeprefix("weights_"): rule for name, rule in globals().items() if "weights_" in name
}


def row_terms(name, anchor, Wbar, options):
    """Factor of the anchor in the sum, and its share of the denominator of the mean."""
    size = len(anchor.positive)
    if name == "mulsupcon" and options["anchor_weighting"] == "label":
        return 1.0, float(sum(anchor.of(label) for label in anchor.positive))
    if Wbar == 0:
        return 0.0, 0.0
    if name in ("mulsupcon", "msc"):
        return 1 / size, anchor.mean_weight
    return 1.0, anchor.mean_weight if name in BY_LABEL else 1.0


def anchor_importance(name, instances, sample_weight):
    """Weights of samples; those of entries only where labels have no share of them."""
    if np.ndim(sample_weight) == 1:
        return sample_weight
    if name in BY_LABEL:
        return np.ones(len(instances))
    weights = [[w for j, w in i.weight.items() if j not in i.missing] for i in instances]
    return [np.mean(w) if w else 0.0 for w in weights]


def repulsion(name, i, j, options):
    if i is j:
        return 0.0
    return options["beta"] if name == "msc" and j.kind != "prototype" else 1.0


def contrastive(
    name, embeddings, labels, prototypes=None, queue=None, queue_labels=None, *, temperature=0.1,
    lambda_reg=0.0, reduction="mean", sample_weight=None, **options,
):  # fmt: skip
    """Value, W, and the gradients of the sum of values in embeddings and prototypes."""
    by_entry = sample_weight if np.ndim(sample_weight) == 2 else None
    instances = points_of(embeddings, labels, "instance", by_entry)
    past = [] if queue is None else points_of(queue, queue_labels, "queue")
    protos = [] if prototypes is None else prototypes_of(prototypes)
    anchors = instances + (protos if name == "reg" else [])
    candidates = protos if name == "proto" else instances + past + protos
    W = WEIGHTS[name](anchors, candidates, options)
    importance = np.ones(len(anchors))
    if sample_weight is not None:
        importance[: len(instances)] = anchor_importance(name, instances, sample_weight)
    terms = [row_terms(name, i, W[r].sum(), options) for r, i in enumerate(anchors)]
    mass = sum(m * w for (_, m), w in zip(terms, importance, strict=True))
    mass = 1.0 if reduction == "none" else mass
    gradients = {id(p): np.zeros(len(p.vector)) for p in candidates + anchors}
    rows = np.zeros(len(anchors))
    for r, i in enumerate(anchors):
        a = terms[r][0] * importance[r] / mass if mass > 0 else 0.0
        Wbar = W[r].sum()
        if Wbar == 0:
            continue
        s = [float(np.dot(i.vector, j.vector)) / temperature for j in candidates]
        b = [repulsion(name, i, j, options) for j in candidates]
        top = max(x for x, y in zip(s, b, strict=True) if y > 0)
        D = sum(y * exp(x - top) for x, y in zip(s, b, strict=True))
        for c, j in enumerate(candidates):
            pi = b[c] * exp(s[c] - top) / D if b[c] else 0.0
            if W[r, c] > 0:
                rows[r] -= W[r, c] * (s[c] - top - log(D)) * terms[r][0] * importance[r]
            g = Wbar * pi - W[r, c]
            if W[r, c] > 0:
                g -= lambda_reg * max(g, 0.0)
            gradients[id(i)] += a * g * j.vector / temperature
            gradients[id(j)] += a * g * i.vector / temperature
    mean = rows.sum() / mass if mass > 0 else 0.0
    return {
        "value": rows if reduction == "none" else mean,
        "W": W,
        "embeddings": raw_gradients(embeddings, instances, gradients),
        "prototypes": None if not protos else raw_gradients(prototypes, protos, gradients),
    }


def raw_gradients(vectors, points, gradients):
    """Through the division by the length: drop the radial part, divide by the length."""
    out = []
    for x, point in zip(np.asarray(vectors, dtype=np.float64), points, strict=True):
        g, length = gradients[id(point)], np.sqrt(x @ x)
        out.append((g - point.vector * (g @ point.vector)) / length if length > 0 else 0 * g)
    return np.array(out)
