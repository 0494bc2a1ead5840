"""Settings with a source, as plain dicts of constructor arguments.

>>> from sklearn_mlcl import ContrastiveMultiLabelClassifier, recipes
>>> clf = ContrastiveMultiLabelClassifier(**recipes.TWO_STAGE, random_state=0)
"""

from __future__ import annotations

from typing import Any

#: The two stages of arXiv:2412.00101 and nothing else: the regularised loss with prototypes as its
#: released configuration has it (temperature 0.1, alpha 0, projection 256, AdamW with decay 0.01),
#: then one logistic regression per label with C chosen for each label. What the defaults add
#: (a joint cross-entropy term, the vote of neighbours) is off. Encoder, epochs and learning rate
#: stay ours: the release trains transformers and ResNets.
TWO_STAGE: dict[str, Any] = {
    "loss": "reg",
    "temperature": 0.1,
    "lambda_reg": 1.0,
    "alpha": 0.0,
    "projection_dim": 256,
    "weight_decay": 0.01,
    "lambda_bce": 0.0,
    "head_C": "cv",
    "neighbor_weight": 0.0,
}

#: The same with the loss of arXiv:2404.08720 (temperature 0.1, beta 0.1, no clamp) and its
#: fine-tuning by cross-entropy after the contrastive stage.
MSC_FINETUNED: dict[str, Any] = {
    **TWO_STAGE,
    "loss": "msc",
    "lambda_reg": 0.0,
    "beta": 0.1,
    "finetune": True,
}
