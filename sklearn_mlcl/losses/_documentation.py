"""Parameters that every contrastive loss documents alike."""

from __future__ import annotations

import inspect

_SHARED = """\
temperature : float, default=0.1
    Cosines are divided by it.
lambda_reg : float, default={lambda_reg}
    Clamp of the gradient.  With :math:`x_{{ij}} = \\bar W_i \\pi_{{ij}} - W_{{ij}}` it is
    :math:`a_i (x_{{ij}} - \\lambda \\max(x_{{ij}}, 0))` on positives: 0 is the plain cross-entropy,
    1 takes the repulsive part of positives out, above 1 turns it into attraction.  It is a rule
    for the gradient and not the gradient of any function: the value stays the cross-entropy,
    line searches and ``gradcheck`` do not apply.
reduction : {{"mean", "none"}}, default="mean"
    The average over anchors, or one value per anchor (0 where it has no positive).
memory_budget : int, default=2**28
    Bytes of pairwise arrays up to which the dense kernel runs; above, tiles that fit it (of at
    most 1024 x 1024 pairs) give the same numbers.
"""

_NEGATIVES = """\
n_negatives : int, optional
    Take only the prototypes of labels active in the batch, plus so many drawn from the others
    (from torch's global generator).  A drawn column weighs (number of others) / (number drawn), so
    that every denominator is estimated without bias; its logarithm, and with it the loss, is low
    by about Var(D) / (2 D^2), which falls as 1 / n_negatives.  By default every prototype is
    a candidate.
"""


def fill(cls: type, lambda_reg: float) -> None:
    """Put the shared parameters in place of their marks in the docstring."""
    if not cls.__doc__:
        return
    doc = inspect.cleandoc(cls.__doc__)
    doc = doc.replace("<n_negatives>\n", _NEGATIVES)
    cls.__doc__ = doc.replace("<shared>\n", _SHARED.format(lambda_reg=lambda_reg))
