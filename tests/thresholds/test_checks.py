"""scikit-learn's estimator checks of the meta-estimators.

Of a threshold tuner scikit-learn itself expects `check_classifiers_train` to fail.
"""

from __future__ import annotations

import sklearn
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.fixes import parse_version

from sklearn_mlcl import MultiLabelThresholdClassifierCV
from sklearn_mlcl.calibration import MultiLabelCalibratedClassifierCV
from sklearn_mlcl.model_selection import MultiLabelVotingClassifierCV

INNER = (LogisticRegression(C=1), RidgeClassifier())
WEIGHT_CHECKS = [f"check_sample_weight_equivalence_on_{kind}_data" for kind in ("dense", "sparse")]


def expected_failures(estimator):
    expected = {}
    if parse_version(sklearn.__version__) < parse_version("1.7"):
        expected = dict.fromkeys(WEIGHT_CHECKS, "the check of scikit-learn 1.6 swaps the classes")
    tuned = isinstance(estimator, MultiLabelThresholdClassifierCV)
    if tuned and hasattr(estimator.estimator, "predict_proba"):
        expected["check_classifiers_train"] = "the threshold is not 0.5"
    return expected


@parametrize_with_checks(
    [
        meta(inner, cv=3)
        for meta in (MultiLabelThresholdClassifierCV, MultiLabelCalibratedClassifierCV)
        for inner in INNER
    ]
    + [
        MultiLabelVotingClassifierCV(
            [("weak", LogisticRegression(C=0.01)), ("strong", LogisticRegression())], cv=3
        )
    ],
    expected_failed_checks=expected_failures,
)
def test_estimator_checks(estimator, check):
    check(estimator)
