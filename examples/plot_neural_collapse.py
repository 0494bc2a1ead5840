"""
Multi-label neural collapse, seen through training
==================================================

Trained long enough under the pick-all-label loss, with penalties on features and weights, the
features of rows with the same label set shrink to a point, and the points arrange themselves: those
of single labels form a regular simplex, and the one of a larger set lies along the sum of the
points of its labels. Here this is watched on handwritten digits composed to a multi-label set, and
then used to decide: the label set with the nearest point wins.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import softmax

from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.callbacks import NeuralCollapseMonitor
from sklearn_mlcl.datasets import make_multilabel_digits
from sklearn_mlcl.inspection import CollapseDisplay, CollapseHistoryDisplay
from sklearn_mlcl.metrics import jaccard_samples
from sklearn_mlcl.recipes import PAL_COLLAPSE

data = make_multilabel_digits()
X, Y = data.data[data.train_idx], data.target[data.train_idx]
X_test, Y_test = data.data[data.test_idx], data.target[data.test_idx]

# %%
# Watching it happen
# ------------------
# A monitor among the callbacks measures the embedding of some training rows after every fifth
# epoch. It leaves the training as it is, to the bit.

monitor = NeuralCollapseMonitor(every=5)
clf = MultiLabelMLPClassifier(
    **PAL_COLLAPSE, decision="onn", callbacks=[monitor], random_state=0
).fit(X, Y)
CollapseHistoryDisplay.from_estimator(clf)

# %%
# All curves fall: the scatter within label sets goes, relative to that between them, for rows with
# one, two and three digits; the label vectors ("tags", fitted to the means of all label sets) and
# the rows of the classifier approach a simplex and each other; and a model that has every mean as a
# scaled sum of tags explains nearly all that tells the label sets apart.
#
# Three digits of ten
# -------------------
# The plane below is that of the tags of the digits 0, 1 and 2, and shows the training rows with
# these digits alone: after one, ten and all epochs. Rays run along the sums of tags.

figure, axes = plt.subplots(1, 3, figsize=(11, 4.0), layout="constrained")
for axis, epochs in zip(axes, (1, 10, PAL_COLLAPSE["max_epochs"]), strict=True):
    stage = clf
    if epochs < PAL_COLLAPSE["max_epochs"]:
        stage = MultiLabelMLPClassifier(**{**PAL_COLLAPSE, "max_epochs": epochs}, random_state=0)
        stage.fit(X, Y)
    CollapseDisplay.from_estimator(stage, X, Y, kind="tags", labels=[0, 1, 2], ax=axis)
    axis.set_title(f"{epochs} epoch{'s' if epochs > 1 else ''}")

# %%
# Angles of all sizes at once
# ---------------------------
# Under exact collapse the cosine of two means equals the phi coefficient of their label sets, the
# correlation of the two rows of zeros and ones, whatever the sizes of the sets. The scale of a sum
# of tags falls with the number of labels.

figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
report = monitor.reports_[PAL_COLLAPSE["max_epochs"]]
CollapseDisplay.from_report(report, kind="phi").plot(ax=axes[0])
CollapseDisplay.from_report(report, kind="scale").plot(ax=axes[1])

# %%
# Deciding by the nearest point
# -----------------------------
# The softmax of a pick-all-label net is no probability of a label: with two digits shown, 1/2 for
# each is a perfect answer. One cut through it has to serve rows with one digit and rows with three,
# and has to be found. The nearest label-set prototype chooses the number of digits by itself, with
# nothing to tune. The cut below is the best one for the test rows themselves, which flatters it.

scores = softmax(clf.transform(X_test) @ clf.coef_.T + clf.intercept_, axis=1)
cuts = np.linspace(0.02, 0.6, 59)
by_cut = [jaccard_samples(Y_test, scores >= cut) for cut in cuts]
by_prototype = jaccard_samples(Y_test, clf.predict(X_test))
print(f"softmax, best cut {cuts[np.argmax(by_cut)]:.2f}: Jaccard {max(by_cut):.3f}")
print(f"nearest prototype:          Jaccard {by_prototype:.3f}")

figure, axis = plt.subplots(figsize=(5.6, 3.4), layout="constrained")
axis.plot(cuts, by_cut, color="#2e4057", label="softmax above a cut")
axis.axhline(by_prototype, color="#d1495b", label="nearest prototype")
axis.set(xlabel="cut", ylabel="Jaccard index of the test rows")
axis.spines[["top", "right"]].set_visible(False)
axis.legend(frameon=False)

# %%
plt.show()
