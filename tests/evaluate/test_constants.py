"""The values that the page of methods gives of bchisto's own constants are those of the code."""

import re
from dataclasses import fields

import numpy as np
from bchisto.apps.next import curve
from bchisto.apps.next.choice import NextSettings
from bchisto.evaluate import calibration, conclusions, predictions
from bchisto.evaluate.intervals import Units
from conftest import needs_repository
from documented import text_of

RANDOM_SHARE = {field.name: field.default for field in fields(NextSettings)}["random_share"]

VALUES = {
    "_LARGE": conclusions._LARGE,
    "UNSURE_SHARE": calibration.UNSURE_SHARE,
    "random_share": RANDOM_SHARE,
    "_SHARES": curve._SHARES,
    "_REPEATS": curve._REPEATS,
    "POOLED_APART": conclusions.POOLED_APART,
    "FEW_IMAGES": predictions.FEW_IMAGES,
    "SUREST_SHARE": calibration.SUREST_SHARE,
}


@needs_repository
def test_constants_that_were_not_simulated():
    """Each is named with its value."""
    (line,) = re.findall(r"(?m)^- \*\*Not simulated\*\*: (.*)$", text_of("docs/methods.md"))
    written = {
        name: tuple(float(number) for number in numbers.split(", "))
        for name, numbers in re.findall(r"`(\w+)` (\d[\d.]*(?:, [\d.]*\d)*)", line)
    }
    assert written == {name: tuple(np.atleast_1d(value)) for name, value in VALUES.items()}


@needs_repository
def test_a_unit_outweighs_the_others_with_more_than_half_of_the_rows():
    assert "no interval if one unit has more than half of the rows" in text_of("docs/methods.md")
    for rows, reason in ((6, True), (5, False)):
        member = np.array([0] * rows + [1, 2, 3, 4, 5][: 10 - rows])
        assert bool(Units(member).outweighed(np.ones(10, bool))) == reason


@needs_repository
def test_twenty_labels_know_an_accuracy_within_25_points():
    """Of 100 labels of which `random_share` is drawn at random."""
    assert "20 of 100 labels: accuracy within 25 points" in text_of("docs/methods.md")
    count = round(100 * RANDOM_SHARE)
    units = Units(np.arange(count))
    shares = [units.share(np.arange(count) < right) for right in range(count + 1)]
    widest = max(max(share.high - share.value, share.value - share.low) for share in shares)
    assert 0.24 < widest < 0.25
