"""The network ``plain``: two convolutions, trained from the start."""

from bchisto.finetune import NetworkSpec


def build(*, classes, size, dropout=0.2, l2=0.0):
    """Return a model from RGB in 0..255 to probabilities."""
    import keras
    from keras import layers

    penalty = keras.regularizers.L2(l2)
    images = keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    for number, filters in enumerate((8, 16), start=1):
        x = layers.Conv2D(
            filters,
            3,
            strides=2,
            activation="relu",
            kernel_regularizer=penalty,
            name=f"conv{number}",
        )(x)
    x = layers.Dropout(dropout, seed=1)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(
        images, layers.Dense(classes, activation="softmax", dtype="float32", name="classes")(x)
    )


PLAIN = NetworkSpec(
    name="plain", build=build, size=64, batch_size=8, learning_rate=1e-3, source="ours"
)
