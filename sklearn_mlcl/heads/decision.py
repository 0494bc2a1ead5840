"""From probabilities and embeddings to label sets: threshold, nearest prototype, the k best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sklearn_mlcl.collapse._decoder import ONNDecoder
from sklearn_mlcl.thresholds import choose_decision, threshold_decision, tune_thresholds, tune_topk
from sklearn_mlcl.thresholds._decisions import score_and_influence
from sklearn_mlcl.utils.topk import topk_decision

DECISIONS = ("threshold", "onn", "topk", "auto")


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


@dataclass(frozen=True)
class HeldOut:
    """Rows that nothing was fitted on: embeddings, labels, probabilities, weights."""

    embedding: np.ndarray
    Y: Any
    probabilities: np.ndarray
    sample_weight: np.ndarray | None = None


def common_threshold(held_out: HeldOut, objective: str) -> float:
    """Return the one threshold that is best for an objective on held-out rows."""
    cuts = tune_thresholds(
        held_out.Y,
        held_out.probabilities,
        objective=objective,
        per_label=False,
        sample_weight=held_out.sample_weight,
    )
    return float(np.ravel(cuts)[0])


def tuned_decision(
    rule: str, decoder: ONNDecoder | None, held_out: HeldOut, threshold: float, prior: Any
) -> Decision:
    """Return the rule asked for, tuned on held-out rows; "auto" is the one that scores best there.

    The tuned threshold is the safe rule: another one is taken only if its micro-F1 is higher by
    more than a standard error.
    """
    if rule == "threshold":
        return Decision("threshold")
    if rule == "topk":
        return Decision("topk", k=tune_topk(held_out.probabilities, held_out.Y))
    if decoder is None:
        raise ValueError(f"decision={rule!r} needs a decoder of label sets.")
    if rule == "onn":
        return Decision("onn", decoder=_with_prior(decoder, held_out, prior))
    candidates = {
        "threshold": Decision("threshold"),
        "onn": Decision("onn", decoder=decoder),
        "onn_prior": Decision("onn", decoder=_with_prior(decoder, held_out, prior)),
    }
    predictions = {
        name: decision.labels(held_out.embedding, held_out.probabilities, threshold)
        for name, decision in candidates.items()
    }
    return candidates[choose_decision(predictions, held_out.Y)[0]]


def _with_prior(decoder: ONNDecoder, held_out: HeldOut, prior: Any) -> ONNDecoder:
    if isinstance(prior, str):
        return tune_onn_prior(decoder, held_out.embedding, held_out.Y)
    return tune_onn_prior(decoder, held_out.embedding, held_out.Y, grid=(float(prior),))


def tune_onn_prior(
    decoder: ONNDecoder,
    features: Any,
    Y: Any,
    *,
    scoring: str = "f1_micro",
    grid: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
) -> ONNDecoder:
    """The decoder with the prior strength that scores best on held-out rows.

    Parameters
    ----------
    decoder : ONNDecoder
        Its variance should come from held-out rows as well.
    features : {array-like, CSR, memory map, torch tensor} of shape (n, d)
        Held-out rows.
    Y : {array-like, CSR} of shape (n, K)
        Their indicator matrix; NaN entries do not count.
    scoring : {"f1_micro", "f1_macro", "f1_samples"}, default="f1_micro"
        What is best.
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
    values = [score_and_influence(each.decode(features), Y, scoring)[0] for each in tried]
    return tried[int(np.argmax(values))]
