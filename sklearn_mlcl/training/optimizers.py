"""Optimizers by name, learning-rate schedules, and the running average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_mlcl.training._torch_compat import FusedAdamW

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adamw": FusedAdamW,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}
#: Options under which torch offers no fused kernel of these.
_NOT_FUSED = {"foreach", "differentiable"}
#: "one_cycle": share of the steps with a rising rate, and the first rate.
WARM_UP, FIRST_RATE = 0.3, 0.04
#: "warm_restarts": first cycle in epochs, each later one twice as long, and its lowest rate.
FIRST_CYCLE, LOWEST_RATE = 50, 0.1
#: Shape of a parameter that shows which parts of a state have the shape of their parameter.
PROBE = (3, 2)


def _falling(share: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * share))


def _constant(progress: float, epoch: int) -> float:
    return 1.0


def _cosine(progress: float, epoch: int) -> float:
    return _falling(progress)


def _one_cycle(progress: float, epoch: int) -> float:
    """Rise from FIRST_RATE to 1, then fall to 0."""
    if progress < WARM_UP:
        rising = 0.5 * (1.0 - math.cos(math.pi * progress / WARM_UP))
        return FIRST_RATE + (1.0 - FIRST_RATE) * rising
    return _falling((progress - WARM_UP) / (1.0 - WARM_UP))


def _warm_restarts(progress: float, epoch: int) -> float:
    """Fall from 1 to LOWEST_RATE, and start again after 50, 150, 350, ... epochs."""
    length = FIRST_CYCLE
    while epoch >= length:
        epoch, length = epoch - length, 2 * length
    return LOWEST_RATE + (1.0 - LOWEST_RATE) * _falling(epoch / length)


#: Name -> factor on the learning rate. Its arguments are the share of the steps done, in [0, 1),
#: and the epochs done since the weights were initialised.
SCHEDULES: dict[str, Callable[[float, int], float]] = {
    "averaged": _constant,
    "one_cycle": _one_cycle,
    "cosine": _cosine,
    "constant": _constant,
    "warm_restarts": _warm_restarts,
}
#: Those that leave the learning rate alone; "averaged" averages the weights instead.
CONSTANT = ("averaged", "constant")


def parameter_groups(
    parameters: Iterable[nn.Parameter], weight_decay: float
) -> list[dict[str, Any]]:
    """Split parameters into decayed matrices and undecayed vectors (biases, norms).

    Those that are frozen (``requires_grad=False``) are left out.
    """
    trained = [p for p in parameters if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(
    optimizer: str | Callable[..., torch.optim.Optimizer],
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    weight_decay: float,
    *,
    own_rate: Mapping[nn.Parameter, float] | None = None,
    **options: Any,
) -> torch.optim.Optimizer:
    """Return the optimizer, as one fused kernel where torch has it.

    Parameters
    ----------
    optimizer : str, type or callable
        A key of ``OPTIMIZERS``, a class of torch, or what makes one, as a partial does.
    parameters : iterable of torch.nn.Parameter
        What is trained.
    learning_rate, weight_decay : float
        As for torch's optimizers; vectors are not decayed.
    own_rate : dict of torch.nn.Parameter to float, default=None
        Learning rates other than that, by parameter.
    **options : Any
        Further arguments of the optimizer.
    """
    factory: Any = OPTIMIZERS[optimizer] if isinstance(optimizer, str) else optimizer
    name = getattr(factory, "__name__", repr(factory))
    is_known = isinstance(factory, type) and issubclass(factory, tuple(OPTIMIZERS.values()))
    if is_known and not _NOT_FUSED & options.keys():
        options = {"fused": True, **options}
    by_rate: dict[float, list[nn.Parameter]] = {}
    for p in parameters:
        by_rate.setdefault((own_rate or {}).get(p, learning_rate), []).append(p)
    groups = [
        {"lr": rate, **group}
        for rate, own in by_rate.items()
        for group in parameter_groups(own, weight_decay)
    ]
    try:
        made = factory(groups, lr=learning_rate, **options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"optimizer_params do not fit {name}: {error}.") from error
    if not isinstance(made, torch.optim.Optimizer):
        raise ValueError(
            f"optimizer must make an optimizer of torch, got {type(made).__name__} from {name}."
        )
    return made


def checked_optimizer_state(
    optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> dict[str, Any]:
    """Return a state to load; raise unless the optimizer could have it: its kernels trust it.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Freshly made.
    state : dict
        What ``state_dict`` returned, under any version of torch.

    Returns
    -------
    state : dict
        With the options that the optimizer has under this version.

    Raises
    ------
    ValueError
        If a tensor has not the shape and dtype that steps of this optimizer give it, or an option
        another type.
    """
    groups = optimizer.state_dict()["param_groups"]
    if len(groups) != len(state["param_groups"]):
        raise ValueError(f"an optimizer has {len(state['param_groups'])} groups of parameters")
    pairs = zip(state["param_groups"], groups, strict=True)
    own_groups = [_options_here(group, expected) for group, expected in pairs]
    for group, expected in zip(own_groups, groups, strict=True):
        _check_options(group, expected)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    options = [group for group in optimizer.param_groups for _ in group["params"]]
    for index, own in state["state"].items():
        if type(index) is not int or not 0 <= index < len(parameters):
            raise ValueError(f"an optimizer has a state of parameter {index!r}")
        known = _moments(optimizer, options[index])
        _check_moments(own, known, parameters[index], bool(options[index].get("fused")))
    return {**state, "param_groups": own_groups}


def _options_here(group: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """Return a group with the options of this version of torch: other versions have other ones.

    An option that only the other version has says what the class of the optimizer says here.
    """
    known = {k: v for k, v in group.items() if k in expected or type(v) in (int, float)}
    return {**expected, **known}


def _check_options(group: dict[str, Any], expected: dict[str, Any]) -> None:
    if group["params"] != expected["params"]:
        raise ValueError("an optimizer has groups of other parameters")
    for name, value in group.items():
        # Learning-rate schedulers change rates, and leave numbers of their own.
        known = expected.get(name, 0.0)
        pairs = [(value, known)]
        if type(value) is type(known) is tuple and len(value) == len(known):
            pairs = list(zip(value, known, strict=True))
        if any(a != b and not {type(a), type(b)} <= {int, float} for a, b in pairs):
            raise ValueError(f"an optimizer has the option {name}={value!r}")


def _moments(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> dict[str, Any]:
    """Return the state that a first step gives to a parameter."""
    probe = nn.Parameter(torch.zeros(PROBE, dtype=torch.float32, device="cpu"))
    probe.grad = torch.zeros_like(probe)
    twin: Any = type(optimizer)([{**group, "params": [probe]}])  # type: ignore[call-arg]
    twin.step()
    return dict(twin.state[probe])


def _check_moments(
    own: dict[str, Any], expected: dict[str, Any], parameter: Tensor, fused: bool
) -> None:
    if own.keys() != expected.keys():
        raise ValueError(f"an optimizer keeps {sorted(own)}, expected {sorted(expected)}")
    for name, value in own.items():
        known = expected[name]
        if type(value) is not type(known):
            raise ValueError(f"an optimizer keeps {name} as {type(value).__name__}")
        if not isinstance(known, Tensor):
            continue
        like = parameter if known.shape == PROBE else known
        # Counters are of the default dtype of the process, where no fused kernel reads them.
        counts = like is known and not fused and value.dtype.is_floating_point
        dtype = value.dtype if counts else like.dtype
        if (value.shape, value.dtype, value.stride()) != (like.shape, dtype, like.stride()):
            raise ValueError(
                f"an optimizer keeps {name} as {value.dtype} of shape {tuple(value.shape)} for a "
                f"parameter of shape {tuple(parameter.shape)}"
            )


# ---------------------------------------------------------------------- average of the weights

#: Epochs that the average looks back on, about.
WINDOW = 2


class WeightAverage:
    r"""Exponential average of the weights of modules over the steps of a training.

    .. math:: \bar w_t = d_t \bar w_{t-1} + (1 - d_t) w_t, \qquad
       d_t = \min\Big(1 - \frac{1}{2 n}, \frac{1 + t}{10 + t}\Big)

    with n steps an epoch: it looks back on about two epochs, on fewer at first. At a constant
    learning rate it is at every epoch what a training that ends there would give, so one training
    serves to choose the number of epochs.

    Parameters
    ----------
    modules : sequence of torch.nn.Module
        What is trained.
    steps_per_epoch : int
        The n above.
    """

    def __init__(self, modules: Sequence[nn.Module], steps_per_epoch: int) -> None:
        # A tensor that both modules have counts once.
        weights = (p for module in modules for p in module.parameters() if p.requires_grad)
        self._weights = list(dict.fromkeys(weights))
        self._averages = [p.detach().clone() for p in self._weights]
        self._longest = 1 - 1 / (WINDOW * steps_per_epoch)
        self._n_steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self._n_steps += 1
        share = 1 - min(self._longest, (1 + self._n_steps) / (10 + self._n_steps))
        for average, weight in zip(self._averages, self._weights, strict=True):
            average.lerp_(weight.detach(), share)

    def state(self) -> dict[str, Any]:
        """Return the averages, and the number of steps in them."""
        return {"averages": self._averages, "n_steps": self._n_steps}

    def put_state(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` returned."""
        for average, kept in zip(self._averages, state["averages"], strict=True):
            average.copy_(kept)
        self._n_steps = state["n_steps"]

    def put(self) -> None:
        """Make the averages the weights of the modules."""
        for weight, average in zip(self._weights, self._averages, strict=True):
            weight.data.copy_(average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the modules have the averages, within the block."""
        trained = [weight.data for weight in self._weights]
        try:
            for weight, average in zip(self._weights, self._averages, strict=True):
                weight.data = average
            yield
        finally:
            for weight, data in zip(self._weights, trained, strict=True):
                weight.data = data
