"""
Multi-label neural collapse during training
===========================================

The net is trained for long under the pick-all-label loss, with penalties on features and weights.
The features of samples with the same label set shrink to a point. The points of single labels form
a regular simplex. The point of a larger set lies along the sum of the points of its labels. This
example shows it on composed handwritten digits. Then it uses the points for decisions: the label
set with the nearest point is predicted.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import torch

from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.callbacks import NeuralCollapseMonitor
from sklearn_mlcl.collapse import NearestLabelSetClassifier
from sklearn_mlcl.datasets import make_multilabel_digits
from sklearn_mlcl.inspection import CollapseDisplay, CollapseHistoryDisplay
from sklearn_mlcl.metrics import jaccard_samples
from sklearn_mlcl.recipes import PAL_COLLAPSE

data = make_multilabel_digits()
X, Y = data.data[data.train_idx], data.target[data.train_idx]
X_test, Y_test = data.data[data.test_idx], data.target[data.test_idx]

# %%
# The collapse over the epochs
# ----------------------------
# A callback measures the embedding of some training samples after every fifth epoch. It does not
# change the training.

monitor = NeuralCollapseMonitor(every=5)
clf = MultiLabelMLPClassifier(
    **PAL_COLLAPSE,
    decision=NearestLabelSetClassifier(prior=0.0),
    callbacks=[monitor],
    random_state=0,
).fit(X, Y)
CollapseHistoryDisplay.from_estimator(clf)

# %%
# All curves fall:
#
# - The scatter within label sets falls relative to that between them, for one, two and three
#   digits.
# - The label vectors ("tags", fitted to the means of all label sets) and the rows of the classifier
#   approach a simplex and each other.
# - A model in which every mean is a scaled sum of tags explains nearly all differences between the
#   label sets.
#
# Three digits of ten
# -------------------
# The plane below contains the tags of the digits 0, 1 and 2. It shows the training samples with
# these digits only: after one, ten and all epochs. Lines run along the sums of tags.

figure, axes = plt.subplots(1, 3, figsize=(11, 4.0), layout="constrained")
for axis, epochs in zip(axes, (1, 10, PAL_COLLAPSE["max_epochs"]), strict=True):
    stage = clf
    if epochs < PAL_COLLAPSE["max_epochs"]:
        stage = MultiLabelMLPClassifier(
            **{**PAL_COLLAPSE, "max_epochs": epochs}, random_state=0
        )
        stage.fit(X, Y)
    CollapseDisplay.from_estimator(
        stage, X, Y, kind="tags", labels=[0, 1, 2], ax=axis
    )
    axis.set_title(f"{epochs} epoch{'s' if epochs > 1 else ''}")

# %%
# Angles of all set sizes
# -----------------------
# Under exact collapse the cosine of two means equals the phi coefficient of their label sets. This
# is the correlation of the two vectors of zeros and ones, for any sizes of the sets. The scale of a
# sum of tags falls with the number of labels.

figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
report = monitor.reports_[PAL_COLLAPSE["max_epochs"]]
CollapseDisplay.from_report(report, kind="phi").plot(ax=axes[0])
CollapseDisplay.from_report(report, kind="scale").plot(ax=axes[1])

# %%
# Decisions by the nearest point
# ------------------------------
# The softmax of a pick-all-label net is not the probability of a label. With two digits shown, 1/2 for
# each is a perfect answer. One threshold must serve samples with one digit and with three, and must be
# tuned. The nearest label-set prototype needs no threshold. The threshold below was tuned on the test
# samples, so its score is too good.

with torch.inference_mode():
    embedding = torch.from_numpy(clf.transform(X_test).astype(np.float32))
    scores = clf.net_.criterion_.head(embedding).softmax(dim=1).numpy()
thresholds = np.linspace(0.02, 0.6, 59)
by_threshold = [
    jaccard_samples(Y_test, scores >= threshold) for threshold in thresholds
]
by_prototype = jaccard_samples(Y_test, clf.predict(X_test))
best = thresholds[np.argmax(by_threshold)]
print(f"softmax, best threshold {best:.2f}: Jaccard {max(by_threshold):.3f}")
print(f"nearest prototype: Jaccard {by_prototype:.3f}")

figure, axis = plt.subplots(figsize=(5.6, 3.4), layout="constrained")
axis.plot(
    thresholds, by_threshold, color="#2e4057", label="softmax above a threshold"
)
axis.axhline(by_prototype, color="#d1495b", label="nearest prototype")
axis.set(xlabel="threshold", ylabel="Jaccard index of the test samples")
axis.spines[["top", "right"]].set_visible(False)
axis.legend(frameon=False)

# %%
plt.show()
