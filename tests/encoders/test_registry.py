"""Encoders of other packages that are not right are named when they are asked for, and stop nobody else."""

from own_process import printed_by


def test_names_of_keras_are_those_of_keras():
    """They are written down, so that a misspelt one is refused before Keras is loaded."""
    from bchisto.encoders.registry import _OF_KERAS, _applications

    assert sorted(_OF_KERAS) == sorted(_applications())


def test_a_misspelt_name_is_refused_before_anything_is_read(tmp_path):
    script = (
        "import sys; from bchisto.core import InputError\n"
        "from bchisto.featurize import featurize, FeaturizeSettings\n"
        "try: featurize('no such folder', out=sys.argv[1], settings=FeaturizeSettings(encoders='resnet5O'))\n"
        "except InputError as error: print(str(error)[:60], 'keras' in sys.modules)"
    )
    said = printed_by(script, str(tmp_path / "run"))
    assert said == "`encoders` resnet5o: no such encoder; did you mean resnet50? False\n"
