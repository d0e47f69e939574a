"""Encoders of other packages that are not right are named when they are asked for, and stop nobody else."""

import sys

import pytest
from bchisto.core import InputError
from bchisto.encoders import get_spec, list_encoders
from own_process import printed_by


def test_entry_points_that_are_not_right(tmp_path, monkeypatch):
    code = (
        "from bchisto.encoders import EncoderSpec\ncrossed = EncoderSpec('other', print, print)\ndef none(): return 4\n"
    )
    (tmp_path / "theirs.py").write_text(code)
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    offered = {"absent": "theirs_gone:spec", "odd": "theirs:none", "mine": "theirs:crossed", "Convs": "theirs:none"}
    lines = [f"{name} = {place}" for name, place in offered.items()]
    (info / "entry_points.txt").write_text("\n".join(["[bchisto.encoders]", *lines]) + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert {"absent", "odd", "convs", "resnet50"} <= set(list_encoders())
    for name, message in [
        ("absent", r"encoder absent: its entry point cannot be loaded .*theirs_gone.*report this to .* theirs"),
        ("odd", "encoder odd: its entry point gives no EncoderSpec; report this to its package, theirs"),
        ("mine", "encoder mine: its entry point gives one called other; report this to its package, theirs"),
        ("convs", r"encoder convs: several packages offer it \(theirs and bchisto-convs\)"),
    ]:
        with pytest.raises(InputError, match=message):
            get_spec(name)
    assert get_spec("ResNet50").name == "resnet50"
    sys.modules.pop("theirs", None)


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
