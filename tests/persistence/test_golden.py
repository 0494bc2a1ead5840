"""Files of released versions: read with the same answers, or refused by the name of the version."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import sklearn_mlcl
from sklearn_mlcl.persistence import ModelFileError, _format, _saving
from sklearn_mlcl.training.optimizers import checked_optimizer_state, make_optimizer
from tests.persistence.golden import ANSWERS, FOLDER, NAMES, answers

FILES = sorted(FOLDER.glob("*/*.safetensors"))


def version_of(file: Path) -> str:
    """Return the version of the package that the header of a file names."""
    start = file.read_bytes()
    (n_bytes,) = struct.unpack("<Q", start[:8])
    return json.loads(start[8 : 8 + n_bytes])["__metadata__"]["package_version"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}, {file.stem}")
def test_a_file_of_a_released_version(file: Path) -> None:
    version = file.parent.name
    assert version_of(file) == version
    try:
        estimator = sklearn_mlcl.load(file)
    except ModelFileError as error:
        assert f"sklearn_mlcl {version}" in str(error)
        return
    with np.load(file.with_name(ANSWERS)) as expected:
        assert_allclose(answers(estimator, expected["rows"]), expected[file.stem], atol=1e-5)


def test_every_release_has_its_files() -> None:
    version = sklearn_mlcl.__version__
    assert ".dev" in version or {f.stem for f in FILES if f.parent.name == version} == {*NAMES}


def test_a_refusal_names_the_version_that_wrote_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_format, "__version__", "0.0.7")
    content = _format.Content("NoSuchEstimator", {}, {})
    _format.write_file(tmp_path / "old", content)
    with pytest.raises(ModelFileError, match=r"sklearn_mlcl 0\.0\.7 wrote it; this is "):
        _saving.load(tmp_path / "old")


def test_an_optimizer_of_another_version_of_torch() -> None:
    optimizer = make_optimizer("adamw", [torch.nn.Parameter(torch.ones(3, 2))], 0.1, 0.0)
    state = optimizer.state_dict()
    (here,) = state["param_groups"]
    there = {k: v for k, v in here.items() if k != "maximize"}
    there |= {"known to a later torch": True, "initial_lr": 0.1}
    own = checked_optimizer_state(optimizer, {**state, "param_groups": [there]})
    assert own["param_groups"] == [{**here, "initial_lr": 0.1}]
