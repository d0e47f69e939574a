"""An encoder of another package, for the tests: three small convolutions, no downloads."""


def spec():
    import keras
    from bchisto.encoders import EncoderSpec

    def build(*, weights=None, include_top=False):
        if weights == "imagenet":
            raise ValueError("convs has no published weights")
        inputs = keras.Input((None, None, 3))
        x = keras.layers.Conv2D(8, 3, strides=4, activation="relu")(inputs)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Conv2D(12, 3, strides=2, activation="relu", name="middle")(x)
        x = keras.layers.Conv2D(16, 3, strides=2, activation="relu")(x)
        return keras.Model(inputs, x)

    return EncoderSpec(
        name="convs", build=build, preprocess=lambda x: x / 127.5 - 1.0, macs_per_pixel=3e6
    )
