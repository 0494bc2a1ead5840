"""
Images: pretrained embeddings, or your own encoder
==================================================

There are two ways from pixels to labels. In the first, a pretrained model turns images into
vectors, and a classifier predicts from them: a pipeline of two steps. In the second, a torch module
of your own is trained as the encoder: ``module=``.

The images are composed of up to three handwritten digits, 16 by 16 pixels.
"""

# %%
# An embedding as a step
# ----------------------
# Any map from images to vectors with ``fit`` and ``transform`` can be a step. The one below needs
# no download. It clusters patches of the images. Each cell of a grid is described by the similarity
# of its patches to the cluster centres.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import MiniBatchKMeans
from sklearn.pipeline import make_pipeline
from torch import nn

from sklearn_mlcl import (
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
)
from sklearn_mlcl.datasets import make_multilabel_digits
from sklearn_mlcl.inspection import EmbeddingDisplay
from sklearn_mlcl.metrics import average_precision, f1_macro
from sklearn_mlcl.recipes import FAST

SIDE, PATCH, CELLS = 16, 6, 4


class PatchEmbedding(TransformerMixin, BaseEstimator):
    """Similarities to centres of patches, averaged over the cells of a grid."""

    def __init__(self, n_centres=48, random_state=0):
        self.n_centres = n_centres
        self.random_state = random_state

    def _patches(self, X):
        views = sliding_window_view(
            X.reshape(-1, SIDE, SIDE), (PATCH, PATCH), axis=(1, 2)
        )
        patches = views.reshape(*views.shape[:3], -1)
        return patches - patches.mean(axis=-1, keepdims=True)

    def fit(self, X, y=None):
        patches = self._patches(X).reshape(-1, PATCH**2)
        some = np.random.RandomState(self.random_state).choice(
            len(patches), 20_000
        )
        self.centres_ = MiniBatchKMeans(
            self.n_centres, random_state=self.random_state, n_init=1
        )
        self.centres_.fit(patches[some])
        return self

    def transform(self, X):
        patches = self._patches(X)
        distance = self.centres_.transform(patches.reshape(-1, PATCH**2))
        near = np.maximum(distance.mean(axis=1, keepdims=True) - distance, 0)
        near = near.reshape(*patches.shape[:3], -1)
        parts = np.array_split(np.arange(near.shape[1]), CELLS)
        cells = [
            near[:, rows][:, :, columns] for rows in parts for columns in parts
        ]
        return np.concatenate(
            [cell.mean(axis=(1, 2)) for cell in cells], axis=1
        )


X, Y = make_multilabel_digits(subset="train", return_X_y=True)
X_test, Y_test = make_multilabel_digits(subset="test", return_X_y=True)
embedded = make_pipeline(
    PatchEmbedding(), MultiLabelLogisticRegression(C=10)
).fit(X, Y)

# %%
# With network access, the step may have a pretrained model instead. The following code is **not run
# here**, because it downloads weights. It needs the package ``timm``, and images as a list of
# ``PIL.Image`` in RGB:
#
# .. code-block:: python
#
#    import timm
#    import torch
#
#    class ImageEmbedding(TransformerMixin, BaseEstimator):
#        def __init__(self, name="resnet18", batch_size=64):
#            self.name = name
#            self.batch_size = batch_size
#
#        def fit(self, images, y=None):
#            self.net_ = timm.create_model(self.name, pretrained=True, num_classes=0).eval()
#            config = timm.data.resolve_model_data_config(self.net_)
#            self.prepare_ = timm.data.create_transform(**config, is_training=False)
#            return self
#
#        def transform(self, images):
#            embeddings = []
#            with torch.inference_mode():
#                for start in range(0, len(images), self.batch_size):
#                    batch = images[start : start + self.batch_size]
#                    tensors = torch.stack([self.prepare_(image) for image in batch])
#                    embeddings.append(self.net_(tensors).numpy())
#            return np.concatenate(embeddings)
#
#    make_pipeline(ImageEmbedding(), ContrastiveMultiLabelClassifier()).fit(images, Y)
#
# In a search, pass ``memory=`` to the pipeline. The images are then embedded once, not once per
# candidate.

# %%
# A module of your own
# --------------------
# The classifier calls ``module`` with the number of features. The module maps samples with scaled
# features to embeddings. It may first reshape a sample to an image. A convolution shares its
# weights over the image; a linear layer on 256 pixels cannot.


class Convolutions(nn.Sequential):
    """Map samples of 256 pixels to embeddings of 64 numbers."""

    def __init__(self, n_features):
        def block(n_in, n_out, size, stride):
            convolution = nn.Conv2d(
                n_in, n_out, size, stride=stride, padding=size // 2
            )
            return [convolution, nn.BatchNorm2d(n_out), nn.SiLU()]

        super().__init__(
            nn.Unflatten(1, (1, SIDE, SIDE)),
            *block(1, 32, 5, stride=2),
            *block(32, 64, 3, stride=1),
            nn.MaxPool2d(2),
            *block(64, 64, 3, stride=1),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(256, 64),
        )


plain = ContrastiveMultiLabelClassifier(**FAST, random_state=0)
convolved = ContrastiveMultiLabelClassifier(
    **FAST, module=Convolutions, feature_noise=0.2, random_state=0
)

# %%
# Scores on test images
# ---------------------

models = {
    "pixels": plain.fit(X, Y),
    "patch embedding, logistic heads": embedded,
    "convolutions": convolved.fit(X, Y),
}
scores = {}
for name, model in models.items():
    probabilities = model.predict_proba(X_test)
    scores[name] = {
        "mAP": average_precision(Y_test, probabilities),
        "macro-F1 at 0.5": f1_macro(Y_test, probabilities >= 0.5),
    }
print(pd.DataFrame(scores).T.round(3).to_string())

# %%
# The embedding of the convolutions; images with a seven have a colour.

EmbeddingDisplay.from_estimator(convolved, X_test, Y_test, label=7)
plt.show()
