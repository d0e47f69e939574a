"""The encoder ``edges``: two convolutions over grey levels."""

from bchisto.encoders import EncoderSpec


def build(*, weights=None, include_top=False):
    """Return the network, from images that `preprocess` made, of any size."""
    import keras
    from keras import layers

    if weights is not None:
        raise ValueError("edges has no published weights")
    images = keras.Input((None, None, 3))
    x = layers.Conv2D(8, 5, strides=2, activation="relu", name="fine")(images)
    x = layers.Conv2D(16, 3, strides=2, activation="relu", name="coarse")(x)
    return keras.Model(images, x)


def preprocess(x):
    """Bring RGB in 0..255 to what the network was trained on."""
    from keras import ops

    return ops.mean(x, axis=-1, keepdims=True) / 127.5 - ops.ones((3,))


def edges():
    """Return the encoder; its descriptors are of both layers unless others are asked for."""
    return EncoderSpec(name="edges", build=build, preprocess=preprocess, layers=("fine", "coarse"))
