"""What held-out samples choose: weights of the parts, scale and shift, threshold, decision rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from sklearn_mlcl.collapse._decoder import ONNDecoder
from sklearn_mlcl.metrics import multilabel_log_loss
from sklearn_mlcl.metrics._probabilities import held_out_scores
from sklearn_mlcl.thresholds import choose_decision, threshold_decision, tune_thresholds, tune_topk
from sklearn_mlcl.thresholds._decisions import score_and_influence
from sklearn_mlcl.utils.answers import Array, logit, sigmoid
from sklearn_mlcl.utils.fit_data import row_weights
from sklearn_mlcl.utils.topk import topk_decision

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
        See :meth:`calibrated`.
    centered : bool
        Whether the scale works about the center of each label. Beside a tree of labels it works
        about even odds: the search of a tree compares labels before they are scaled, so a scale
        must not change their order.
    """

    neighbor_weight: float
    linear_weight: float
    scale: float = 1.0
    shift: float = 0.0
    centered: bool = True

    def calibrated(self, log_odds: Any, center: Any) -> Any:
        r"""Return :math:`c + \alpha (s - c) + \beta` with the :func:`center` c of each label."""
        center = center if self.centered else 0.0 * center
        return self.scale * (log_odds - center) + (center + self.shift)


def center(label_log_odds: np.ndarray) -> np.ndarray:
    """Return the log-odds (L,) that a scale leaves as they are, from those of the labels.

    A model that knows nothing of a label should say how frequent it is, not one half. The log loss
    alone would take all of these log-odds where labels are frequent. But then rare labels hardly
    reach a common threshold. Half of them is best on parts of the training samples of eleven sets:
    example-F1, micro-F1 and macro-F1 rise by .002 each, the log loss falls on most.
    """
    return label_log_odds / 2


def with_votes(log_odds: Array, votes: Array, weight: float) -> Array:
    """Return log-odds in whose probabilities the votes of neighbours have a share."""
    p = sigmoid(log_odds)
    return logit(p + weight * (votes - p))


def towards(log_odds: Array, linear: Array, weight: float) -> Array:
    """Return log-odds in which those of the linear part have a share."""
    return log_odds + weight * (linear - log_odds)


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
        return with_votes(self.head, self.neighbors, weight)

    def blended(self, blend: Blend) -> np.ndarray:
        """Return the log-odds of the blend, before scale and shift."""
        w = blend.linear_weight
        x = self.with_neighbors(blend.neighbor_weight)
        return x if self.linear is None or w == 0 else towards(x, self.linear, w)


class Judgement(NamedTuple):
    """Labels of held-out samples, their weights, 0 where an entry is not judged, and centers.

    A scale leaves the log-odds of the centers, (L,), as they are.
    """

    Y: np.ndarray
    weight: np.ndarray
    center: np.ndarray

    @classmethod
    def of(
        cls,
        Y: np.ndarray,
        sample_weight: np.ndarray | None,
        judged: np.ndarray,
        center: np.ndarray,
    ) -> Judgement:
        """Leave out missing entries, and the labels that are not ``judged``, of shape (L,)."""
        known = ~np.isnan(Y) & judged
        weight = np.ones(len(Y)) if sample_weight is None else sample_weight
        weight = np.where(known, weight[:, None] if weight.ndim == 1 else weight, 0.0)
        return cls(np.nan_to_num(Y.astype(np.float64)), weight, center)

    def take(self, samples: Any) -> Judgement:
        """Return some samples."""
        return Judgement(self.Y[samples], self.weight[samples], self.center)

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
        r"""Return the scale a and shift b of the smallest log loss, and that loss.

        .. math:: \min_{a, b} \; \frac{1}{N} \sum \ell(c + a (s - c) + b, y)
            + \frac{10}{2 N} \big((a - 1)^2 + b^2\big)

        over N entries, with the centers c of their labels. Newton's method on a convex function of
        two numbers; the scale stays in ``SCALES``.
        """
        s, weight = log_odds - self.center, self.weight / self.weight.sum()
        prior = PRIOR_INFORMATION * np.square(weight).sum()
        a, b = 1.0, 0.0
        for _ in range(N_STEPS):
            p = sigmoid(a * s + (self.center + b))
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
        return a, b, self.log_loss(a * s + (self.center + b))

    def scaled_losses(self, log_odds: np.ndarray) -> np.ndarray:
        """Return the log loss (n,) of each sample at the best scale and shift."""
        scale, shift, _ = self.scaled(log_odds)
        return self.losses(Blend(0.0, 0.0, scale, shift).calibrated(log_odds, self.center))


def choose_blend(
    parts: HeldOutParts,
    judgement: Judgement,
    default: Blend,
    neighbor_weight: float | None,
    linear_weight: float | None,
    seed: int,
) -> Blend:
    """Choose weights, scale and shift by the held-out log loss.

    Of the weights within one standard error of the best, those nearest the default are taken.

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
    if not default.centered:
        judgement = judgement._replace(center=np.zeros_like(judgement.center))
    few = _subsample(judgement, BLEND_ENTRIES, seed)
    some, of_some = parts.take(few), judgement.take(few)
    if of_some.informs:
        grid = product(
            NEIGHBOR_WEIGHTS if neighbor_weight is None else (neighbor_weight,),
            LINEAR_WEIGHTS if linear_weight is None else (linear_weight,),
        )
        usable = {
            replace(
                default,
                neighbor_weight=v if parts.neighbors is not None else 0.0,
                linear_weight=w if parts.linear is not None else 0.0,
            )
            for v, w in grid
            # Beside a whole linear part, rounding alone would choose the share of the neighbours.
            if w < 1 or v == 0 or neighbor_weight is not None
        }
        usable.add(default)
        # The grid has few shares of the neighbours, and each with many of the linear part.
        shares = {b.neighbor_weight for b in usable}
        mixed = {v: HeldOutParts(some.with_neighbors(v), linear=some.linear) for v in shares}
        losses = {b: of_some.scaled_losses(mixed[b.neighbor_weight].blended(b)) for b in usable}
        best = min(losses, key=lambda b: (losses[b].sum(), b.neighbor_weight, b.linear_weight))
        if gains_clearly(losses[default], losses[best]):
            default = _nearest_of_good(losses, best, default)
    many = _subsample(judgement, SCALE_ENTRIES, seed)
    scale, shift, _ = judgement.take(many).scaled(parts.take(many).blended(default))
    return replace(default, scale=scale, shift=shift)


def gains_clearly(losses: np.ndarray, others: np.ndarray) -> bool:
    """Return whether other losses (n,) of the same samples are smaller by more than chance."""
    gains = losses - others
    error = STANDARD_ERRORS * standard_error(gains)
    return bool(gains.sum() > max(MARGIN * losses.sum(), error))


def standard_error(gains: np.ndarray) -> float:
    """Return the standard error of a sum over samples (n,)."""
    return float(gains.std() * np.sqrt(len(gains)))


def _nearest_of_good(losses: dict[Blend, np.ndarray], best: Blend, default: Blend) -> Blend:
    """Return the blend nearest the default among those that chance may keep from being the best."""
    gains = {b: own - losses[best] for b, own in losses.items()}
    good = [b for b, gain in gains.items() if gain.sum() <= standard_error(gain)]

    def distance(b: Blend) -> tuple[float, float]:
        of_neighbors = abs(b.neighbor_weight - default.neighbor_weight)
        return of_neighbors + abs(b.linear_weight - default.linear_weight), losses[b].sum()

    return min(good, key=distance)


def _subsample(judgement: Judgement, n_entries: int, seed: int) -> Any:
    n, n_labels = judgement.Y.shape
    n_kept = max(1, n_entries // n_labels)
    if n <= n_kept:
        return slice(None)
    return np.sort(np.random.RandomState(seed).choice(n, n_kept, replace=False))


def for_ensemble(blend: Blend, member_log_odds: np.ndarray) -> Blend:
    r"""Return the blend of the mean of M members, from that of single ones.

    Held-out log-odds are those of single members, a prediction is their mean. The noise of a member
    averages out, and with it goes what made the member over-confident. The mean takes a scale that
    is larger by :math:`\sqrt{v_1 / v_M}`, with the variance of the log-odds of a label over samples
    in one member and in the mean: it spreads as widely as a member.

    Parameters
    ----------
    blend : Blend
        The weights, scale and shift chosen on held-out samples.
    member_log_odds : ndarray of shape (M, n, L)
        Log-odds of the members for the same samples.
    """
    of_one = np.mean([member.var(axis=0) for member in member_log_odds])
    of_mean = member_log_odds.mean(axis=0).var(axis=0).mean()
    # The linear part is no ensemble.
    share = 1 - blend.linear_weight
    gain = float(np.sqrt(of_one / of_mean)) if of_mean > 0 else 1.0
    return replace(blend, scale=blend.scale * (1 + share * (gain - 1)))


# ---------------------------------------------------------------------- decisions

DECISIONS = ("threshold", "onn", "topk", "auto")
#: Strengths of the prior of the label sets that are tried.
PRIORS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class HeldOut:
    """Log-odds of samples by what never saw them.

    Attributes
    ----------
    log_odds : ndarray of shape (n, L)
        Of the blend in force.
    Y : ndarray of shape (n, L)
        Their labels, NaN where an entry is not judged.
    sample_weight : ndarray of shape (n,) or (n, L), or None
        Their weights.
    samples : ndarray of shape (n,) or None
        Their numbers among the samples that ``fit`` was given; None if they came as ``X_val``.
    n_given : int
        Number of samples that ``fit`` was given.
    """

    log_odds: np.ndarray
    Y: np.ndarray
    sample_weight: np.ndarray | None
    samples: np.ndarray | None
    n_given: int
    #: Thresholds that were searched for, by objective.
    _cuts: dict[str, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def probabilities(self) -> np.ndarray:
        """Probabilities (n, L)."""
        return sigmoid(self.log_odds)

    def of_given(self) -> np.ndarray:
        """Return probabilities (n_given, L) of the samples of the fit, NaN where not held out."""
        table = np.full((self.n_given, self.Y.shape[1]), np.nan, dtype=self.log_odds.dtype)
        if self.samples is not None:
            table[self.samples] = self.probabilities
        return table

    def tuned(self, objective: str) -> float:
        """Return the threshold of all labels that is best by an objective; searched for once."""
        if objective not in self._cuts:
            common = tune_thresholds(
                self.Y,
                self.probabilities,
                objective=objective,
                per_label=False,
                sample_weight=self.sample_weight,
            )
            self._cuts[objective] = float(common[0])
        return self._cuts[objective]

    def scores(self, threshold: Any, kind: str) -> dict[str, float]:
        """Return the scores of the probabilities, and of decisions at a threshold.

        For label matrices those of ``held_out_scores``. For classes that exclude one another, of
        1-D targets, log loss and accuracy.
        """
        p, weight = self.probabilities, self.sample_weight
        if kind == "multilabel":
            return held_out_scores(self.Y, p, threshold, weight)
        judged: Any = slice(None)
        if kind == "binary":
            right = (p[:, 0] >= threshold) == (self.Y[:, 0] == 1)
        else:
            # Of a rare class no entry is judged.
            has = self.Y == 1
            judged = has.any(axis=1)
            right = p[judged].argmax(axis=1) == has[judged].argmax(axis=1)
        of_samples = row_weights(self.Y, weight)
        of_judged = None if of_samples is None else of_samples[judged]
        return {
            "log_loss": multilabel_log_loss(self.Y, p, sample_weight=weight),
            "accuracy": float(np.average(right, weights=of_judged)),
        }


@dataclass(frozen=True)
class Decision:
    """A rule that turns rows into label sets, with all it needs.

    Attributes
    ----------
    rule : {"threshold", "onn", "topk"}
        Which rule.
    decoder : ONNDecoder or None
        Of "onn".
    k : int or None
        Of "topk".
    """

    rule: str
    decoder: ONNDecoder | None = None
    k: int | None = None

    def labels(
        self, embedding: np.ndarray, probabilities: np.ndarray, threshold: float | np.ndarray
    ) -> Any:
        """Return the indicator matrix of the label sets, dense or CSR, of shape (n, L)."""
        if self.rule == "onn" and self.decoder is not None:
            return self.decoder.decode(embedding)
        if self.rule == "topk" and self.k is not None:
            return topk_decision(probabilities, self.k)
        return threshold_decision(probabilities, threshold)


def chosen(
    rule: str,
    threshold: float,
    held_out: HeldOut,
    embedding: np.ndarray | None = None,
    decoder: ONNDecoder | None = None,
    prior: float | str = "tuned",
) -> Decision:
    """Choose on held-out samples what turns probabilities into labels.

    Parameters
    ----------
    rule : {"threshold", "onn", "topk", "auto"}
        The rule asked for. "auto" is the threshold, the safe rule, unless another rule has a
        micro-F1 that is higher by more than a standard error.
    threshold : float
        The threshold.
    held_out : HeldOut
        Samples to choose on.
    embedding : ndarray of shape (n, h), default=None
        Their embeddings, for "onn" and "auto".
    decoder : ONNDecoder or None, default=None
        Prototypes of the label sets, for "onn" and "auto".
    prior : float or "tuned", default="tuned"
        Strength of the prior of the label sets.

    Returns
    -------
    decision : Decision
        The rule in force.
    """
    if rule == "threshold":
        return Decision("threshold")
    Y, probabilities = held_out.Y, held_out.probabilities
    if rule == "topk":
        return Decision("topk", k=tune_topk(probabilities, Y))
    if decoder is None or embedding is None:
        raise ValueError(f"decision={rule!r} needs a decoder of label sets.")
    grid = PRIORS if isinstance(prior, str) else (float(prior),)
    with_prior = tune_onn_prior(decoder, embedding, Y, grid=grid)
    if rule == "onn":
        return Decision("onn", decoder=with_prior)
    rules = {
        "threshold": Decision("threshold"),
        "onn": Decision("onn", decoder=decoder),
        "onn_prior": Decision("onn", decoder=with_prior),
    }
    predictions = {
        name: decision.labels(embedding, probabilities, threshold)
        for name, decision in rules.items()
    }
    return rules[choose_decision(predictions, Y)[0]]


def tune_onn_prior(
    decoder: ONNDecoder, features: Any, Y: Any, *, grid: Sequence[float] = PRIORS
) -> ONNDecoder:
    """Return the decoder with the prior strength of the best micro-F1 on held-out samples.

    Parameters
    ----------
    decoder : ONNDecoder
        Its variance should come from held-out samples as well.
    features : {array-like, CSR, memory map, torch tensor} of shape (n, d)
        Held-out samples.
    Y : {array-like, CSR} of shape (n, L)
        Their indicator matrix; NaN entries do not count.
    grid : sequence of float, default=(0, 0.25, 0.5, 0.75, 1)
        Strengths t in [0, 1] to try; the first wins ties.

    Returns
    -------
    ONNDecoder
        A copy with that prior.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import fit_onn_decoder, simplex_etf
    >>> from sklearn_mlcl.heads.held_out import tune_onn_prior
    >>> Y = np.eye(3, dtype=int)[[0, 0, 0, 1, 2]]
    >>> decoder = fit_onn_decoder(Y @ simplex_etf(3), Y)
    >>> tune_onn_prior(decoder, Y @ simplex_etf(3), Y).prior
    0.0
    """
    tried = [replace(decoder, prior=float(t)) for t in grid]
    values = [score_and_influence(each.decode(features), Y, "f1_micro")[0] for each in tried]
    return tried[int(np.argmax(values))]
