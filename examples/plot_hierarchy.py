"""
A hierarchy of labels
=====================

Each digit belongs to a family, and a quick annotator marks only the family.
:func:`sklearn_mlcl.hierarchy.with_ancestors` fills in what follows: a digit implies its family, and
a sample without the family has none of its digits. After the fit,
:func:`sklearn_mlcl.hierarchy.consistent_decision` predicts label sets that fit the hierarchy.
"""

# %%
# Labels of two levels
# --------------------
# The samples have up to three handwritten digits. Three families are labels too. Of most
# training samples only the families are known. For the others only the digits are marked.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.datasets import make_multilabel_digits
from sklearn_mlcl.hierarchy import consistent_decision, with_ancestors
from sklearn_mlcl.metrics import average_precision, f1_macro
from sklearn_mlcl.thresholds import tune_thresholds

FAMILIES = {"round": "0689", "straight": "147", "curved": "235"}
hierarchy = {
    digit: family for family, digits in FAMILIES.items() for digit in digits
}


def with_families(digits):
    """Return labels with columns of zeros for the families in front."""
    frame = pd.DataFrame(digits, columns=list("0123456789")).astype(float)
    return pd.DataFrame(0.0, index=frame.index, columns=list(FAMILIES)).join(
        frame
    )


X, digits = make_multilabel_digits(subset="train", return_X_y=True)
X_test, digits_test = make_multilabel_digits(subset="test", return_X_y=True)
Y_all = with_ancestors(with_families(digits), hierarchy)
Y_test = with_ancestors(with_families(digits_test), hierarchy).astype(int)

coarse = np.random.default_rng(0).random(len(X)) < 0.85
Y = with_families(digits)
Y[coarse] = Y_all[coarse]
Y.loc[coarse, list(hierarchy)] = np.nan
print(Y.head(4).to_string())

# %%
# Before the fit
# --------------
# Families of marked digits become positive. Digits of absent families become 0 in place of missing.

closed = with_ancestors(Y, hierarchy)
print(closed.head(4).to_string())
missing = pd.DataFrame(
    {"as marked": Y.isna().mean(), "closed": closed.isna().mean()}
)
print(
    missing.loc[list(hierarchy)]
    .mean()
    .round(2)
    .rename("missing digits")
    .to_string()
)

# %%
# Three fits: on the samples whose digits are marked, on all labels as they were marked, and on the
# labels that ``with_ancestors`` returned. Missing labels are ignored.

training = {
    "digits alone": (X[~coarse], closed[~coarse]),
    "as marked": (X, Y),
    "closed": (X, closed),
}
fits = {
    name: MultiLabelMLPClassifier(
        n_estimators=4, max_epochs=20, random_state=0
    ).fit(*samples)
    for name, samples in training.items()
}

# %%
# If only the families of a sample are known, its digits are either absent or missing, never present. So
# the probabilities of digits are too low. Thresholds per label correct this. They are tuned on held-out
# probabilities of the samples whose digits are known.

thresholds = {}
for name, fit in fits.items():
    held_out = (
        fit.oof_proba_ if name == "digits alone" else fit.oof_proba_[~coarse]
    )
    judged = ~np.isnan(held_out).any(axis=1)
    thresholds[name] = tune_thresholds(
        closed[~coarse][judged],
        held_out[judged],
        objective="f1_macro",
        per_label=True,
        shrinkage=5,
    )

# %%
# After the fit
# -------------
# A threshold decides each label on its own, and may choose a digit without its family. The
# consistent decision never does.

is_below = [Y.columns.get_loc(digit) for digit in hierarchy]
is_above = [Y.columns.get_loc(family) for family in hierarchy.values()]
rows = {}
for name, fit in fits.items():
    probabilities = pd.DataFrame(fit.predict_proba(X_test), columns=Y.columns)
    threshold = thresholds[name]
    decisions = {
        "threshold": (probabilities >= threshold).astype(int),
        "consistent": consistent_decision(
            probabilities, hierarchy, threshold=threshold
        ),
    }
    for rule, decided in decisions.items():
        values = decided.to_numpy()
        rows[name, rule] = {
            "mAP": average_precision(Y_test, probabilities),
            "macro-F1": f1_macro(Y_test, decided),
            "inconsistent": (values[:, is_below] > values[:, is_above])
            .any(axis=1)
            .mean(),
        }
table = pd.DataFrame(rows).T
print(table.round(3).to_string())

# %%
# Average precision of each label. ``with_ancestors`` gains for families and digits. The samples of
# which only the families are known help with the families, and little with the digits.

by_label = pd.DataFrame(
    {
        name: average_precision_score(
            Y_test, fit.predict_proba(X_test), average=None
        )
        for name, fit in fits.items()
    },
    index=Y.columns,
)
ax = by_label.plot.bar(
    figsize=(10, 4), rot=0, ylabel="average precision", width=0.8
)
ax.set_ylim(by_label.min(axis=None) - 0.05, 1)
ax.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
plt.show()
