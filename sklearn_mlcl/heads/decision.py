"""Held-out samples, and how they choose what turns probabilities into label sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sklearn_mlcl.collapse._decoder import ONNDecoder
from sklearn_mlcl.metrics import multilabel_log_loss
from sklearn_mlcl.metrics._probabilities import held_out_scores
from sklearn_mlcl.thresholds import choose_decision, threshold_decision, tune_thresholds, tune_topk
from sklearn_mlcl.thresholds._decisions import score_and_influence
from sklearn_mlcl.utils.answers import sigmoid
from sklearn_mlcl.utils.topk import topk_decision

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
        if kind == "binary":
            right = (p[:, 0] >= threshold) == (self.Y[:, 0] == 1)
        else:
            right = p.argmax(axis=1) == np.nan_to_num(self.Y).argmax(axis=1)
        return {
            "log_loss": multilabel_log_loss(self.Y, p, sample_weight=weight),
            "accuracy": float(np.average(right, weights=weight)),
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
    >>> from sklearn_mlcl.heads.decision import tune_onn_prior
    >>> Y = np.eye(3, dtype=int)[[0, 0, 0, 1, 2]]
    >>> decoder = fit_onn_decoder(Y @ simplex_etf(3), Y)
    >>> tune_onn_prior(decoder, Y @ simplex_etf(3), Y).prior
    0.0
    """
    tried = [replace(decoder, prior=float(t)) for t in grid]
    values = [score_and_influence(each.decode(features), Y, "f1_micro")[0] for each in tried]
    return tried[int(np.argmax(values))]
