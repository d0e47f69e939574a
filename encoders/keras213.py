"""The ResNet-50 of Keras 2.1.3.

It uses the weights of today's ResNet-50, but computes other features:

- The first convolution is padded as ``same``, which is one pixel less on the left if the side is even.
- The maximum pooling is not padded.
- Batch normalisation has an epsilon of 1e-3 instead of 1.001e-5.
- The last feature map is first averaged over 7x7 cells at a stride of 7.

For crops of 400 pixels the last map has 13x13 cells, and that average covers only the top-left 7x7. For crops of 650
pixels it has 21x21 cells, and all are covered.
"""

from __future__ import annotations

from typing import Any

RESNET50_KERAS213 = "resnet50-keras213"
"""Name of the encoder."""

LEAST_KERAS213 = 197
"""Smallest side of a crop in pixels, because the last map needs 7x7 cells. Keras 2.1.3 had the same limit."""


def build_resnet50_keras213(*, weights: str | None = None, include_top: bool = False) -> Any:
    """Build the network from today's ResNet-50, with its layer names, so that the same weights files fit.

    Parameters
    ----------
    weights : {None, "imagenet"}
    include_top : bool
        Whether to add the classifier, for weights files that contain it.

    Returns
    -------
    keras.Model
        A model from preprocessed images, channels last, to the 7x7 averages of the last map.
    """
    from keras import applications, layers, models

    def changed(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name == "conv1_conv":
            config["padding"] = "same"
        if isinstance(layer, layers.BatchNormalization):
            config["epsilon"] = 1e-3
        return type(layer).from_config(config)

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        if isinstance(layer, layers.ZeroPadding2D):
            return inputs[0]
        x = layer(*inputs, **options)
        if layer.name == "conv5_block3_out":
            x = layers.AveragePooling2D(7, name="avg_pool7")(x)
        return x

    published = applications.ResNet50(weights=weights, include_top=include_top)
    model = models.clone_model(published, clone_function=changed, call_function=call)
    if weights is not None:
        model.set_weights(published.get_weights())
    return model
