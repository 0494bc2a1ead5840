"""Errors about arguments of public methods name a public class, of estimators that of the user."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metaestimators import available_if

from sklearn_mlcl import ContrastiveMultiLabelClassifier, MultiLabelLogisticRegression
from sklearn_mlcl.losses import BinaryCrossEntropyLoss
from sklearn_mlcl.metrics import f1_macro
from sklearn_mlcl.utils.parameters import PACKAGES, named_in_errors
from tests.small import small
from tests.test_docstrings import OBJECTS

CLASSES = {cls.__name__: cls for cls in OBJECTS.values() if inspect.isclass(cls)}
LOGISTIC = MultiLabelLogisticRegression()
#: What constructors ask for.
GIVEN: dict[str, tuple[Any, ...]] = {
    "MultiLabelThresholdClassifierCV": (LOGISTIC,),
    "MultiLabelCalibratedClassifierCV": (LOGISTIC,),
    "MultiLabelScorer": (f1_macro,),
    "ExtendedClassifier": (LOGISTIC,),
    "PosthocSearchCV": (LOGISTIC, {}),
    "MultiLabelVotingClassifierCV": ([("logistic", LOGISTIC)],),
}


def methods(cls: type) -> Iterator[tuple[str, inspect.Signature]]:
    """Public methods of a class that this package or scikit-learn wrote."""
    for name in dir(cls):
        member = inspect.getattr_static(cls, name)
        method = inspect.unwrap(getattr(member, "__func__", getattr(member, "fn", member)))
        if name.startswith("_") or not isinstance(method, FunctionType):
            continue
        if method.__module__.split(".")[0] in PACKAGES:
            yield name, inspect.signature(method)


def an_object(cls: Any, base: type) -> Any:
    """An estimator; of other classes an object that is not set up, as no call gets that far."""
    if not issubclass(cls, BaseEstimator):
        return cls.__new__(cls)
    return cls(*GIVEN[base.__name__]) if base.__name__ in GIVEN else small(cls)


@pytest.mark.parametrize("base", CLASSES.values(), ids=CLASSES)
def test_a_public_class_is_named(base: Any) -> None:
    cls = type("Mine", (base,), {})
    public = [] if issubclass(cls, BaseEstimator) else [c.__name__ for c in base.__mro__]
    known = "|".join(["Mine", *(name for name in public if name in CLASSES)])
    subject = an_object(cls, base)
    for name, signature in methods(cls):
        if not hasattr(subject, name):  # of a search, what its estimator lacks
            continue
        kinds = {parameter.kind for parameter in signature.parameters.values()}
        start = rf"^({known})\.{name}\(\) "
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            with pytest.raises(TypeError, match=start):
                getattr(subject, name)(no_argument=0)
        if inspect.Parameter.VAR_POSITIONAL not in kinds:
            with pytest.raises(TypeError, match=start):
                getattr(subject, name)(*range(20))


class Shouting(ClassifierMixin):
    """A mixin of the user's, with a method that calls the next one."""

    def predict(self, X: Any, loud: bool = True) -> Any:
        return super().predict(X)  # type: ignore[misc]


class Mine(Shouting, MultiLabelLogisticRegression):
    """A subclass of the user's."""


def test_other_errors_pass_and_methods_of_users_stay() -> None:
    X = np.eye(4)
    Y = X[:, :2].astype(int)
    clf = Mine().fit(X, Y)
    assert clf.predict(X, loud=False).shape == (4, 2)
    with pytest.raises(TypeError, match=r"^Shouting.predict\(\) got an unexpected"):
        clf.predict(X, quiet=True)
    with pytest.raises(TypeError, match=r"^ContrastiveMultiLabelClassifier.fit\(\) was called on"):
        ContrastiveMultiLabelClassifier.fit(X, Y)
    inside = TypeError("inside")

    class Broken:
        def __array__(self, *args: Any, **kwargs: Any) -> Any:
            raise inside

    with pytest.raises(TypeError) as caught:
        clf.predict_topk(Broken(), 1)
    assert caught.value is inside
    assert str(inspect.signature(clf.predict_topk)) == "(X: 'Any', k: 'int') -> 'sp.csr_matrix'"
    for method in (Mine.fit, Mine.score, ContrastiveMultiLabelClassifier.fit, clf.set_output):
        again = pickle.loads(pickle.dumps(method))
        assert getattr(again, "__func__", again) is getattr(method, "__func__", method)


def test_losses_compile_in_one_piece() -> None:
    logits, labels = torch.randn(8, 3), torch.ones(8, 3)
    compiled = torch.compile(BinaryCrossEntropyLoss(), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(logits, labels), BinaryCrossEntropyLoss()(logits, labels))


def test_a_class_beside_it_keeps_its_own_methods() -> None:
    class Base:
        @available_if(lambda self: True)
        def predict(self) -> str:
            return type(self).__name__

    inspect.getattr_static(Base, "predict").fn.__module__ = "sklearn_mlcl.somewhere"
    one, two = (named_in_errors(type(name, (Base,), {})) for name in ("One", "Two"))
    assert [cls().predict() for cls in (one, two, Base)] == ["One", "Two", "Base"]
    with pytest.raises(TypeError, match=r"^One\.predict\(\) got an unexpected"):
        one().predict(no_argument=0)
