"""Logistic heads on the trained embedding, blended into the head that was trained with it.

Training ends before the head is the best one on its embedding. Both heads are linear, so a blend of
their log-odds is a linear head too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from torch import nn

from sklearn_mlcl.heads.held_out import Judgement, gains_clearly
from sklearn_mlcl.heads.logistic import EmbeddedSamples, embedding_path
from sklearn_mlcl.heads.predictor import AffineHead

#: Values of C that are tried, one for all labels: a choice for each would be one by chance for rare
#: labels.
CS = (0.001, 0.01, 0.1, 1.0)
#: Shares of the logistic heads that are tried, and the one that others must beat.
SHARES, USUAL_SHARE = (0.0, 0.25, 0.5, 0.75, 1.0), 0.5
#: Tolerance of the solves: held-out losses do not know the third digit of a coefficient.
TOL = 1e-3


class RefittedHead(NamedTuple):
    """A head with what was chosen for it.

    Attributes
    ----------
    head : AffineHead
        The blend.
    C : float
        Inverse regularisation of the logistic heads.
    share : float
        Their share in the log-odds; the rest is that of the trained head.
    """

    head: AffineHead
    C: float
    share: float


def refitted(
    trained: AffineHead,
    parts: Sequence[EmbeddedSamples],
    said: Callable[[nn.Module], np.ndarray],
    judgement: Judgement,
) -> RefittedHead:
    """Return a blend of the trained head and of logistic ones, chosen by the held-out log loss.

    Parameters
    ----------
    trained : AffineHead
        The head that was trained with the encoder.
    parts : sequence of EmbeddedSamples
        What each member learnt from.
    said : callable
        Head -> its log-odds (n, L) of the held-out samples.
    judgement : Judgement
        Their labels. C is the best at the usual share. Another choice must gain ``MARGIN`` of its
        loss, and two standard errors of the gain.
    """
    heads = [AffineHead(*arrays) for arrays in embedding_path(parts, CS, TOL)]
    own = said(trained)
    logistic = [said(head) for head in heads]
    losses = {
        (k, share): judgement.scaled_losses(own + share * (logistic[k] - own))
        for k, share in product(range(len(CS)), SHARES)
    }
    chosen = min((c for c in losses if c[1] == USUAL_SHARE), key=lambda c: losses[c].sum())
    best = min(losses, key=lambda c: losses[c].sum())
    if gains_clearly(losses[chosen], losses[best]):
        chosen = best
    k, share = chosen
    return RefittedHead(_blended(trained, heads[k], share), CS[k], share)


def refitted_as(
    trained: AffineHead, parts: Sequence[EmbeddedSamples], C: float, share: float
) -> RefittedHead:
    """Return the blend of a C and a share that were chosen before."""
    (arrays,) = embedding_path(parts, [C], TOL)
    return RefittedHead(_blended(trained, AffineHead(*arrays), share), C, share)


def _blended(one: AffineHead, other: AffineHead, share: float) -> AffineHead:
    """Return the head whose log-odds are those of two, with a share of the other's."""
    pairs = [(one.of_member(m), other.of_member(m)) for m in range(len(one.own_bias))]
    mixed = [[(1 - share) * a + share * b for a, b in zip(*pair, strict=True)] for pair in pairs]
    coef, intercept = (np.stack([part[k].numpy() for part in mixed]) for k in range(2))
    return AffineHead(coef.astype(np.float32), intercept.astype(np.float32))
