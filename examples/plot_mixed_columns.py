"""
Numbers and categories, with names
==================================

The table has columns of numbers and of categories, and its labels have names. A
``ColumnTransformer`` in a pipeline encodes the columns. The classifier then knows the names of the
columns. Its predictions and figures have the names of the labels.

The table is made up: tickets of a help desk, with the reasons why somebody wrote.
"""

# %%
# The table
# ---------

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn_mlcl import ContrastiveMultiLabelClassifier
from sklearn_mlcl.inspection import MultiLabelPrecisionRecallDisplay
from sklearn_mlcl.metrics import f1_macro
from sklearn_mlcl.recipes import FAST


def make_tickets(n, random_state):
    """Return n tickets and their labels; the index numbers the tickets."""
    rng = np.random.default_rng(random_state)
    tickets = pd.DataFrame(
        {
            "product": rng.choice(
                ["mail", "shop", "wiki"], n, p=[0.5, 0.3, 0.2]
            ),
            "plan": rng.choice(
                ["free", "team", "company"], n, p=[0.6, 0.3, 0.1]
            ),
            "users": np.round(rng.lognormal(2, 1, n)),
            "days since update": rng.integers(0, 90, n).astype(float),
        },
        index=pd.Index(1000 + np.arange(n), name="ticket"),
    )
    fresh = np.exp(-tickets["days since update"] / 15)
    crowd = np.tanh(tickets["users"] / 40)
    chance = pd.DataFrame(
        {
            "outage": 0.05 + 0.6 * fresh * tickets["product"].eq("mail"),
            "slow": 0.05 + 0.7 * crowd + 0.2 * fresh,
            "invoice": 0.5 * tickets["plan"].ne("free")
            + 0.3 * tickets["product"].eq("shop"),
            "refund": 0.45 * tickets["product"].eq("shop") + 0.25 * fresh,
        }
    )
    labels = (rng.random(chance.shape) < chance).astype(int)
    # Some numbers of users are missing: an imputer will fill them.
    tickets.loc[rng.random(n) < 0.05, "users"] = np.nan
    return tickets, labels


X, Y = make_tickets(2000, random_state=0)
X_train, X_test, Y_train, Y_test = train_test_split(X, Y, random_state=0)
print(X_test.head(3).to_string())

# %%
# The pipeline
# ------------
# Numbers are imputed and scaled; a category becomes one column per value. ``transform="pandas"`` on
# the pipeline passes names and index from step to step. ``predict="pandas"`` on the classifier asks
# for predictions with names; a pipeline has no such argument. No reason is certain here, so the
# threshold is tuned.

columns = make_column_transformer(
    (
        make_pipeline(SimpleImputer(), StandardScaler()),
        ["users", "days since update"],
    ),
    (
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        ["product", "plan"],
    ),
    verbose_feature_names_out=False,
)
classifier = ContrastiveMultiLabelClassifier(
    **FAST, feature_noise=0.2, threshold="f1_macro", random_state=0
)
model = make_pipeline(columns, classifier.set_output(predict="pandas"))
model.set_output(transform="pandas").fit(X_train, Y_train)

# %%
# The columns that the classifier saw, and its probabilities by ticket and label.

print("\n".join(model[-1].feature_names_in_))
print(model.predict_proba(X_test).head(3).round(2).to_string())

# %%
# Scores and figures
# ------------------
# Scores and displays take the DataFrames.

print(f"macro-F1 {f1_macro(Y_test, model.predict(X_test)):.2f}")
MultiLabelPrecisionRecallDisplay.from_estimator(model, X_test, Y_test)
plt.show()

# %%
# The columns of the embedding have names too:

print(model.transform(X_test).iloc[:3, :2].round(2).to_string())
model
