"""What makes a fit the one it is: class, parameters, data, and where it starts."""

from __future__ import annotations

import inspect
from numbers import Integral
from typing import Any

import joblib
import numpy as np
from torch import Tensor, nn

from sklearn_mlcl.persistence._checkpoint import Trait
from sklearn_mlcl.utils.fit_data import FitData
from sklearn_mlcl.utils.parameters import DeclaredParameters, dict_parameters, options_of
from sklearn_mlcl.utils.samples import MemmapView

#: Parameters that change nothing of what is fitted.
_IRRELEVANT = {"checkpoint", "verbose"}
#: Parameters that may be others in each of the processes that share a fit.
_OF_PROCESS = {*_IRRELEVANT, "callbacks", "device"}
#: Parameters, and keys of ``net_params``, that a net is built with, beside all of ``loss_params``:
#: training on does not read them.
_BUILT_IN = (
    "activation", "classifier", "dropout", "feature_noise", "hidden_layer_sizes", "lambda_reg",
    "loss", "n_estimators", "scale_input", "temperature", "weight_decay",
)  # fmt: skip
_BUILT_IN_KEYS = (
    "concat_input", "decoder_hidden", "embedding_dim", "feature_dim", "label_bias",
    "label_hidden_layer_sizes", "latent_dim", "layer_norm", "mixup", "n_bins", "optimizer",
    "optimizer_params", "projection_dim",
)  # fmt: skip
LONGEST_TEXT = 60
#: Samples that are compared between processes.
COMPARED_SAMPLES = 1_000


def traits_of_fit(
    estimator: DeclaredParameters, data: FitData, valid: FitData | None, start: Any
) -> dict[str, Trait]:
    """Return what tells a fit from others.

    Parameters
    ----------
    estimator : estimator
        Its class and parameters count. Of callbacks the classes do, of functions and classes the
        names.
    data, valid : FitData
        The samples to learn from, and those that were given to choose on.
    start : object
        What a warm start goes on from; None at the first.

    Raises
    ------
    ValueError
        If a parameter cannot be told from others.
    """
    name = type(estimator).__name__
    traits = {"class": Trait(f"{type(estimator).__module__}.{name}", name)}
    for name, value in estimator.get_params(deep=False).items():
        if name not in _IRRELEVANT:
            known = _of_parameter(name, _with_defaults(estimator, name, value))
            traits[name] = _trait(name, known, known if name == "callbacks" else value)
    for kind, samples in {"": data, "_val": valid}.items():
        if samples is not None:
            traits |= {f"{part}{kind}": t for part, t in _traits_of_data(samples).items()}
    return traits | {"the start": _trait("warm_start", _comparable(start), "the fit before")}


def traits_of_call(
    estimator: DeclaredParameters, data: FitData, valid: FitData | None, n_iter: int
) -> dict[str, Trait]:
    """Return what must be the same in all processes that share a fit.

    Of the samples, shapes and dtypes are compared, and the values of at most COMPARED_SAMPLES.

    Parameters
    ----------
    estimator : estimator
        Its class and parameters count. The draws of process 0 count for all.
    data, valid : FitData
        The samples to learn from, and those that were given to choose on.
    n_iter : int
        Epochs of the training that this call goes on from.
    """
    name = type(estimator).__name__
    traits = {"the class": _trait("class", name, name), "n_iter_": _trait("", n_iter, n_iter)}
    for name, value in estimator.get_params(deep=False).items():
        drawn = name == "random_state" and not isinstance(value, Integral)
        if name not in _OF_PROCESS and not drawn:
            known = _known_by_name(name, _with_defaults(estimator, name, value))
            traits[name] = Trait(known.digest, _text(value))
    for kind, samples in {"": data, "_val": valid}.items():
        if samples is not None:
            n = samples.n_samples
            some = samples.take(np.unique(np.linspace(0, n - 1, COMPARED_SAMPLES).astype(int)))
            X = some.X[:] if isinstance(some.X, MemmapView) else some.X
            for part, values in {"X": X, "y": some.Y, "sample_weight": some.sample_weight}.items():
                shape = (n, *getattr(values, "shape", (n,))[1:])
                checksum = "" if values is None else joblib.hash(values)
                kept = "None" if values is None else f"shape {shape}, {values.dtype}, {checksum}"
                traits[f"{part}{kind}"] = Trait(kept, kept)
            traits[f"groups{kind}"] = _trait("groups", some.groups, "other groups")
    return traits


def digests_of_net(estimator: DeclaredParameters) -> dict[str, str]:
    """Return what tells the parameters that a net is built with from others, by name.

    Keys that are left out have no digest: another version may have another default.
    """
    _, given = _built_in(estimator)
    return {name: _known_by_name(name, value).digest for name, value in given.items()}


def check_net(estimator: DeclaredParameters, built_with: dict[str, str]) -> None:
    """Raise if a parameter that the net of an estimator was built with is another now."""
    usual, given = _built_in(estimator)
    for name, default in usual.items():
        value = given.get(name, default)
        before = built_with.get(name) or _known_by_name(name, default).digest
        if _known_by_name(name, value).digest != before:
            raise ValueError(
                f"{name}={repr(value)[:LONGEST_TEXT]} is not what the net was built with, and a "
                "fit that continues cannot change it. Set it back, or set warm_start=False, or fit "
                "a clone."
            )


def _built_in(estimator: DeclaredParameters) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the defaults of all that a net is built with, and what the user gave of it."""
    declared = estimator._declared
    usual = {name: declared[name].default for name in _BUILT_IN if name in declared}
    given = {name: getattr(estimator, name) for name in usual}
    for parent, parameter in dict_parameters(estimator).items():
        own = getattr(estimator, parent) or {}
        for key, known in parameter.keys.items():
            if parent == "loss_params" or key in _BUILT_IN_KEYS:
                usual[f"{parent}__{key}"] = known.default
                if key in own:
                    given[f"{parent}__{key}"] = own[key]
    return usual, given


def _with_defaults(estimator: DeclaredParameters, name: str, value: Any) -> Any:
    """Return a parameter; a dict of keys with the defaults of those that it leaves out."""
    return options_of(estimator, name) if name in dict_parameters(estimator) else value


def _known_by_name(name: str, value: Any) -> Trait:
    """Return a parameter to compare; of one that cannot be pickled the class."""
    try:
        return _trait(name, _comparable(value), value)
    except ValueError:
        return _trait(name, type(value).__qualname__, value)


def _of_parameter(name: str, value: Any) -> Any:
    if name == "callbacks":
        return [type(callback).__qualname__ for callback in value or ()]
    if name == "random_state" and (value is None or value is np.random):
        return None  # the seed that is drawn is in the file
    return _comparable(value)


def _traits_of_data(data: FitData) -> dict[str, Trait]:
    X = (data.X.array, data.X.index) if isinstance(data.X, MemmapView) else data.X
    weight = (data.sample_weight, data.weight_unit)
    return {
        "X": _trait("X", X, f"of shape {data.X.shape}"),
        "y": _trait("y", data.Y, f"of shape {data.Y.shape}"),
        "sample_weight": _trait("sample_weight", weight, "other weights"),
        "groups": _trait("groups", data.groups, "other groups"),
    }


def _trait(name: str, value: Any, shown: Any) -> Trait:
    text = _text(shown)
    try:
        return Trait(joblib.hash(value), text)
    # Whatever a class of the user's raises where it cannot be pickled.
    except Exception as error:
        raise ValueError(
            f"checkpoint needs parameters that can be pickled: {name}={text} cannot be pickled "
            f"({error})."
        ) from error


def _text(shown: Any) -> str:
    return (shown if isinstance(shown, str) else repr(shown))[:LONGEST_TEXT]


def _comparable(value: Any) -> Any:
    """Return a value so that those that ask for the same are equal.

    Tensors are arrays, functions and classes names. Numbers and sequences of any kind are those of
    Python, and an empty dict is None.
    """
    if isinstance(value, Tensor):
        return value.detach().cpu().float().numpy()
    if isinstance(value, nn.Module):
        return type(value).__qualname__, repr(value), _comparable(value.state_dict())
    if isinstance(value, dict):
        return {key: _comparable(item) for key, item in value.items()} or None
    if isinstance(value, list | tuple | np.ndarray):
        return list(map(_comparable, value))
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if inspect.isroutine(value) or inspect.isclass(value):
        return f"{value.__module__}.{value.__qualname__}"
    return value
