"""skops: a round trip with the types that the package names, and no others."""

from __future__ import annotations

import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_mlcl import MultiLabelThresholdClassifierCV, skops_trusted_types
from tests.persistence._cases import X, Y, fitted
from tests.persistence.test_files import with_module
from tests.persistence.test_save_load import assert_same_answers

sio = pytest.importorskip("skops.io")
CASES = [
    "contrastive", "a loss of ours", "stopped early", "frames", "calibrated", "optimizer", "CSR",
    "missing labels", "names", "classes in words", "three classes", "tuned",
    "fixed frame", "nearest label set", "pick all labels", "C-GMVAE, draws", "logistic",
    "nearest prototype, CSR", "thresholds by cross-validation",
]  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_round_trip(name: str) -> None:
    estimator = fitted(name)
    content = sio.dumps(estimator)
    assert set(sio.get_untrusted_types(data=content)) <= set(skops_trusted_types())
    assert_same_answers(estimator, sio.loads(content, trusted=skops_trusted_types()))


def test_a_pipeline() -> None:
    pipeline = make_pipeline(StandardScaler(), clone(fitted("contrastive"))).fit(X, Y)
    loaded = sio.loads(sio.dumps(pipeline), trusted=skops_trusted_types())
    assert_array_equal(loaded.predict_proba(X), pipeline.predict_proba(X))


def test_an_estimator_of_others_inside() -> None:
    base = OneVsRestClassifier(LogisticRegression())
    tuned = MultiLabelThresholdClassifierCV(base, cv=2).fit(X, Y)
    loaded = sio.loads(sio.dumps(tuned), trusted=skops_trusted_types())
    assert_array_equal(loaded.predict_proba(X), tuned.predict_proba(X))


def test_training_goes_on() -> None:
    one = sio.loads(sio.dumps(fitted("MLP")), trusted=skops_trusted_types())
    other = sio.loads(sio.dumps(fitted("MLP")), trusted=skops_trusted_types())
    for estimator in (one, other):
        estimator.partial_fit(X, Y)
        assert estimator.n_iter_ == 3
    assert_array_equal(one.predict_proba(X), other.predict_proba(X))


def test_a_module_of_the_user_is_refused() -> None:
    with pytest.raises(TypeError, match=r"cannot be saved"):
        sio.dumps(with_module())
