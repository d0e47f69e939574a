"""What a cross-validation says of its bundle."""

import numpy as np
import pytest
from bchisto.core.models.bundles import BundleFacts
from bchisto.crossval.outputs import Outputs
from written_tables import predictions


@pytest.mark.parametrize(
    ("groups", "names", "unit"),
    [
        (("p", "p", "q", "q"), {"image": "image", "group": "patient"}, "patients"),
        (("p", "p", "q", "q"), {}, "groups"),
        ((None,) * 4, {"image": "image", "group": "patient"}, "images"),
    ],
)
def test_a_temperature_is_drawn_by_units(groups, names, unit):
    """The penalty is that of five more independent units: patients where they are known."""
    p = np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.4, 0.6]])
    table = predictions(p, "abaa", "ab", folds=[1, 1, 2, 2], groups=groups)
    outputs = Outputs(None, tables=[table], methods=(), settings={}, picture=lambda _: None)
    text = outputs._calibration(BundleFacts(classes=("a", "b"), protocol="", temperature=1.2), names)["text"]
    assert f"a penalty that weighs as much as five {unit}" in text
