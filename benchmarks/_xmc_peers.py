"""Peers of extreme classification, in a process and an environment of their own.

``python benchmarks/_xmc_peers.py PEER FOLDER`` fits on ``train_X.npz`` and ``train_Y.npz`` of the
folder. It writes there the five best labels of each row of ``test_X.npz``, and CPU seconds. It
needs NumPy, SciPy and the peer.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.sparse as sp

K = 5
THREADS = 1
Ask = Callable[[sp.csr_matrix], np.ndarray]


def pecos(X: sp.csr_matrix, Y: sp.csr_matrix) -> Ask:
    """XR-Linear as its command line trains it."""
    from pecos.xmc import Indexer, LabelEmbeddingFactory
    from pecos.xmc.xlinear.model import XLinearModel

    Y = Y.astype(np.float32)
    labels = LabelEmbeddingFactory.create(Y, X, method="pifa")
    chain = Indexer.gen(labels, indexer_type="hierarchicalkmeans", threads=THREADS)
    model = XLinearModel.train(X, Y, C=chain, threads=THREADS)
    return lambda rows: _best(model.predict(rows, only_topk=K, threads=THREADS).tocsr())


def _omikuji(X: sp.csr_matrix, Y: sp.csr_matrix, **changes: object) -> Ask:
    import omikuji

    settings = omikuji.Model.default_hyper_param()
    for name, value in changes.items():
        setattr(settings, name, value)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.txt"
        _write(path, X, Y)
        start = time.process_time()
        model = omikuji.Model.train_on_data(str(path), settings, THREADS)
        seconds = time.process_time() - start

    def ask(rows: sp.csr_matrix) -> np.ndarray:
        best = np.zeros((rows.shape[0], K), dtype=np.int64)
        for i in range(rows.shape[0]):
            part = slice(rows.indptr[i], rows.indptr[i + 1])
            pairs = list(zip(rows.indices[part].tolist(), rows.data[part].tolist(), strict=True))
            found = [label for label, _ in model.predict(pairs, top_k=K)]
            best[i, : len(found)] = found
        return best

    ask.seconds = seconds  # type: ignore[attr-defined]
    return ask


def omikuji_parabel(X: sp.csr_matrix, Y: sp.csr_matrix) -> Ask:
    """Three balanced binary trees: the defaults."""
    return _omikuji(X, Y)


def omikuji_bonsai(X: sp.csr_matrix, Y: sp.csr_matrix) -> Ask:
    """Three shallow trees of a hundred branches, as its page says for Bonsai."""
    return _omikuji(X, Y, cluster_balanced=False, cluster_k=100, min_branch_size=100, max_depth=3)


def _napkin(name: str, X: sp.csr_matrix, Y: sp.csr_matrix) -> Ask:
    from napkinxc import models

    folder = tempfile.mkdtemp()
    model = getattr(models, name)(folder, threads=THREADS)
    model.fit(X, [Y.indices[a:b].tolist() for a, b in zip(Y.indptr, Y.indptr[1:], strict=False)])

    def ask(rows: sp.csr_matrix) -> np.ndarray:
        return np.array([(found + [0] * K)[:K] for found in model.predict(rows, top_k=K)])

    return ask


def napkinxc_plt(X: sp.csr_matrix, Y: sp.csr_matrix) -> Ask:
    """A probabilistic label tree: the defaults."""
    return _napkin("PLT", X, Y)


def napkinxc_br(X: sp.csr_matrix, Y: sp.csr_matrix) -> Ask:
    """One classifier for each label: the defaults."""
    return _napkin("BR", X, Y)


PEERS = {f.__name__: f for f in (pecos, omikuji_parabel, omikuji_bonsai, napkinxc_plt, napkinxc_br)}


def _best(scores: sp.csr_matrix) -> np.ndarray:
    best = np.zeros((scores.shape[0], K), dtype=np.int64)
    for i in range(scores.shape[0]):
        part = slice(scores.indptr[i], scores.indptr[i + 1])
        order = np.argsort(-scores.data[part], kind="stable")[:K]
        best[i, : len(order)] = scores.indices[part][order]
    return best


def _write(path: Path, X: sp.csr_matrix, Y: sp.csr_matrix) -> None:
    """Write rows in the text format of the extreme classification repository."""
    with path.open("w") as file:
        file.write(f"{X.shape[0]} {X.shape[1]} {Y.shape[1]}\n")
        for i in range(X.shape[0]):
            x, y = slice(X.indptr[i], X.indptr[i + 1]), slice(Y.indptr[i], Y.indptr[i + 1])
            pairs = zip(X.indices[x].tolist(), X.data[x].tolist(), strict=True)
            labels = ",".join(map(str, Y.indices[y].tolist()))
            file.write(f"{labels} {' '.join(f'{j}:{v:.7g}' for j, v in pairs)}\n")


def main(peer: str, folder: Path) -> None:
    """Fit one peer and write what it says."""
    X, Y, rows = (sp.load_npz(folder / f"{n}.npz") for n in ("train_X", "train_Y", "test_X"))
    start = time.process_time()
    ask = PEERS[peer](X, Y)
    seconds = getattr(ask, "seconds", time.process_time() - start)
    start = time.process_time()
    best = ask(rows)
    asked = time.process_time() - start
    np.save(folder / f"{peer}.npy", best)
    (folder / f"{peer}.json").write_text(json.dumps({"fit": seconds, "predict": asked}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
