"""
Wrong labels, found with cleanlab
=================================

Annotators make mistakes. cleanlab finds them, if it gets probabilities from fits that did not see the
label. The net-based estimators have such probabilities, ``oof_proba_``, without extra
cross-validation. A review of one entry in twenty-five then corrects most mistakes.
"""

# %%
# Labels with mistakes
# --------------------
# The samples have up to three handwritten digits, and ten labels. One present digit in twelve is
# not marked, and one absent digit in a hundred is marked.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from cleanlab.multilabel_classification.filter import (
    find_multilabel_issues_per_class,
)

from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.datasets import make_multilabel_digits
from sklearn_mlcl.metrics import average_precision, multilabel_log_loss

X, Y_true = make_multilabel_digits(subset="train", return_X_y=True)
X_test, Y_test = make_multilabel_digits(subset="test", return_X_y=True)
rng = np.random.default_rng(0)
wrong = rng.random(Y_true.shape) < np.where(Y_true == 1, 1 / 12, 1 / 100)
Y = np.where(wrong, 1 - Y_true, Y_true)
print(f"{wrong.sum()} of {wrong.size} entries are wrong")

# %%
# Doubtful entries
# ----------------
# Each of the four nets holds out a quarter of the samples. cleanlab compares the held-out
# probabilities to the given labels, and lists the doubtful samples of each label.

classifier = MultiLabelMLPClassifier(
    n_estimators=4, max_epochs=20, random_state=0
).fit(X, Y)
held_out = classifier.oof_proba_
judged = np.flatnonzero(~np.isnan(held_out).any(axis=1))
given = [list(np.flatnonzero(row)) for row in Y[judged]]
doubtful = np.zeros(Y.shape, dtype=bool)
doubtful[judged] = find_multilabel_issues_per_class(given, held_out[judged])
hits = doubtful & wrong
print(f"{doubtful.sum()} entries are doubtful, {hits.sum()} of them are wrong")
print(
    f"precision {hits.sum() / doubtful.sum():.2f},",
    f"recall {hits.sum() / wrong.sum():.2f}",
)

# %%
# The six entries that the nets contradict most. For most of them the net is right.

doubt = np.where(doubtful, np.abs(held_out - Y), 0)
worst = np.column_stack(
    np.unravel_index(np.argsort(-doubt, axis=None)[:6], Y.shape)
)
figure, axes = plt.subplots(1, 6, figsize=(12, 2.9), layout="constrained")
for ax, (sample, label) in zip(axes, worst, strict=True):
    ax.imshow(X[sample].reshape(16, 16), cmap="gray_r")
    given = ", ".join(map(str, np.flatnonzero(Y[sample]))) or "none"
    ax.set_title(
        f"given: {given}\nP({label}) = {held_out[sample, label]:.2f}",
        fontsize=10,
    )
    ax.set(xticks=[], yticks=[])
plt.show()

# %%
# After a review
# --------------
# A person reviews and corrects the doubtful entries only. Without a review they could be marked as
# missing (NaN), which the fit ignores. This does not help here, because half of these entries are
# right, and they belong to the difficult samples. The test labels are right.

labels = {
    "as given": Y,
    "doubtful entries missing": np.where(doubtful, np.nan, Y),
    "doubtful entries reviewed": np.where(doubtful, Y_true, Y),
    "all entries right": Y_true,
}
scores = {}
for name, known in labels.items():
    probabilities = classifier.fit(X, known).predict_proba(X_test)
    scores[name] = {
        "mAP": average_precision(Y_test, probabilities),
        "log loss": multilabel_log_loss(Y_test, probabilities),
    }
print(pd.DataFrame(scores).T.round(3).to_string())
