"""
Labels that nobody looked at
============================

An annotator who has seen some labels of a row has not said "no" to the others. Here 40 % of the
labels are hidden at random. Leaving them out (``missing_label``) is compared with the usual way to
be rid of them: filling them with zeros.
"""

# %%
# Hide labels
# -----------
# Handwritten digits composed to rows with up to three digits, ten labels. -1 marks a label that is
# not known. The test labels stay complete, to see the truth.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sklearn_mlcl import MultiLabelMLPClassifier, MultiLabelThresholdClassifierCV, recipes
from sklearn_mlcl.datasets import make_multilabel_digits
from sklearn_mlcl.metrics import (
    average_precision,
    f1_macro,
    f1_micro,
    multilabel_log_loss,
    reliability_curve,
)

UNKNOWN = -1
X, Y = make_multilabel_digits(subset="train", return_X_y=True)
X_test, Y_test = make_multilabel_digits(subset="test", return_X_y=True)
hidden = np.random.default_rng(0).random(Y.shape) < 0.4
Y_masked = np.where(hidden, UNKNOWN, Y)
Y_filled = np.where(hidden, 0, Y)
print(f"positives: {Y.sum()} in truth, {Y_filled.sum()} known, none complete in "
      f"{(Y_masked == UNKNOWN).any(axis=1).mean():.0%} of the rows")  # fmt: skip

# %%
# Fit and tune on what is known
# -----------------------------
# The same net both times, each with a threshold a label for macro-F1, tuned by cross-fitting on the
# labels that it was given. The mask goes to the classifier and to what tunes it.

fast = {**recipes.FAST, "random_state": 0}
models = {
    "masked": MultiLabelThresholdClassifierCV(
        MultiLabelMLPClassifier(**fast, missing_label=UNKNOWN),
        objective="f1_macro",
        cv=3,
        missing_label=UNKNOWN,
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
# What the zeros did
# ------------------
# A filled zero is a wrong label on four positives out of ten, and the same for all rows and labels:
# probabilities come out too low by as much. Thresholds that were tuned on the same labels move down
# with them and save most of the decisions here; the probabilities themselves are wrong.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
labels = np.arange(Y.shape[1])
for shift, (name, model) in zip((-0.2, 0.2), models.items(), strict=True):
    predicted = model.predict(X_test)
    by_label = [f1_macro(Y_test[:, [label]], predicted[:, [label]]) for label in labels]
    left.bar(labels + shift, by_label, width=0.4, label=name)
    confidence, frequency, mass = reliability_curve(
        Y_test.ravel(), model.predict_proba(X_test).ravel(), n_bins=8
    )
    right.plot(confidence[0], frequency[0], marker="o", label=name)
left.set(xlabel="digit", ylabel="F1 on the test rows", xticks=labels)
right.plot([0, 1], [0, 1], color="0.6", linewidth=1)
right.set(xlabel="predicted probability", ylabel="share of positives", aspect="equal")
right.legend(frameon=False)
plt.show()

# %%
# Scores on incomplete labels
# ---------------------------
# Test labels are seldom complete either. Metrics take the mask too, and stay close to the truth;
# on filled labels every hit on a hidden positive counts as a false alarm.

hidden_test = np.random.default_rng(1).random(Y_test.shape) < 0.4
predicted = models["masked"].predict(X_test)
Y_some = np.where(hidden_test, UNKNOWN, Y_test)
print(f"macro-F1 on all test labels:   {f1_macro(Y_test, predicted):.3f}")
print(f"on the known 60 %, masked:     {f1_macro(Y_some, predicted, missing_label=UNKNOWN):.3f}")
print(f"on labels filled with zeros:   {f1_macro(np.where(hidden_test, 0, Y_test), predicted):.3f}")
