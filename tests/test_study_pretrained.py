"""The study of pretrained encoders in small: texts, cells of both modes, killed runs, tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch

from benchmarks import _pretrained_fit, study_pretrained
from benchmarks._pretrained_data import read_titles
from benchmarks._pretrained_fit import DEFAULT, METHODS, NO_NET, RECIPE, neighbours_map, run_cell
from benchmarks._resumable import RowFile
from sklearn_mlcl import MultiLabelLogisticRegression, recipes
from sklearn_mlcl.metrics import average_precision
from sklearn_mlcl.modules import pack_inputs

N_LABELS = 3


class Words(torch.nn.Module):
    """Stands for the sentence encoder: the mean of a vector a token."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.EmbeddingBag(12, 6)

    def forward(self, texts: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.words(texts["ids"])


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Bunch:
    monkeypatch.setattr(_pretrained_fit, "MiniLM", Words)
    for recipe in (recipes.PLAIN, recipes.FINETUNE):
        monkeypatch.setitem(recipe, "max_epochs", 1)
    monkeypatch.setattr(_pretrained_fit, "N_NEW_LABELS", 2)
    monkeypatch.setattr(_pretrained_fit, "NEW_SHARE", 0.5)
    rng = np.random.default_rng(0)
    parts = {}
    for name, n in (("", 60), ("_test", 40)):
        ids = rng.integers(0, 12, (n, 4))
        parts[f"X{name}"] = pack_inputs(ids=ids, mask=np.ones_like(ids))
        counts = (ids[:, :, None] == np.arange(12)).sum(axis=1)
        parts[f"E{name}"] = counts.astype(np.float32)
        parts[f"Y{name}"] = (counts[:, :5] > 0).astype(np.int64)
    return Bunch(**parts)


def cell(mode: str, method: str, **changes: Any) -> dict[str, Any]:
    task = {"n_labels": N_LABELS, "n_rows": 60, "lost": False, "seed": 0} | changes
    return {"mode": mode, "method": method, **task}


@pytest.mark.parametrize(
    ("mode", "method"),
    [*(("fine-tuned", m) for m in METHODS), ("frozen", "BCE"), ("frozen", "L_REG")],
)
def test_every_loss_has_the_same_heads_beside_its_own(mode: str, method: str, data: Bunch) -> None:
    row = run_cell(data, cell(mode, method, lost=method == "MSC"))
    assert json.loads(json.dumps(row)) == row
    assert ("own" in row) == (method not in ("L_REG", "MSC"))
    assert row["n_learnt"] == (60 if mode == "frozen" else 51)
    scores = [row["neighbours"], row["new_labels"], *row["refitted"].values()]
    assert all(0 <= score <= 1 for score in scores)


def test_references_on_frozen_embeddings(data: Bunch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pretrained_fit, "CS", (0.1,))
    row = run_cell(data, cell("frozen", NO_NET))
    scaler = StandardScaler().fit(data.E.astype(float))
    heads = MultiLabelLogisticRegression(C=0.1).fit(scaler.transform(data.E), data.Y[:, :N_LABELS])
    proba = heads.predict_proba(scaler.transform(data.E_test))
    assert_allclose(row["refitted"]["map"], average_precision(data.Y_test[:, :N_LABELS], proba))
    few = run_cell(data, cell("frozen", NO_NET, n_rows=30))
    assert few["n_learnt"] == 30
    for mode, method in (("frozen", DEFAULT), ("fine-tuned", RECIPE)):
        whole = run_cell(data, cell(mode, method))
        assert {"own", "n_learnt", "seconds"} == whole.keys() - cell(mode, method).keys()


def test_votes_of_neighbours_are_their_weighted_labels() -> None:
    rng = np.random.default_rng(0)
    E, E_test, Y = rng.normal(size=(30, 4)), rng.normal(size=(9, 4)), rng.random((39, 2)) < 0.4
    votes = np.zeros((9, 2))
    for i, x in enumerate(E_test):
        cosine = E @ x / np.linalg.norm(E, axis=1) / np.linalg.norm(x)
        for j in np.argsort(-cosine)[:20]:
            votes[i] += np.exp(cosine[j] / 0.1) * Y[j]
        votes[i] /= np.exp(np.sort(cosine)[-20:] / 0.1).sum()
    found = neighbours_map(E, Y[:30], E_test, Y[30:])
    assert_allclose(found, average_precision(Y[30:].astype(int), votes))


def test_a_run_goes_on_where_it_stopped_and_ends_in_time(
    data: Bunch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_pretrained, "HOME", (3, 60))
    tasks = [cell("frozen", NO_NET, seed=seed) for seed in range(2)]
    tasks.append(cell("fine-tuned", "BCE"))
    done = RowFile(tmp_path / "rows.jsonl", study_pretrained.KEY)
    assert study_pretrained.run(iter(tasks[:1]), done, data, 60.0) == 1
    assert study_pretrained.run(iter(tasks), done, data, 0.05) == 1  # one, of unknown length
    done = RowFile(done.path, study_pretrained.KEY)
    assert study_pretrained.run(iter(tasks), done, data, 60.0) == 1
    study_pretrained.main(["--report-only", "--out", str(done.path), "--tables", str(tmp_path)])
    maps = [done.rows[done.key_of(task)]["refitted"]["map"] for task in tasks[:2]]
    table = pd.read_csv(tmp_path / "study_pretrained_frozen_means.csv")
    expected = [[np.mean(maps), np.std(maps, ddof=1), 2]]
    assert_allclose(table[["mAP", "spread", "seeds"]], expected, atol=5e-4)
    table = pd.read_csv(tmp_path / "study_pretrained_frozen_sizes.csv")
    assert_allclose(
        table[["labels", "rows", NO_NET, "seeds"]], [[3, 60, np.mean(maps), 2]], atol=5e-4
    )
    table = pd.read_csv(tmp_path / "study_pretrained_fine_tuned_means.csv")
    own = done.rows[done.key_of(tasks[2])]["own"]["map"]
    assert_allclose(table[["mAP, own", "seeds"]], [[own, 1]], atol=5e-4)


def test_sizes_that_some_loss_lacks_are_left_out_and_lost_positives_compared() -> None:
    rows = []
    found = [("BCE", 0, 0, 0.5), ("ASL", 0, 0, 0.7), ("BCE", 0, 1, 0.9), ("BCE", 1, 0, 0.4)]
    for method, lost, seed, score in found:
        task = cell("fine-tuned", method, lost=bool(lost), seed=seed)
        rows.append({**task, "refitted": {"map": score}, "neighbours": 0.1})
    frame = study_pretrained.frame_of(rows)
    means = study_pretrained.by_method(study_pretrained.compared(frame, "fine-tuned", lost=False))
    assert means["mAP"].to_dict() == {"BCE": 0.5, "ASL": 0.7}
    frozen = pd.DataFrame({"default": [0.8, 0.9], "seeds": 1}, index=[(3, 60), (3, 90)])
    sizes = study_pretrained.by_size(study_pretrained.compared(frame, "fine-tuned", lost=False))
    study_pretrained.add_default(sizes, frozen)
    assert [*sizes.columns] == ["BCE", "ASL", "default, frozen", "seeds"]
    assert sizes.loc[(3, 60), "default, frozen"] == 0.8
    lost = study_pretrained.after_loss(frame)
    assert lost.loc[("fine-tuned", "BCE")].to_list() == [0.5, 0.4, 1]
    assert len(lost) == 1


def test_plans_name_each_cell_once() -> None:
    for name in ("home", "gpu"):
        keys = [
            tuple(task.values()) for task in study_pretrained.plan(name, study_pretrained.MODES)
        ]
        assert len(keys) == len(set(keys))


def test_titles_are_read_alike_from_both_forms(tmp_path: Path) -> None:
    papers = [
        {"title": f"paper {i:02}", "keywords": f"Odd: {i % 2}; EVEN; rare {i}"} for i in range(30)
    ]
    (tmp_path / "a.json").write_text(json.dumps(papers[:20]))
    (tmp_path / "b.json").write_text(
        json.dumps([*papers[20:], {"title": "none", "keywords": None}])
    )
    found = read_titles(tmp_path)
    assert sorted(found.texts + found.texts_test) == [f"paper {i:02}" for i in range(30)]
    assert found.Y.shape == (21, 3) and len(found.Y_test) == 9
    assert_array_equal(found.Y[:, 0], 1)  # the most frequent label comes first
    texts = found.texts + found.texts_test
    raw = [text.encode() for text in texts]
    Y = np.vstack([found.Y, found.Y_test])
    np.savez(
        tmp_path / "titles.npz",
        text_utf8=np.frombuffer(b"".join(raw), dtype=np.uint8),
        text_offsets=np.cumsum([0, *map(len, raw)]),
        Y_data=np.ones(Y.sum()),
        Y_indices=np.nonzero(Y)[1],
        Y_indptr=np.cumsum([0, *Y.sum(axis=1)]),
        Y_shape=Y.shape,
        train_idx=np.arange(21),
        test_idx=np.arange(21, 30),
    )
    same = read_titles(tmp_path / "titles.npz")
    assert same.texts == found.texts
    assert_array_equal(same.Y_test, found.Y_test)
