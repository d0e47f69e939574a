"""What a normalisation made of an image, against counts in plain NumPy; on real images too."""

import pickle
import re

import numpy as np
import pytest
from bchisto.stains import StainEstimate, check_stains, make_normalizer
from bchisto.stains.check import DoubtReason, doubt_causes


def lost(before, after):
    """The share of pixels with a green density of at least 0.15 that are white afterwards, counted in float64."""
    stained = -np.log((before[..., 1].astype(float) + 1) / 240) >= 0.15
    return (after[stained] >= 235).all(axis=1).mean()


def checked(image, method):
    after, estimate = make_normalizer(method).normalize_with_estimate(image)
    return check_stains(image, after, estimate), after


def test_tissue_that_turns_white_is_counted(he_image, pale_image):
    fine, after = checked(he_image, "macenko")
    assert fine.reasons == ()
    assert fine.whitened == pytest.approx(lost(he_image, after))
    check, after = checked(pale_image, "macenko")
    assert check.whitened == pytest.approx(lost(pale_image, after))
    assert check.whitened > 0.2
    assert any("of the stained tissue turned white" in reason for reason in check.reasons)
    density = -np.log((pale_image.astype(float) + 1) / 240)
    assert check.basis == pytest.approx(
        (density >= 0.15).all(axis=2).sum() / (density[..., 1] >= 0.15).sum()
    )
    robust, _ = checked(pale_image, "macenko-robust")
    assert robust.reasons == ()
    assert robust.whitened < 0.01


def test_glass_is_not_lost_tissue():
    glass = np.full((20, 20, 3), 238, np.uint8)
    assert check_stains(glass, np.full_like(glass, 255), None).whitened == 0


@pytest.mark.parametrize(
    ("stains", "tissue", "reason"),
    [
        ([[0.65, 0.07], [0.70, 0.99], [0.29, 0.11]], 0.5, None),
        ([[0.65, 0.07], [0.70, 0.99], [0.29, 0.11]], 0.04, r"rest on 4\.0 % of the stained tissue"),
        ([[0.65, -0.2], [0.70, 0.97], [0.29, 0.11]], 0.5, "a stain vector is negative"),
        ([[0.55, 0.50], [0.75, 0.78], [0.37, 0.37]], 0.5, "two stains are 3 degrees apart"),
        ([[0.20, 0.07], [0.05, 0.99], [0.98, 0.11]], 0.5, "its haematoxylin is 6[0-9] degrees off"),
        ([[0.65, 0.20], [0.70, 0.30], [0.29, 0.93]], 0.5, "its eosin is 6[0-9] degrees off"),
    ],
)
def test_stains_out_of_bounds_are_named(stains, tissue, reason):
    stains = np.array(stains) / np.linalg.norm(stains, axis=0)
    image = np.full((20, 20, 3), (200, 120, 170), np.uint8)
    check = check_stains(image, image, StainEstimate(stains, np.ones(2), tissue, 0.0))
    if reason is None:
        assert check.reasons == ()
    else:
        assert len(check.reasons) == 1
        assert re.search(reason, check.reasons[0])


@pytest.mark.slow
def test_on_real_images_the_robust_estimate_loses_no_tissue(shared):
    from bchisto.data import decode_image, resize_image

    paths = sorted((shared / "data" / "breakhis").rglob("*.png"))[::13]
    flagged = dict.fromkeys(("macenko", "macenko-robust"), 0)
    for path in paths:
        image = resize_image(decode_image(path), 0.5)
        for method in flagged:
            check, after = checked(image, method)
            assert check.whitened == pytest.approx(lost(image, after))
            flagged[method] += bool(check.reasons)
    assert flagged["macenko"] > 0
    assert flagged["macenko-robust"] == 0


def test_a_reason_keeps_its_cause_between_processes():
    """Worker processes send reasons by pickle; `doubt_causes` needs the cause."""
    sent = pickle.loads(
        pickle.dumps(DoubtReason("its eosin has the colour of an ink", "ink or black"))
    )
    assert sent == "its eosin has the colour of an ink"
    assert list(
        doubt_causes([[sent], ["a stain vector is negative"]], images=2, stain="macenko")
    ) == [
        "ink or black",
        "pale tissue",
    ]
