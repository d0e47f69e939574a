"""The factor of float16 that a run recorded is used again only with the weights it was chosen for."""

import json
from types import SimpleNamespace

from bchisto.featurize.plan import _recorded_scale


def test_a_recorded_factor_is_of_the_same_weights(tmp_path):
    settings = {"settings": {"weights_sha256": "a", "float16_scale": 0.5}}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    scales = [
        _recorded_scale(tmp_path / "none.h5", tmp_path, SimpleNamespace(weights_sha256=digest))
        for digest in "ab"
    ]
    assert scales == [0.5, None]
