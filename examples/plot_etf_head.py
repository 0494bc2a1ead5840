"""
A classifier that is not trained
================================

At neural collapse the rows of the last layer form a simplex equiangular tight frame (ETF): all of
one length, all at the same, largest possible angles. One can fix them there from the start,
``classifier="etf"``, and train the encoder alone. The features then need no more than K - 1
dimensions for K labels, which makes the layer before smaller too. This example trains both heads on
handwritten digits composed to a multi-label set and compares parameters and scores.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.callbacks import NeuralCollapseMonitor
from sklearn_mlcl.datasets import make_multilabel_digits
from sklearn_mlcl.inspection import CollapseDisplay, CollapseHistoryDisplay
from sklearn_mlcl.metrics import f1_micro, jaccard_samples, subset_accuracy
from sklearn_mlcl.recipes import PAL_COLLAPSE

data = make_multilabel_digits()
X, Y = data.data[data.train_idx], data.target[data.train_idx]
X_test, Y_test = data.data[data.test_idx], data.target[data.test_idx]

# %%
# Two heads
# ---------
# The trained head has 64 features, the fixed one 10 - 1 = 9. All else is the same.


def fit_head(**head) -> MultiLabelMLPClassifier:
    """Fit a pick-all-label net with a head, decisions by the nearest prototype."""
    arguments = {**PAL_COLLAPSE, **head, "decision": "onn", "random_state": 0}
    return MultiLabelMLPClassifier(**arguments, callbacks=[NeuralCollapseMonitor(every=5)]).fit(
        X, Y
    )


models = {
    "trained head": fit_head(classifier="linear"),
    "fixed frame": fit_head(classifier="etf", feature_dim=None),
}


def n_parameters(clf: MultiLabelMLPClassifier) -> int:
    """Count what was trained, encoder and head."""
    return sum(parameter.numel() for _, parameter in clf.net_.get_all_learnable_params())


table = pd.DataFrame(
    {
        name: {
            "features": clf.coef_.shape[1],
            "parameters": n_parameters(clf),
            "Jaccard": jaccard_samples(Y_test, clf.predict(X_test)),
            "micro-F1": f1_micro(Y_test, clf.predict(X_test)),
            "subset accuracy": subset_accuracy(Y_test, clf.predict(X_test)),
        }
        for name, clf in models.items()
    }
).T.astype({"features": int, "parameters": int})
print(table.round(3).to_string())

# %%
# One seed on one set; the page on collapse has the means of three. What the frame saves depends on
# the net: a tenth here, where the first layers hold most of the weights.
#
# Both arrive at the same geometry
# --------------------------------
# Cosines of the label vectors, fitted to the means of the label sets, minus those of the simplex.
# The fixed frame pulls the features onto it from the start; the trained one finds it.

figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.0), layout="constrained")
for axis, (name, clf) in zip(axes, models.items(), strict=True):
    display = CollapseDisplay.from_estimator(
        clf, X, Y, kind="gram", ax=axis, plot_kwargs={"vmin": -0.04, "vmax": 0.04}
    )
    axis.set_title(f"{name}: {np.abs(display.values['deviation']).max():.3f} at most")

# %%
# Over the epochs, the distance of the tags from the simplex and from the rows of the classifier:

figure, axes = plt.subplots(1, 2, figsize=(11, 3.4), layout="constrained", sharey=True)
for axis, (name, clf) in zip(axes, models.items(), strict=True):
    CollapseHistoryDisplay.from_history(clf.history_, metrics=("nc1_trace", "nc2_h", "nc3")).plot(
        ax=axis
    )
    axis.set_title(name)
axes[0].get_legend().remove()
axes[1].set_ylabel("")

# %%
plt.show()
