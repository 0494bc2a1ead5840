"""
The contrastive losses: weights, gradients, scores
==================================================

All contrastive losses of the package are one formula with different weights. This example shows
which samples of a batch attract each other, and what the regularisation does to a gradient. At the
end it compares the scores of all losses on composed handwritten digits.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from sklearn_mlcl import (
    ContrastiveMultiLabelClassifier,
    MultiLabelMLPClassifier,
)
from sklearn_mlcl.datasets import make_multilabel_digits
from sklearn_mlcl.losses import CONTRASTIVE_LOSSES, RegularizedContrastiveLoss
from sklearn_mlcl.metrics import average_precision, f1_macro
from sklearn_mlcl.recipes import PLAIN

RED, BLUE, QUIET = "#d1495b", "#2e4057", "#9aa0a6"

# %%
# Attraction within a batch
# -------------------------
# An anchor with the labels a and b meets seven other samples. Three of the losses also have one
# trainable prototype per label. A row of the map is the row :math:`W_i` of the anchor in one loss,
# divided by its sum: the shares of the attraction. Samples without a common label have no share,
# and are pushed away.
#
# "any" treats all samples alike that share a label, "all" uses only the equal label set, and
# "jaccard" grades by overlap. "mulsupcon", "msc" and "reg" give each label of the anchor the same
# share and divide it among the samples with the label. In this batch b is rarer than a, so the
# sample {b} attracts more than a sample {a}. "msc" and "reg" also use the prototypes of a and b,
# and "proto" uses only them.

LABELS = "abc"
LABEL_SETS = ["ab", "ab", "a", "a", "b", "abc", "ac", "c"]
labels = torch.tensor(
    [[float(name in names) for name in LABELS] for names in LABEL_SETS]
)


def attraction_of_first_sample(name: str) -> np.ndarray:
    """Return W of sample 0 to the other samples and to prototypes."""
    loss = CONTRASTIVE_LOSSES[name]()
    row = loss.pair_weights(labels)[0].numpy()
    shares = np.full(len(LABEL_SETS) + len(LABELS), np.nan)
    if loss.requires_prototypes:
        shares[len(LABEL_SETS) :] = row / row.sum()
    else:
        shares[: len(row)] = row / row.sum()
    return shares[1:]


def plot_attraction() -> Figure:
    """Draw the attraction of the first sample in every loss."""
    shares = np.array(
        [attraction_of_first_sample(name) for name in CONTRASTIVE_LOSSES]
    )
    figure, axis = plt.subplots(figsize=(8, 4.2), layout="constrained")
    axis.imshow(shares, cmap="Blues", aspect="auto", vmin=0, vmax=0.6)
    for (y, x), share in np.ndenumerate(shares):
        if not np.isnan(share):
            text = f"{share:.2f}" if share else "0"
            axis.text(
                x,
                y,
                text,
                ha="center",
                va="center",
                color="w" if share > 0.35 else "k",
            )
    others = ["{" + ", ".join(names) + "}" for names in LABEL_SETS[1:]]
    axis.set_xticks(
        range(shares.shape[1]), others + [f"proto. {name}" for name in LABELS]
    )
    axis.set_yticks(range(len(shares)), CONTRASTIVE_LOSSES)
    axis.axvline(len(others) - 0.5, color="black", linewidth=1)
    axis.tick_params(length=0)
    axis.set_title("Attraction of a sample with labels {a, b}: shares by loss")
    return figure


plot_attraction()

# %%
# The regularisation
# ------------------
# In every loss the force between an anchor and a positive is :math:`\sigma_{ij} - W_{ij}`: the
# share of the similarity that the pair has, minus the share it should have. A close positive has
# more than its share and is pushed *away*, like a negative. ``lambda_reg=1`` removes this part from
# the gradient (the clamp).
#
# Below, one positive moves along a circle, from opposite to the anchor to the same place. A second
# positive and a negative stay fixed.


def force_on_positive(cosines: np.ndarray, lambda_reg: float) -> np.ndarray:
    """Return the slope of the anchor's loss in the cosine of the positive."""
    loss = RegularizedContrastiveLoss(
        temperature=0.5, lambda_reg=lambda_reg, reduction="none"
    )
    pair_labels = torch.tensor([[1.0], [1.0], [1.0], [0.0]])
    forces = []
    for angle in np.arccos(cosines):
        moved = [np.cos(angle), np.sin(angle), 0]
        still = [[0.5, 0, 0.75**0.5], [0.2, 0, -(0.96**0.5)]]
        points = torch.tensor([[1.0, 0, 0], moved, *still], dtype=torch.float32)
        points.requires_grad_()
        loss(points, pair_labels)[0].backward()
        # A turn by d(angle) changes the cosine by -sin(angle) d(angle).
        tangent = torch.tensor(
            [-np.sin(angle), np.cos(angle), 0], dtype=torch.float32
        )
        forces.append(float(points.grad[1] @ tangent) / -np.sin(angle))
    return np.array(forces)


def plot_clamp() -> Figure:
    """Draw the force with and without the clamp over the cosine."""
    cosines = np.linspace(-0.99, 0.99, 100)
    figure, axis = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    axis.axhline(0, color="black", linewidth=0.8)
    axis.plot(
        cosines,
        force_on_positive(cosines, 0.0),
        "--",
        color=BLUE,
        label="plain",
    )
    axis.plot(
        cosines,
        force_on_positive(cosines, 1.0),
        color=RED,
        label="clamped (lambda_reg=1)",
    )
    axis.set(
        xlabel="cosine of anchor and positive", ylabel="derivative of the loss"
    )
    axis.text(-0.97, 0.04, "pushed away", fontsize=9)
    axis.text(-0.97, -0.04, "pulled closer", fontsize=9, va="top")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    return figure


plot_clamp()

# %%
# Scores
# ------
# Each loss trains an encoder of the same shape for the same time, with its published clamp.
# Logistic heads predict from the embedding. ``lambda_joint=0`` and ``neighbor_weight=0`` leave the
# loss alone; they are not the defaults. The reference is the encoder trained end to end by
# cross-entropy. This is one run on one easy data set; :doc:`/losses` has the study on six.

data = make_multilabel_digits()
X, Y = data.data[data.train_idx], data.target[data.train_idx]
X_test, Y_test = data.data[data.test_idx], data.target[data.test_idx]
common = {**PLAIN, "max_epochs": 12, "neighbor_weight": 0.0, "random_state": 0}
models = {
    name: ContrastiveMultiLabelClassifier(
        loss=name, lambda_reg=float(name == "reg"), lambda_joint=0.0, **common
    )
    for name in CONTRASTIVE_LOSSES
}
models["cross-entropy"] = MultiLabelMLPClassifier(**common)
scores = {}
for name, model in models.items():
    probabilities = model.fit(X, Y).predict_proba(X_test)
    decided = (probabilities >= 0.5).astype(int)
    scores[name] = (
        average_precision(Y_test, probabilities),
        f1_macro(Y_test, decided),
    )
    print(
        f"{name:14s} mAP {scores[name][0]:.3f}   macro-F1 {scores[name][1]:.3f}"
    )


def plot_scores(scores: dict[str, tuple[float, float]]) -> Figure:
    """Draw both scores of every model, sorted by mAP."""
    names = sorted(scores, key=lambda name: scores[name][0])
    figure, axis = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    heights = np.arange(len(names))
    mAP, macro_F1 = np.array([scores[name] for name in names]).T
    axis.hlines(heights, macro_F1, mAP, color=QUIET, linewidth=1, zorder=1)
    axis.scatter(mAP, heights, color=RED, label="mAP")
    axis.scatter(macro_F1, heights, color=BLUE, label="macro-F1, threshold 0.5")
    axis.set_yticks(heights, names)
    axis.set(xlabel="score on the test samples")
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


plot_scores(scores)

# %%
plt.show()
