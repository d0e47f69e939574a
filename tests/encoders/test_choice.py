import pytest
from bchisto.core import InputError
from bchisto.encoders import EncoderChoice, weights_of


def test_encoders_by_text():
    assert EncoderChoice.parse("InceptionV3:mixed7+mixed8") == EncoderChoice("inceptionv3", ("mixed7", "mixed8"))
    assert str(EncoderChoice("inceptionv3", ("mixed7", "mixed8"))) == "inceptionv3:mixed7+mixed8"
    for text in ("", "x:", ":a", "x:a++b"):
        with pytest.raises(InputError, match="write NAME or NAME:LAYER"):
            EncoderChoice.parse(text)


def test_weights_per_encoder():
    options = ("random", "VGG16=/w/vgg.h5", "resnet50=imagenet")
    assert weights_of(options, "vgg16") == "/w/vgg.h5"
    assert weights_of(options, "resnet50") == "imagenet"
    assert weights_of(options, "inceptionv3") == "random"
    assert weights_of((), "vgg16") == "imagenet"
    assert weights_of(("/path/with=sign.h5",), "vgg16") == "/path/with=sign.h5"
