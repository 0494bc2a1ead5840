"""How much the net, the neighbours and the linear part count, chosen on held-out samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from sklearn_mlcl.utils.probabilities import logit, sigmoid

#: Weights that are tried.
NEIGHBOR_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 0.9)
LINEAR_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
#: Share of the held-out log loss that other weights must gain over the default ones, and its
#: standard errors that the gain must exceed.
MARGIN, STANDARD_ERRORS = 0.025, 2.0
#: Scale and shift stay near 1 and 0 as if so much information said so: few samples move them
#: little.
PRIOR_INFORMATION = 10.0
#: Entries that the weights are chosen on at most, and those that the scale is fitted on.
BLEND_ENTRIES, SCALE_ENTRIES = 2**17, 2**22
#: What averaging members does to scale and shift; see :func:`for_ensemble`.
NOISE_EXPONENT, SHIFT_KEPT = 1.4, 0.5
#: Steps and tolerance of Newton's method, and bounds of the scale.
N_STEPS, STEP_TOL = 30, 1e-7
SCALES = (0.2, 5.0)


@dataclass(frozen=True)
class Blend:
    """Weights of the parts of a prediction; see :class:`~sklearn_mlcl.heads.predictor.Predictor`.

    Attributes
    ----------
    neighbor_weight, linear_weight : float
        Shares of the neighbours and of the linear part, in [0, 1].
    scale, shift : float
        The blended log-odds are multiplied by ``scale``, then ``shift`` is added.
    """

    neighbor_weight: float
    linear_weight: float
    scale: float = 1.0
    shift: float = 0.0


class HeldOutParts(NamedTuple):
    """What each part says of samples that it never saw.

    Attributes
    ----------
    head : ndarray of shape (n, L)
        Log-odds of the head.
    neighbors : ndarray of shape (n, L) or None
        Probabilities of the neighbours.
    linear : ndarray of shape (n, L) or None
        Log-odds of the linear part.
    """

    head: np.ndarray
    neighbors: np.ndarray | None = None
    linear: np.ndarray | None = None

    def take(self, samples: Any) -> HeldOutParts:
        """Return some samples."""
        neighbors, linear = (None if part is None else part[samples] for part in self[1:])
        return HeldOutParts(self.head[samples], neighbors, linear)

    def with_neighbors(self, weight: float) -> np.ndarray:
        """Return the log-odds of head and neighbours, which have a share of the probability."""
        if self.neighbors is None or weight == 0:
            return self.head
        p = sigmoid(self.head)
        return logit(p + weight * (self.neighbors - p))

    def blended(self, blend: Blend) -> np.ndarray:
        """Return the log-odds of the blend, scaled and shifted."""
        w = blend.linear_weight
        x = self.with_neighbors(blend.neighbor_weight)
        if self.linear is not None and w > 0:
            x = x + w * (self.linear - x)
        return blend.scale * x + blend.shift


class Judgement(NamedTuple):
    """Labels and weights of held-out samples: 0 where an entry is not judged."""

    Y: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, Y: np.ndarray, sample_weight: np.ndarray | None, judged: np.ndarray) -> Judgement:
        """Leave out missing entries, and the labels that are not ``judged``, of shape (L,)."""
        known = ~np.isnan(Y) & judged
        weight = np.ones(len(Y)) if sample_weight is None else sample_weight
        weight = np.where(known, weight[:, None] if weight.ndim == 1 else weight, 0.0)
        return cls(np.nan_to_num(Y.astype(np.float64)), weight)

    def take(self, samples: Any) -> Judgement:
        """Return some samples."""
        return Judgement(self.Y[samples], self.weight[samples])

    @property
    def informs(self) -> bool:
        """Whether there are positives and negatives to judge by."""
        return bool((self.weight * self.Y).any() and (self.weight * (1 - self.Y)).any())

    def losses(self, log_odds: np.ndarray) -> np.ndarray:
        """Return the weighted log loss (n,) of each sample; they sum to the mean of an entry."""
        losses = np.logaddexp(0, log_odds) - self.Y * log_odds
        return (self.weight * losses).sum(axis=1) / self.weight.sum()

    def log_loss(self, log_odds: np.ndarray) -> float:
        """Return the weighted mean log loss of an entry."""
        return float(self.losses(log_odds).sum())

    def scaled(self, log_odds: np.ndarray) -> tuple[float, float, float]:
        r"""Return scale a and shift b of the smallest log loss of :math:`a s + b`, and that loss.

        .. math:: \min_{a, b} \; \frac{1}{N} \sum \ell(a s + b, y)
            + \frac{10}{2 N} \big((a - 1)^2 + b^2\big)

        over N entries. Newton's method on a convex function of two numbers; the scale stays in
        ``SCALES``.
        """
        s, weight = log_odds.astype(np.float64), self.weight / self.weight.sum()
        prior = PRIOR_INFORMATION * np.square(weight).sum()
        a, b = 1.0, 0.0
        for _ in range(N_STEPS):
            p = sigmoid(a * s + b)
            residual, curvature = weight * (p - self.Y), weight * p * (1 - p)
            gradient = np.array([(residual * s).sum(), residual.sum()]) + prior * np.array(
                [a - 1, b]
            )
            cross = (curvature * s).sum()
            hessian = np.array([[(curvature * s * s).sum(), cross], [cross, curvature.sum()]])
            hessian += prior * np.eye(2)
            if (a == SCALES[0] and gradient[0] > 0) or (a == SCALES[1] and gradient[0] < 0):
                # The scale stays at its bound, the shift goes on.
                step = np.array([0.0, gradient[1] / hessian[1, 1]])
            else:
                step = np.linalg.solve(hessian, gradient)
            step = np.clip(step, -1, 1)
            a, b = float(np.clip(a - step[0], *SCALES)), float(b - step[1])
            if np.abs(step).max() < STEP_TOL:
                break
        return a, b, self.log_loss(a * s + b)

    def scaled_losses(self, log_odds: np.ndarray) -> np.ndarray:
        """Return the log loss (n,) of each sample at the best scale and shift."""
        scale, shift, _ = self.scaled(log_odds)
        return self.losses(scale * log_odds + shift)


def choose_blend(
    parts: HeldOutParts,
    judgement: Judgement,
    default: Blend,
    neighbor_weight: float | None,
    linear_weight: float | None,
    seed: int,
) -> Blend:
    """Choose weights, scale and shift by the held-out log loss.

    Parameters
    ----------
    parts : HeldOutParts
        What the parts say of the held-out samples.
    judgement : Judgement
        Their labels.
    default : Blend
        The weights that stay unless others gain ``MARGIN`` of its log loss, and more than two
        standard errors of the gain.
    neighbor_weight, linear_weight : float or None
        Weights that are fixed; None chooses.
    seed : int
        Draws the samples where there are more than are needed.
    """
    if not judgement.informs:
        return default
    few = _subsample(judgement, BLEND_ENTRIES, seed)
    some, of_some = parts.take(few), judgement.take(few)
    if of_some.informs:
        grid = product(
            NEIGHBOR_WEIGHTS if neighbor_weight is None else (neighbor_weight,),
            LINEAR_WEIGHTS if linear_weight is None else (linear_weight,),
        )
        usable = {
            Blend(v if parts.neighbors is not None else 0.0, w if parts.linear is not None else 0.0)
            for v, w in grid
        }
        usable.add(default)
        # The grid has few shares of the neighbours, and each with many of the linear part.
        shares = {b.neighbor_weight for b in usable}
        mixed = {v: HeldOutParts(some.with_neighbors(v), linear=some.linear) for v in shares}
        losses = {b: of_some.scaled_losses(mixed[b.neighbor_weight].blended(b)) for b in usable}
        best = min(losses, key=lambda b: (losses[b].sum(), b.neighbor_weight, b.linear_weight))
        if gains_clearly(losses[default], losses[best]):
            default = best
    many = _subsample(judgement, SCALE_ENTRIES, seed)
    scale, shift, _ = judgement.take(many).scaled(parts.take(many).blended(default))
    return replace(default, scale=scale, shift=shift)


def gains_clearly(losses: np.ndarray, others: np.ndarray) -> bool:
    """Return whether other losses (n,) of the same samples are smaller by more than chance."""
    gains = losses - others
    error = gains.std() * np.sqrt(len(gains))
    return bool(gains.sum() > max(MARGIN * losses.sum(), STANDARD_ERRORS * error))


def _subsample(judgement: Judgement, n_entries: int, seed: int) -> Any:
    n, n_labels = judgement.Y.shape
    n_kept = max(1, n_entries // n_labels)
    if n <= n_kept:
        return slice(None)
    return np.sort(np.random.RandomState(seed).choice(n, n_kept, replace=False))


def for_ensemble(blend: Blend, member_log_odds: np.ndarray) -> Blend:
    r"""Return the blend of the mean of M members, from that of single ones.

    Held-out log-odds are those of single members, a prediction is their mean. The noise of a member
    averages out, and with it goes what made the member over-confident. Log-odds of variance
    :math:`v_1` in one member and :math:`v_M` in the mean take a scale that is larger by
    :math:`(v_1 / v_M)^{1.4}`, and half of the shift: measured on parts of the training samples of
    emotions, scene, yeast, sider and waterquality, where the variances alone would say 1.

    Parameters
    ----------
    blend : Blend
        The weights, scale and shift chosen on held-out samples.
    member_log_odds : ndarray of shape (M, n, L)
        Log-odds of the members for the same samples.
    """
    of_one = np.mean([member.var() for member in member_log_odds])
    of_mean = member_log_odds.mean(axis=0).var()
    # The linear part is no ensemble.
    share = 1 - blend.linear_weight
    gain = (of_one / of_mean) ** NOISE_EXPONENT if of_mean > 0 else 1.0
    scale = blend.scale * (1 + share * (float(gain) - 1))
    return replace(blend, scale=scale, shift=blend.shift * (1 - share * (1 - SHIFT_KEPT)))
