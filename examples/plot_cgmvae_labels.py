"""
The label embeddings and Gaussians of C-GMVAE
=============================================

C-GMVAE learns an embedding and a Gaussian for every label. The Gaussians lie in the latent space of
the samples. This example shows both. The samples are handwritten digits. Their labels are the digit
and its properties: even, odd, prime, with a loop, of straight lines. The model is not told which
labels belong together.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score

from sklearn_mlcl import CGMVAEClassifier
from sklearn_mlcl.inspection import LabelEmbeddingDisplay

# %%
# Digits with properties
# ----------------------

digits = load_digits()
PROPERTIES = {
    "even": (0, 2, 4, 6, 8),
    "odd": (1, 3, 5, 7, 9),
    "prime": (2, 3, 5, 7),
    "loop": (0, 6, 8, 9),
    "straight": (1, 4, 7),
}
columns = {str(digit): digits.target == digit for digit in range(10)}
columns |= {
    name: np.isin(digits.target, members)
    for name, members in PROPERTIES.items()
}
Y = pd.DataFrame(columns).astype(int)
X = digits.data
train, test = np.arange(len(X)) % 3 > 0, np.arange(len(X)) % 3 == 0
print(
    Y.sum(axis=1)
    .value_counts()
    .sort_index()
    .rename("samples by number of labels")
)

# %%
# Fit and score
# -------------

clf = CGMVAEClassifier(random_state=0).fit(X[train], Y[train])
predicted = clf.predict(X[test])
print(
    "macro-F1 of the test samples "
    f"{f1_score(Y[test], predicted, average='macro'):.3f}"
)
print(f"KL in the last epoch {clf.history_['kl'][-1]:.1f} nats")

# %%
# Similar labels
# --------------
# Below the diagonal are the cosines of the label embeddings. Above it are the correlations of the
# labels in the training samples. The map has the labels at the principal components of their
# embeddings; lines join labels that often occur together.

display = LabelEmbeddingDisplay.from_estimator(clf, Y[train])
print(
    "correlation of cosines and correlations over all pairs: "
    f"{display.agreement():.2f}"
)

# %%
# Samples and the Gaussians of their labels
# -----------------------------------------
# The figure has latent codes of the test samples and the means of the label Gaussians. Its axes are
# the two directions in which the means vary most. The prior of a sample is the mixture of the
# Gaussians of its labels.

center = clf.label_means_.mean(axis=0)
directions = np.linalg.svd(clf.label_means_ - center, full_matrices=False)[2][
    :2
]
codes = (clf.sample_latent(X[test]) - center) @ directions.T
means = (clf.label_means_ - center) @ directions.T
deviations = np.sqrt(np.exp(clf.label_log_vars_) @ directions.T**2)

figure, ax = plt.subplots(figsize=(6.4, 5.2), layout="constrained")
points = ax.scatter(
    *codes.T, c=digits.target[test], cmap="tab10", s=10, alpha=0.7
)
ax.errorbar(
    *means.T,
    *deviations.T[::-1],
    fmt="none",
    ecolor="0.6",
    elinewidth=0.8,
    zorder=2,
)
ax.scatter(*means.T, color="black", marker="D", s=22, zorder=3)
for name, point in zip(Y.columns, means, strict=True):
    ax.annotate(
        name, point, xytext=(4, 4), textcoords="offset points", weight="bold"
    )
figure.colorbar(points, label="digit of the sample")
ax.set(xlabel="first direction", ylabel="second direction")
plt.show()

# %%
# Uncertain samples
# -----------------
# Draws of a sample's code change its probabilities. Their standard deviation, averaged over the
# labels, is large if a sample can be read in two ways.

uncertainty = clf.uncertainty(X[test]).mean(axis=1)
wrong = (predicted != Y[test].to_numpy()).any(axis=1)
for kind, those in (("right", ~wrong), ("wrong", wrong)):
    print(
        f"standard deviation of samples predicted {kind}: "
        f"{uncertainty[those].mean():.4f}"
    )

figure, axes = plt.subplots(2, 6, figsize=(8, 3.2), layout="constrained")
order = np.argsort(uncertainty)
for sample, axis in zip(
    np.concatenate([order[:6], order[-6:]]), axes.flat, strict=True
):
    axis.imshow(digits.images[test][sample], cmap="gray_r")
    best = clf.predict_proba(X[test][[sample]])[0, :10].argmax()
    axis.set(xticks=[], yticks=[])
    axis.set_title(
        f"{digits.target[test][sample]}, predicted {best}", fontsize=9
    )
axes[0, 0].set_ylabel("most certain")
axes[1, 0].set_ylabel("least certain")
plt.show()
