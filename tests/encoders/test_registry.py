"""Names of encoders and of their weights."""

from bchisto.encoders import EncoderChoice, check_encoder_names, weights_of
from own_process import printed_by
from refusals import refusing


def test_names_of_keras_are_those_of_keras():
    """They are written down, so that a misspelt one is refused before Keras is loaded."""
    from bchisto.encoders.registry import _OF_KERAS, _applications

    assert {*_applications()} - {*_OF_KERAS} == {
        *("mobilenetv3large", "mobilenetv3small"),
        *("nasnetlarge", "nasnetmobile"),  # only for one size of images
    }
    assert {*_OF_KERAS} < {*_applications()}


def test_a_misspelt_name_is_refused_before_anything_is_read(tmp_path):
    script = (
        "import sys; from bchisto.core import InputError\n"
        "from bchisto.featurize import featurize, FeaturizeSettings\n"
        "try: featurize('no such folder', out=sys.argv[1], settings=FeaturizeSettings(encoders='resnet5O'))\n"
        "except InputError as error: print(str(error)[:60], 'keras' in sys.modules)"
    )
    said = printed_by(script, str(tmp_path / "run"))
    assert said == "`encoders` resnet5o: no such encoder; did you mean resnet50? False\n"


def test_encoders_by_text():
    assert EncoderChoice.parse("InceptionV3:mixed7+mixed8") == EncoderChoice(
        "inceptionv3", ("mixed7", "mixed8")
    )
    assert str(EncoderChoice("inceptionv3", ("mixed7", "mixed8"))) == "inceptionv3:mixed7+mixed8"
    for text in ("", "x:", ":a", "x:a++b"):
        with refusing("write NAME or NAME:LAYER"):
            EncoderChoice.parse(text)


def test_weights_per_encoder():
    options = ("random", "VGG16=/w/vgg.h5", "resnet50=imagenet")
    expected = {"vgg16": "/w/vgg.h5", "resnet50": "imagenet", "inceptionv3": "random"}
    assert {name: weights_of(options, name) for name in expected} == expected
    assert weights_of((), "vgg16") == "imagenet"
    assert weights_of(("/path/with=sign.h5",), "vgg16") == "/path/with=sign.h5"
    check_encoder_names(
        (), (*options, "timm-resnet18-a1_in1k=x", "googlenet=x.npz", "/path/with=sign.h5")
    )
    with refusing("^`weights` VGG17=x: no such encoder; did you mean vgg19"):
        check_encoder_names((), ("VGG17=x",))
