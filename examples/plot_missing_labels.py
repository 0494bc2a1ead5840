"""
Missing labels
==============

Annotators often mark only some labels of a sample. The other labels are missing, and they may be
positive. Here 40 % of the labels are hidden at random. The example compares two ways to treat them:
ignore them (``missing_label``), or fill them with zeros, as is often done.
"""

# %%
# Hide labels
# -----------
# The samples have up to three handwritten digits, and ten labels. -1 marks a missing label. The
# test labels are complete.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sklearn_mlcl import (
    MultiLabelMLPClassifier,
    MultiLabelThresholdClassifierCV,
    recipes,
)
from sklearn_mlcl.datasets import make_multilabel_digits
from sklearn_mlcl.metrics import (
    average_precision,
    f1_macro,
    f1_micro,
    multilabel_log_loss,
    reliability_curve,
)

MISSING = -1
X, Y = make_multilabel_digits(subset="train", return_X_y=True)
X_test, Y_test = make_multilabel_digits(subset="test", return_X_y=True)
hidden = np.random.default_rng(0).random(Y.shape) < 0.4
Y_masked = np.where(hidden, MISSING, Y)
Y_filled = np.where(hidden, 0, Y)
print(f"positives: {Y.sum()}, of which {Y_filled.sum()} are observed")
print(
    "samples with a missing label: "
    f"{(Y_masked == MISSING).any(axis=1).mean():.0%}"
)

# %%
# Fit and tune on the observed labels
# -----------------------------------
# The same net is fitted twice. Each fit has one threshold per label for macro-F1, tuned by
# cross-validation on its own labels. ``missing_label`` is a parameter of the classifier and of the
# meta-estimator that tunes it: set both.

fast = {**recipes.FAST, "random_state": 0}
models = {
    "masked": MultiLabelThresholdClassifierCV(
        MultiLabelMLPClassifier(**fast, missing_label=MISSING),
        objective="f1_macro",
        cv=3,
        missing_label=MISSING,
    ).fit(X, Y_masked),
    "filled with zeros": MultiLabelThresholdClassifierCV(
        MultiLabelMLPClassifier(**fast), objective="f1_macro", cv=3
    ).fit(X, Y_filled),
}
scores = {
    name: {
        "macro-F1": f1_macro(Y_test, model.predict(X_test)),
        "micro-F1": f1_micro(Y_test, model.predict(X_test)),
        "mAP": average_precision(Y_test, model.predict_proba(X_test)),
        "log loss": multilabel_log_loss(Y_test, model.predict_proba(X_test)),
    }
    for name, model in models.items()
}
print(pd.DataFrame(scores).T.round(3).to_string())

# %%
# The effect of zeros
# -------------------
# A filled zero is a wrong label for four positives out of ten. The probabilities are too low by
# this factor. Thresholds tuned on the same labels are lower too, so most decisions are right. The
# probabilities themselves are wrong.

figure, (left, right) = plt.subplots(
    1, 2, figsize=(10, 4), layout="constrained"
)
labels = np.arange(Y.shape[1])
for shift, (name, model) in zip((-0.2, 0.2), models.items(), strict=True):
    predicted = model.predict(X_test)
    by_label = [
        f1_macro(Y_test[:, [label]], predicted[:, [label]]) for label in labels
    ]
    left.bar(labels + shift, by_label, width=0.4, label=name)
    confidence, frequency, mass = reliability_curve(
        Y_test.ravel(), model.predict_proba(X_test).ravel(), n_bins=8
    )
    right.plot(confidence[0], frequency[0], marker="o", label=name)
left.set(xlabel="digit", ylabel="F1 on the test samples", xticks=labels)
right.plot([0, 1], [0, 1], color="0.6", linewidth=1)
right.set(
    xlabel="predicted probability", ylabel="share of positives", aspect="equal"
)
right.legend(frameon=False)
plt.show()

# %%
# Scores on incomplete labels
# ---------------------------
# Test labels are rarely complete either. Metrics take ``missing_label`` too, and their values stay close
# to the scores on complete labels. On filled labels every correct prediction of a hidden positive counts
# as a false positive.

hidden_test = np.random.default_rng(1).random(Y_test.shape) < 0.4
predicted = models["masked"].predict(X_test)
Y_some = np.where(hidden_test, MISSING, Y_test)
print(f"macro-F1 on all test labels:   {f1_macro(Y_test, predicted):.3f}")
print(
    "on the observed 60 %, masked:  "
    f"{f1_macro(Y_some, predicted, missing_label=MISSING):.3f}"
)
print(
    "on labels filled with zeros:   "
    f"{f1_macro(np.where(hidden_test, 0, Y_test), predicted):.3f}"
)
