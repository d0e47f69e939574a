"""Every kind of picture is decoded to the pixels that it shows by its standard, or refused; other readers agree."""

import numpy as np
import pictures
import pytest
from bchisto.core import ImageError
from bchisto.core.formats import read_header
from bchisto.data import decode_image, read_dataset, resize_image
from conftest import refuses
from miniatures import write_dicom
from PIL import Image

KINDS = pictures.kinds()


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_decoded_right_or_refused(tmp_path, name):
    suffix, data, expected, tolerance = KINDS[name]
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(data)
    if expected is None:
        refuses(ImageError, r"a\.tif: .*; save it", decode_image, path)
        return
    found = decode_image(path)
    header = read_header(path)
    assert (header.height, header.width) == found.shape[:2]
    assert found.shape == expected.shape
    assert found.dtype == np.uint8
    assert np.abs(found - expected.astype(np.float64)).max() <= tolerance


def test_an_orientation_that_is_none_is_passed_over(tmp_path):
    image = np.zeros((20, 30, 3), np.uint8)
    for number in (0, 9, 65535):
        (tmp_path / "a.png").write_bytes(
            pictures.png(image, depth=8, colour=2, before=[(b"eXIf", pictures.exif_block(number))])
        )
        assert decode_image(tmp_path / "a.png").shape == (20, 30, 3)
        (tmp_path / "a.tif").write_bytes(
            pictures.tiff(image, photometric="rgb", **pictures.turned(number))
        )
        assert decode_image(tmp_path / "a.tif").shape == (20, 30, 3)


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_a_turned_mammogram_is_stretched_and_turned(tmp_path, suffix):
    values = np.random.default_rng(3).integers(100, 4000, (20, 30), dtype=np.uint16)
    if suffix == "tif":
        data = pictures.tiff(values, photometric="minisblack", **pictures.turned(6))
    else:
        data = pictures.png(
            values[..., None], depth=16, colour=0, before=[(b"eXIf", pictures.exif_block(6))]
        )
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(data)
    low, high = float(values.min()), float(values.max())
    stretched = pictures.grey3(np.rint((values - low) / (high - low) * 255))
    found = decode_image(path, stretch_deep=True)
    assert np.abs(found - pictures.upright(stretched, 6)).max() <= 1


def test_reading_a_header_decodes_nothing(tmp_path):
    """A PNG cut off behind its first rows still has a header; it fails when it is decoded."""
    picture = np.random.default_rng(4).integers(0, 256, (192, 256, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:2000])
    assert read_header(tmp_path / "a.png").width == 256
    with pytest.raises(
        ImageError, match=r"a\.png: cannot be decoded, the file is truncated or damaged"
    ):
        decode_image(tmp_path / "a.png")


def test_resizing_halves_and_keeps_the_mean():
    picture = np.random.default_rng(4).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    half = resize_image(picture, 0.5)
    assert (half.shape, half.dtype) == ((12, 16, 3), np.uint8)
    assert abs(half.mean() - picture.mean()) < 6
    assert resize_image(picture, 1.0) is picture


# grey levels of DICOM files against the standard's formulas


@pytest.fixture
def values(rng):
    return rng.integers(100, 4000, (20, 30)).astype(np.uint16)


def linear(values, center, width):
    """PS3.3, C.11.2.1.2.1, mapped to 0..255."""
    share = (values.astype(np.float64) - (center - 0.5)) / (width - 1) + 0.5
    return np.rint(255 * np.clip(share, 0, 1))


def close(image, expected):
    assert image.shape == (*expected.shape, 3)
    assert image.dtype == np.uint8
    assert np.abs(image - expected[:, :, None]).max() <= 1


def test_without_a_window_the_range_is_used(tmp_path, values):
    path = write_dicom(tmp_path / "a.dcm", values, bits=12)
    span = values.astype(np.float64) - values.min()
    close(decode_image(path), np.rint(255 * span / span.max()))
    header = read_header(path)
    assert (header.format, header.width, header.height, header.mode) == (
        "DICOM",
        30,
        20,
        "MONOCHROME2, 12 bits",
    )


@pytest.mark.parametrize(
    ("elements", "center", "width"),
    [
        ({"implicit": True, "WindowCenter": 2000, "WindowWidth": 1500}, 2000, 1500),
        ({"implicit": False, "WindowCenter": 2000, "WindowWidth": 1500}, 2000, 1500),
        # the first of several counts
        ({"WindowCenter": [2000, 1], "WindowWidth": [1500, 2]}, 2000, 1500),
        # in rescaled units: twice the values, less 1000
        (
            {
                "WindowCenter": 3000,
                "WindowWidth": 3000,
                "RescaleSlope": "2",
                "RescaleIntercept": "-1000",
            },
            2000.25,
            1500.5,
        ),
    ],
)
def test_a_window_is_applied(tmp_path, values, elements, center, width):
    path = write_dicom(tmp_path / "a.dcm", values, bits=12, **elements)
    close(decode_image(path), linear(values, center, width))


def test_a_look_up_table_is_applied(tmp_path, values):
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    table = Dataset()
    steps = np.rint(np.linspace(0, 1023, 4096) ** 2 / 1023).astype(np.uint16)
    table.LUTDescriptor = [4096, 0, 10]
    table.add_new("LUTData", "US", steps.tolist())
    path = write_dicom(
        tmp_path / "a.dcm", values, bits=12, implicit=False, VOILUTSequence=Sequence([table])
    )
    close(decode_image(path), np.rint(255.0 * steps.astype(np.float64)[values] / 1023.0))


def test_monochrome1_is_inverted(tmp_path, values):
    plain = decode_image(write_dicom(tmp_path / "a.dcm", values, bits=12))
    inverted = decode_image(
        write_dicom(tmp_path / "b.dcm", values, bits=12, photometric="MONOCHROME1")
    )
    assert np.array_equal(inverted, 255 - plain)


def test_signed_and_flat_images(tmp_path):
    signed = np.array([[-100, 0, 100, 155]], np.int16)
    assert decode_image(write_dicom(tmp_path / "a.dcm", signed))[0, :, 0].tolist() == [
        0,
        100,
        200,
        255,
    ]
    flat = np.full((3, 3), 7, np.uint16)
    assert decode_image(write_dicom(tmp_path / "b.dcm", flat)).max() == 0


def test_a_folder_of_dicom_files_is_a_dataset(tmp_path, values):
    for name in ("benign", "malignant"):
        write_dicom(tmp_path / name / "a.dcm", values, bits=12)
    assert read_dataset(tmp_path).class_counts() == {"benign": 1, "malignant": 1}
