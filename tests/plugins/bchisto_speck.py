"""A network of another package, for the tests: one convolution."""


def spec():
    import keras
    from bchisto.finetune import NetworkSpec
    from keras import layers

    def build(*, classes, size, dropout=0.0, l2=0.0):
        images = keras.Input((size, size, 3), name="image")
        x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(images)
        x = layers.Conv2D(
            4,
            3,
            strides=4,
            activation="relu",
            kernel_regularizer=keras.regularizers.L2(l2),
            name="dots",
        )(x)
        x = layers.GlobalAveragePooling2D(name="average")(x)
        if dropout:
            x = layers.Dropout(dropout, seed=1, name="dropout")(x)
        return keras.Model(
            images, layers.Dense(classes, activation="softmax", dtype="float32", name="classes")(x)
        )

    return NetworkSpec("speck", build, 32, batch_size=4, learning_rate=1e-2, source="the tests")
