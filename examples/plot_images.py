"""
Images: a fixed embedding, or an encoder of your own
====================================================

Two ways from pixels to labels. A model that was trained elsewhere turns images into vectors, and a
classifier stands on these: a pipeline of two steps. Or a torch module of your own, convolutions
for instance, is trained as the encoder: ``module=``.

The images are handwritten digits composed to scenes of up to three, 16 by 16 pixels.
"""

# %%
# An embedding as a step
# ----------------------
# Anything that maps images to vectors becomes a step by ``fit`` and ``transform``. This one needs
# no download: patches of the images are clustered, and a cell of the image is described by how near
# its patches come to each centre.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import MiniBatchKMeans
from sklearn.pipeline import make_pipeline
from torch import nn

from sklearn_mlcl import ContrastiveMultiLabelClassifier, MultiLabelLogisticRegression
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
        views = sliding_window_view(X.reshape(-1, SIDE, SIDE), (PATCH, PATCH), axis=(1, 2))
        patches = views.reshape(*views.shape[:3], -1)
        return patches - patches.mean(axis=-1, keepdims=True)

    def fit(self, X, y=None):
        patches = self._patches(X).reshape(-1, PATCH**2)
        some = np.random.RandomState(self.random_state).choice(len(patches), 20_000)
        self.centres_ = MiniBatchKMeans(self.n_centres, random_state=self.random_state, n_init=1)
        self.centres_.fit(patches[some])
        return self

    def transform(self, X):
        patches = self._patches(X)
        distance = self.centres_.transform(patches.reshape(-1, PATCH**2))
        near = np.maximum(distance.mean(axis=1, keepdims=True) - distance, 0)
        near = near.reshape(*patches.shape[:3], -1)
        parts = np.array_split(np.arange(near.shape[1]), CELLS)
        cells = [near[:, rows][:, :, columns] for rows in parts for columns in parts]
        return np.concatenate([cell.mean(axis=(1, 2)) for cell in cells], axis=1)


X, Y = make_multilabel_digits(subset="train", return_X_y=True)
X_test, Y_test = make_multilabel_digits(subset="test", return_X_y=True)
embedded = make_pipeline(PatchEmbedding(), MultiLabelLogisticRegression(C=10)).fit(X, Y)

# %%
# With a network at hand, the step holds a pretrained model instead. The following is **not run
# here**, since it downloads weights; it takes the package ``timm``, and images as a list of
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
# In a search, give the pipeline ``memory=``, so that the images are embedded once and not once a
# candidate.

# %%
# A module of your own
# --------------------
# The classifier calls ``module`` with the number of features. What comes back maps rows of
# features, standardised, to embeddings; it may fold a row to an image first. A convolution shares
# its weights over the image, which a layer on 256 pixels cannot know to do.


class Convolutions(nn.Sequential):
    """Rows of 256 pixels to embeddings of 64 numbers."""

    def __init__(self, n_features):
        def block(n_in, n_out, size, stride):
            convolution = nn.Conv2d(n_in, n_out, size, stride=stride, padding=size // 2)
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
# On images not seen
# ------------------

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
# What the convolutions learned: scenes that hold a seven, in the embedding.

EmbeddingDisplay.from_estimator(convolved, X_test, Y_test, label=7)
plt.show()
