"""What makes a fit the one it is: class, parameters, data, and where it starts."""

from __future__ import annotations

import inspect
from numbers import Integral
from typing import Any

import joblib
import numpy as np
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from sklearn_mlcl.persistence._checkpoint import Trait
from sklearn_mlcl.utils.fit_data import FitData
from sklearn_mlcl.utils.samples import MemmapView

#: Parameters that change nothing of what is fitted.
_IRRELEVANT = {"checkpoint", "verbose"}
#: Parameters that may be others in each of the processes that share a fit.
_OF_PROCESS = {*_IRRELEVANT, "callbacks", "device"}
#: Parameters, and keys of ``net_params``, that a net is built with: training on does not read them.
_BUILT_IN = (
    "activation", "classifier", "dropout", "feature_noise", "hidden_layer_sizes", "lambda_reg",
    "loss", "loss_params", "n_estimators", "scale_input", "temperature", "weight_decay",
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
    estimator: BaseEstimator, data: FitData, valid: FitData | None, start: Any
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
            known = _of_parameter(name, value)
            traits[name] = _trait(name, known, known if name == "callbacks" else value)
    for kind, samples in {"": data, "_val": valid}.items():
        if samples is not None:
            traits |= {f"{part}{kind}": t for part, t in _traits_of_data(samples).items()}
    return traits | {"the start": _trait("warm_start", _comparable(start), "the fit before")}


def traits_of_call(
    estimator: BaseEstimator, data: FitData, valid: FitData | None, n_iter: int
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
            traits[name] = _known_by_name(name, value)
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


def digests_of_net(estimator: BaseEstimator) -> dict[str, str]:
    """Return what tells the parameters that a net is built with from others, by name."""
    return {name: trait.digest for name, trait in _traits_of_net(estimator).items()}


def check_net(estimator: BaseEstimator, built_with: dict[str, str]) -> None:
    """Raise if a parameter that the net of an estimator was built with is another now."""
    for name, trait in _traits_of_net(estimator).items():
        if built_with.get(name, trait.digest) != trait.digest:
            raise ValueError(
                f"{name}={trait.text} is not what the net was built with, and training on would "
                "not read it. Set it back, or fit without warm_start, or a clone."
            )


def _traits_of_net(estimator: BaseEstimator) -> dict[str, Trait]:
    own = estimator.get_params(deep=False)
    keys = own["net_params"] or {}
    built = {name: own[name] for name in _BUILT_IN if name in own}
    built |= {f"net_params__{name}": keys.get(name, "default") for name in _BUILT_IN_KEYS}
    return {name: _known_by_name(name, _plain(value)) for name, value in built.items()}


def _plain(value: Any) -> Any:
    """Return numbers of NumPy as those of Python, and lists as tuples: they ask for the same."""
    if isinstance(value, list | tuple | np.ndarray):
        return tuple(map(_plain, value))
    return value.item() if isinstance(value, np.generic) else value


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
    text = shown if isinstance(shown, str) else repr(shown)
    try:
        return Trait(joblib.hash(value), text[:LONGEST_TEXT])
    # Whatever a class of the user's raises where it cannot be pickled.
    except Exception as error:
        raise ValueError(
            f"checkpoint needs parameters that can be compared: {name}={text[:LONGEST_TEXT]} can "
            f"not be pickled ({error})."
        ) from error


def _comparable(value: Any) -> Any:
    """Return a value with arrays for tensors, names for functions and classes."""
    if isinstance(value, Tensor):
        return value.detach().cpu().float().numpy()
    if isinstance(value, nn.Module):
        return type(value).__qualname__, repr(value), _comparable(value.state_dict())
    if isinstance(value, dict):
        return {key: _comparable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(_comparable, value)]
    if inspect.isroutine(value) or inspect.isclass(value):
        return f"{value.__module__}.{value.__qualname__}"
    return value
