"""Rows of extreme classification: label frequencies by a power law, words that depend on labels."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfTransformer

#: Labels of one topic, which occur together and share words.
LABELS_A_TOPIC = 40
#: Words of a label's own, and of a topic.
WORDS_A_LABEL, WORDS_A_TOPIC = 12, 60
#: Where the words of a document come from: its labels, their topics, anywhere.
SHARES = (0.2, 0.25, 0.55)
#: Exponents of the frequencies of labels and of words.
LABEL_EXPONENT, WORD_EXPONENT = 0.9, 1.0


def xmc_rows(
    n: int, d: int, L: int, seed: int = 0, words: float = 50.0, labels: float = 4.0
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Return word counts (n, d), float32, and labels (n, L), uint8.

    The labels of a document are mostly of one topic. A label is drawn by its frequency, which falls
    as a power of its rank. A label's own words are drawn from the common vocabulary, so that labels
    share words.
    """
    rng = np.random.default_rng(seed)
    word_share = np.arange(1, d + 1) ** -WORD_EXPONENT
    word_share = rng.permutation(word_share / word_share.sum())
    # Signatures avoid the most frequent words: those say nothing about a label.
    rare = np.sqrt(word_share) / np.sqrt(word_share).sum()
    topic = rng.integers(-(-L // LABELS_A_TOPIC), size=L)
    of_label = rng.choice(d, size=(L, WORDS_A_LABEL), p=rare)
    of_topic = rng.choice(d, size=(topic.max() + 1, WORDS_A_TOPIC), p=rare)
    frequency = np.arange(1, L + 1) ** -LABEL_EXPONENT
    frequency /= frequency.sum()
    own = _by_topic(topic, frequency)
    n_labels = 1 + rng.poisson(labels - 1, size=n)
    first = rng.choice(L, size=n, p=frequency)
    rows, found, columns, where = [], [], [], []
    for i in range(n):
        members, share = own[topic[first[i]]]
        k = min(n_labels[i] - 1, len(members))
        near = rng.choice(members, size=k, p=share, replace=False)
        far = rng.random(k) < 0.2
        near[far] = rng.choice(L, size=far.sum(), p=frequency)
        chosen = np.unique(np.append(near, first[i]))
        found.append(chosen)
        rows.append(np.full(len(chosen), i))
        counts = rng.multinomial(rng.poisson(words) + 1, SHARES)
        of_own = of_label[
            rng.choice(chosen, size=counts[0]), rng.integers(WORDS_A_LABEL, size=counts[0])
        ]
        of_topics = of_topic[
            topic[rng.choice(chosen, size=counts[1])], rng.integers(WORDS_A_TOPIC, size=counts[1])
        ]
        columns += [of_own, of_topics, rng.choice(d, size=counts[2], p=word_share)]
        where.append(np.full(counts.sum(), i))
    ones = np.ones(sum(map(len, columns)), dtype=np.float32)
    X = sp.csr_matrix((ones, (np.concatenate(where), np.concatenate(columns))), shape=(n, d))
    ij = (np.concatenate(rows), np.concatenate(found))
    return X, sp.csr_matrix((np.ones(len(ij[0]), dtype=np.uint8), ij), shape=(n, L))


def _by_topic(topic: np.ndarray, frequency: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    members = [np.flatnonzero(topic == t) for t in range(topic.max() + 1)]
    return [(m, frequency[m] / frequency[m].sum()) for m in members]


def tfidf(train: sp.csr_matrix, test: sp.csr_matrix) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Return rows of tf-idf of length 1, float32, with frequencies of the training rows."""
    scale = TfidfTransformer(sublinear_tf=True).fit(train)
    return tuple(scale.transform(X).astype(np.float32) for X in (train, test))
