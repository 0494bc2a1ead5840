"""
A messy CSV, from the file to a server
======================================

The file has numbers with gaps, categories, a date and free text, and twelve labels. skrub encodes
it in one line. A ``ColumnTransformer`` does the same by hand. The fitted pipeline is saved, loaded
and served: by a function, by FastAPI, and as one ONNX graph.

The table is simulated: tickets of a help desk, with the reasons for each ticket as labels.
"""

# %%
# The file
# --------

import json
import tempfile
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
import onnx
import onnxruntime
import pandas as pd
from fastapi import FastAPI
from fastapi.testclient import TestClient
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from skrub import tabular_pipeline

from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.inspection import MultiLabelPrecisionRecallDisplay
from sklearn_mlcl.metrics import average_precision, f1_macro
from sklearn_mlcl.recipes import FAST

PHRASES = {
    "outage": [
        "The service is down",
        "Error 503 on every page",
        "Nothing loads today",
    ],
    "slow": [
        "Pages take a minute to open",
        "Everything is very slow",
        "Search hangs",
    ],
    "login": [
        "I cannot sign in",
        "My password is not accepted",
        "The login page comes back",
    ],
    "mobile": [
        "The app on my phone crashes",
        "On my tablet the menu is cut off",
    ],
    "import": ["The import stops half way", "Uploaded rows are missing"],
    "export": [
        "The exported file is empty",
        "The downloaded report has wrong dates",
    ],
    "sync": [
        "My calendar is not in sync",
        "Changes do not reach my other device",
    ],
    "invoice": ["The invoice has the wrong address", "We were charged twice"],
    "refund": ["Please return the money", "I want my payment back"],
    "upgrade": ["We would like more seats", "What does the larger plan cost"],
    "cancel": ["Close our account", "We want to end the contract"],
    "praise": ["Thank you for the quick help", "Great product"],
}
FILLER = [
    "Hello",
    "Please help",
    "We use it every day",
    "See the screenshot",
    "This is urgent",
]
LABELS = [*PHRASES]


def make_tickets(n, random_state):
    """Return n tickets with their labels."""
    rng = np.random.default_rng(random_state)
    day, minute = rng.integers(0, 365, n), rng.integers(0, 24 * 60, n)
    tickets = pd.DataFrame(
        {
            "opened": pd.Timestamp("2026-01-01")
            + pd.to_timedelta(day, unit="D")
            + pd.to_timedelta(minute, unit="min"),
            "product": rng.choice(
                ["mail", "shop", "wiki"], n, p=[0.5, 0.3, 0.2]
            ),
            "plan": rng.choice(
                ["free", "team", "company"], n, p=[0.5, 0.35, 0.15]
            ),
            "seats": np.round(rng.lognormal(2, 1, n)),
            "days_since_update": rng.integers(0, 90, n).astype(float),
        }
    )
    fresh = np.exp(-tickets["days_since_update"] / 15)
    crowd = np.tanh(tickets["seats"] / 40)
    paid = tickets["plan"].ne("free")
    mail, shop = tickets["product"].eq("mail"), tickets["product"].eq("shop")
    chance = pd.DataFrame(0.06, index=tickets.index, columns=LABELS)
    chance["outage"] += 0.5 * fresh * mail
    chance["slow"] += 0.5 * crowd
    chance["login"] += 0.3 * fresh
    chance["import"] += 0.1 * (~mail & ~shop)
    chance["sync"] += 0.1 * mail
    chance["invoice"] += 0.6 * (paid & (tickets["opened"].dt.day <= 5))
    chance["refund"] += 0.25 * shop
    chance["upgrade"] += 0.2 * crowd * ~paid
    labels = (rng.random(chance.shape) < chance).astype(int)
    messages = []
    for present in labels.to_numpy():
        # Some reasons are not written, and some phrases have no reason.
        said = rng.random(len(LABELS)) < np.where(present, 0.6, 0.02)
        phrases = [
            rng.choice(PHRASES[label]) for label in np.array(LABELS)[said]
        ]
        messages.append(
            ". ".join(rng.permutation([*phrases, *rng.choice(FILLER, 2)]))
        )
    tickets["message"] = messages
    tickets.loc[rng.random(n) < 0.1, "seats"] = np.nan
    tickets.loc[rng.random(n) < 0.05, "plan"] = np.nan
    return pd.concat([tickets, labels], axis=1)


folder = Path(tempfile.mkdtemp())
make_tickets(2500, random_state=0).to_csv(folder / "tickets.csv", index=False)
table = pd.read_csv(folder / "tickets.csv")
X, Y = table.drop(columns=LABELS), table[LABELS]
X_train, X_test, Y_train, Y_test = X[:2000], X[2000:], Y[:2000], Y[2000:]
print(X.head(2).T.to_string(max_colwidth=30))

# %%
# One line with skrub
# -------------------
# ``tabular_pipeline`` looks at the columns. It fills the gaps and encodes categories, dates and
# text. The classifier tunes its threshold on samples that its fit holds out.

classifier = MultiLabelMLPClassifier(
    **FAST, threshold="f1_macro", random_state=0
)
automatic = tabular_pipeline(classifier).fit(X_train, Y_train)
print(f"{len(automatic[0].get_feature_names_out())} columns")
automatic

# %%
# By hand
# -------
# The same with scikit-learn only. A function turns the date into numbers; all other steps are in the
# pipeline. Numbers are not scaled, because the net scales them. Each word of the message is a
# column, so a single word can decide.

NUMBERS = ["seats", "days_since_update", "day", "hour"]


def prepared(tickets):
    """Return tickets with day and hour of the date, and words for gaps."""
    opened = pd.to_datetime(tickets["opened"]).dt
    columns = {
        "day": opened.day,
        "hour": opened.hour,
        "message": tickets["message"].str.lower(),
    }
    tickets = (
        tickets.drop(columns="opened")
        .assign(**columns)
        .fillna({"plan": "unknown"})
    )
    return tickets.astype(dict.fromkeys(NUMBERS, "float32"))


columns = make_column_transformer(
    (SimpleImputer(), NUMBERS),
    (
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        ["product", "plan"],
    ),
    (TfidfVectorizer(min_df=3, lowercase=False), "message"),
    sparse_threshold=0,
)
by_hand = make_pipeline(columns, clone(classifier)).fit(
    prepared(X_train), Y_train
)
print(f"{len(by_hand[0].get_feature_names_out())} columns")

# %%
# Scores of the test tickets, at 0.5 and at the tuned threshold.

rows = {}
for name, model, samples in (
    ("skrub", automatic, X_test),
    ("by hand", by_hand, prepared(X_test)),
):
    probabilities = model.predict_proba(samples)
    rows[name] = {
        "mAP": average_precision(Y_test, probabilities),
        "macro-F1 at 0.5": f1_macro(Y_test, probabilities >= 0.5),
        "threshold": model[-1].threshold_,
        "macro-F1 there": f1_macro(Y_test, model.predict(samples)),
    }
print(pd.DataFrame(rows).T.round(3).to_string())
MultiLabelPrecisionRecallDisplay.from_estimator(
    by_hand, prepared(X_test), Y_test
)
plt.show()

# %%
# Saved and loaded
# ----------------
# joblib stores the whole pipeline. Loading such a file runs code, so load only your own files.
# :doc:`/saving` has formats that run no code.

joblib.dump(by_hand, folder / "tickets.joblib")
served = joblib.load(folder / "tickets.joblib")


def reasons(tickets: list[dict]) -> list[list[str]]:
    """Return the labels of each ticket."""
    decided = served.predict(prepared(pd.DataFrame(tickets)))
    return [
        [label for label, yes in zip(LABELS, row, strict=True) if yes]
        for row in decided
    ]


new = json.loads(X_test.head(2).to_json(orient="records"))
new[0] |= {
    "seats": None,
    "message": "Error 503 on every page. Close our account",
}
new[1] |= {"plan": None, "message": "My calendar is not in sync since today"}
print(reasons(new))

# %%
# A server
# --------
# The function is a route of FastAPI. ``uvicorn`` would serve it; here FastAPI's test client calls it.

app = FastAPI()
app.post("/reasons")(reasons)
print(TestClient(app).post("/reasons", json=new).json())

# %%
# One ONNX graph
# --------------
# ``to_onnx`` writes the net, and skl2onnx the ``ColumnTransformer``. Joined, they map the columns
# to probabilities without Python. Each column is an input of its own. skl2onnx cannot convert
# functions and skrub's encoders, so the function ``prepared`` is not part of the graph.

by_hand[-1].to_onnx(folder / "net.onnx")
net = onnx.load(folder / "net.onnx")
samples = prepared(X_test)
kinds = {True: FloatTensorType([None, 1]), False: StringTensorType([None, 1])}
encoder = to_onnx(
    by_hand[0],
    initial_types=[(name, kinds[name in NUMBERS]) for name in samples],
    target_opset=net.opset_import[0].version,
)
encoder.ir_version = net.ir_version
whole = onnx.compose.merge_models(
    encoder, net, io_map=[(encoder.graph.output[0].name, "X")]
)

session = onnxruntime.InferenceSession(whole.SerializeToString())
inputs = {name: samples[[name]].to_numpy() for name in samples}
(probabilities,) = session.run(None, inputs)
largest = np.abs(probabilities - by_hand.predict_proba(samples)).max()
print(f"largest difference from predict_proba: {largest:.0e}")
