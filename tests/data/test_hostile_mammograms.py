"""DICOM files, texts and tables of mammograms that lie, never end, or name what is not theirs."""

import io
import os
import struct
import time
import warnings
import zipfile

import numpy as np
import pydicom
import pytest
from bchisto.core import ImageError
from bchisto.core.formats import read_header
from bchisto.data import decode_image, read_dataset
from miniatures import MASS, SQUARE, overlay, write_ddsm, write_dicom, write_inbreast
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit
from sample_trees import findings

NUMBER = "9" * 5000
GREY = np.add.outer(np.arange(20) * 5, np.arange(30) * 3).astype(np.uint8)


@pytest.fixture
def values(rng):
    return rng.integers(100, 4000, (20, 30)).astype(np.uint16)


def packed(path, syntax, *, frame=None):
    """Write a DICOM file of GREY in another transfer syntax."""
    data = pydicom.dcmread(write_dicom(path, GREY, implicit=False))
    data.file_meta.TransferSyntaxUID = syntax
    if frame is not None:
        data.PixelData = pydicom.encaps.encapsulate([frame])
        data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def refused(path, match, *, header=True):
    start = time.process_time()
    for function in (read_header, decode_image) if header else (decode_image,):
        with pytest.raises(ImageError, match=match) as error:
            function(path)
        assert "\n" not in str(error.value)
    assert time.process_time() - start < 5


def test_deflated_elements_are_refused_and_others_bounded(tmp_path, monkeypatch):
    from bchisto.core.formats import limits

    path = packed(tmp_path / "b.dcm", DeflatedExplicitVRLittleEndian)
    refused(path, r"b\.dcm: its elements are deflated, which is not read; save it uncompressed")
    monkeypatch.setattr(limits, "DICOM_READS", 1000)
    many = struct.pack("<HH2sH", 0x7FE1, 0x1010, b"SH", 0) * 1000
    plain = tmp_path / "a.dcm"
    plain.write_bytes(write_dicom(plain, GREY, implicit=False).read_bytes() + many)
    refused(plain, "more elements than an image has")


def test_sequences_nested_5000_deep(tmp_path, values):
    path = write_dicom(tmp_path / "a.dcm", values, implicit=False)
    data = path.read_bytes()
    start = 144 + struct.unpack_from("<I", data, 140)[0]
    one = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    path.write_bytes(data[:start] + one * 5000 + data[start:])
    refused(path, r"a\.dcm: its header cannot be read \(it is nested too deep\)")


@pytest.mark.parametrize(("old", "new"), [
    (b"IS\x02\x001 ", b"IS\x04\x00inf "),
    (b"IS\x02\x001 ", b"IS\x04\x00x\\y "),
    (b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00QQ"),
    (b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00UN"),
    (b"\x28\x00\x11\x00US\x02", b"\x28\x00\x11\x00US\x01"),
    (b"\x28\x00\x02\x00US\x02\x00\x01\x00", b"\x28\x00\x02\x00US\x02\x00\x00\x00"),
])  # fmt: skip
def test_a_header_of_no_numbers(tmp_path, values, old, new):
    path = write_dicom(tmp_path / "a.dcm", values, implicit=False, NumberOfFrames=1)
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    refused(path, r"a\.dcm: ")


def strange(path, tag, kind, text):
    """Write a value that pydicom would not."""
    with pydicom.config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(path)
        number = pydicom.tag.Tag(tag)
        data._dict[number] = pydicom.dataelem.RawDataElement(number, kind, len(text), text.encode(), 0, True, True)
        data.save_as(path)
    return path


NUMBERS = ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth")


@pytest.mark.parametrize(
    ("tag", "bad"),
    [*((tag, bad) for tag in NUMBERS for bad in ("nan", "inf", "-inf")), ("RescaleSlope", "0"), ("WindowWidth", "0")],
)
def test_numbers_that_make_no_grey_levels(tmp_path, values, tag, bad):
    numbers = dict(zip(NUMBERS, (1, 0, 2000, 1500), strict=True))
    path = strange(write_dicom(tmp_path / "a.dcm", values, **numbers), tag, "DS", bad)
    refused(path, r"a\.dcm: ", header=False)


def test_bits_that_are_not_read(tmp_path, values):
    path = write_dicom(tmp_path / "a.dcm", values, implicit=False)
    data = path.read_bytes()
    allocated, stored = b"\x28\x00\x00\x01US\x02\x00\x10\x00", b"\x28\x00\x01\x01US\x02\x00\x10\x00"
    one = data.replace(allocated, allocated[:-2] + b"\1\0").replace(stored, stored[:-2] + b"\1\0")
    path.write_bytes(one)
    refused(path, "1 of 1 bits per pixel; only 8, 16 or 32 are read")
    path.write_bytes(data.replace(stored, stored[:-2] + b"\x20\0"))
    refused(path, "32 of 16 bits per pixel")


def test_packed_pixels_of_another_size_or_cut_off(tmp_path):
    import pictures
    from PIL import Image

    whole = pictures.jpeg(GREY)
    path = packed(tmp_path / "a.dcm", JPEGBaseline8Bit, frame=whole)
    assert np.abs(decode_image(path)[..., 0].astype(int) - stretched(GREY)).max() <= 6
    refused(packed(path, JPEGBaseline8Bit, frame=whole[:-60] + b"\xff\xd9"), "pixels are missing", header=False)
    large = pictures.jpeg(np.zeros((4000, 4000), np.uint8))
    refused(packed(path, JPEGBaseline8Bit, frame=large), "a JPEG of 4000x4000 pixels is in it", header=False)
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, "JPEG2000")
    data = buffer.getvalue()
    assert np.abs(decode_image(packed(path, JPEG2000Lossless, frame=data))[..., 0] - stretched(GREY)).max() <= 1
    start = data.index(b"\xff\x4f\xff\x51") + 8
    huge = data[:start] + struct.pack(">II", 60_000, 60_000) + data[start + 8 :]
    refused(packed(path, JPEG2000Lossless, frame=huge), "a JPEG 2000 of 60000x60000 pixels is in it", header=False)


def stretched(grey):
    return np.rint((grey.astype(float) - grey.min()) / (int(grey.max()) - int(grey.min())) * 255)


# ---- texts of the DDSM


@pytest.fixture
def case(tmp_path):
    write_ddsm(tmp_path, "B-3159-1", {"LEFT_CC": overlay((MASS, "MALIGNANT", [SQUARE]))}, convert=True)
    return tmp_path


@pytest.mark.parametrize("name", ["/etc/passwd", "../../B-3159-1", "*", "..", "B" * 5000, "B\0", "~root", "a/b", "%s"])
def test_the_name_of_a_case_becomes_no_path(case, name, cli):
    path = case / "B-3159-1.ics"
    path.write_text(path.read_text().replace("filename B-3159-1", f"filename {name}"))
    errors = findings(read_dataset(case, dataset="ddsm"), "error")
    assert len(errors) == 1
    assert "is not the name of a case; download the file again" in errors[0]
    code, _, err = cli("data", "list", "--images", case, "--dataset", "ddsm")
    assert code == 2
    assert "is not the name of a case" in err
    assert len(err.splitlines()) < 4


@pytest.mark.parametrize(("file", "old", "new"), [
    ("B-3159-1.ics", "LINES 96", f"LINES {NUMBER}"),
    ("B-3159-1.ics", "PIXELS_PER_LINE 64", f"PIXELS_PER_LINE {NUMBER}"),
    ("B-3159-1.ics", "BITS_PER_PIXEL 12", f"BITS_PER_PIXEL {NUMBER}"),
    ("B-3159-1.ics", "RESOLUTION 50", f"RESOLUTION {NUMBER}"),
    ("B-3159-1.ics", "LEFT_CC LINES", "LEFT_CC LINES 96 PIXELS_PER_LINE 64 BITS_PER_PIXEL 12 RESOLUTION 50 OVERLAY\n"
     "LEFT_CC LINES"),
    ("B_3159_1.LEFT_CC.OVERLAY", "ABNORMALITIES 1", f"ABNORMALITIES {NUMBER}"),
    ("B_3159_1.LEFT_CC.OVERLAY", "ABNORMALITY 1", f"ABNORMALITY {NUMBER}"),
    ("B_3159_1.LEFT_CC.OVERLAY", "OUTLINES 1", f"OUTLINES {NUMBER}"),
    ("B_3159_1.LEFT_CC.OVERLAY", "10 12 2", f"{NUMBER} 12 2"),
    ("B_3159_1.LEFT_CC.OVERLAY", "10 12 2", f"10 12 {NUMBER}"),
])  # fmt: skip
def test_numbers_of_5000_digits(case, file, old, new):
    path = case / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    errors = findings(read_dataset(case, dataset="ddsm"), "error")
    assert errors
    assert all(file in error and len(error) < 600 and "\n" not in error for error in errors)


def test_an_ics_of_many_megabytes_is_not_read(case):
    with (case / "B-3159-1.ics").open("a") as handle:
        handle.write("FILM \n" * 500_000)
    assert findings(read_dataset(case, dataset="ddsm"), "error") == [
        "B-3159-1.ics: too large for an .ics; replace it by the published file"
    ]


# ---- what a patient is called

PLANTED = ("Mustermann", "Erika", "PID-774411", "19520229", "Elbklinik", "ACC-5531", "Lindenweg")


def write_personal(root):
    """Write INbreast as a hospital might export it: names in the headers, in the table, in sequences and in reports."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    rows = write_inbreast(root, ["1", "2", "4a", "5"] * 3)
    for path in sorted((root / "ALL-IMGS").iterdir()):
        data = pydicom.dcmread(path)
        data.PatientName = "Mustermann^Erika"
        data.PatientID, data.PatientBirthDate = "PID-774411", "19520229"
        data.InstitutionName, data.AccessionNumber = "Elbklinik", "ACC-5531"
        data.PatientAddress, data.PatientComments = "Lindenweg 5", "Mustermann"
        data.StudyDescription, data.ImageComments = "Elbklinik", "Erika"
        other = Dataset()
        other.PatientName, other.PatientID = "Mustermann^Erika", "PID-774411"
        data.ReferencedImageSequence = Sequence([other])
        data.file_meta.ImplementationVersionName = "Elbklinik"
        data.save_as(path)
    rows = [["PID-774411", "19520229", *row[2:4], "19520229", *row[5:]] for row in rows]
    from miniatures import write_inbreast_csv

    write_inbreast_csv(root, rows)
    (root / "MedicalReports").mkdir()
    (root / "MedicalReports" / "Mustermann.txt").write_text("Erika Mustermann")


def spilled(folder):
    """Return which planted words stand in a file below a folder, in a name, or within an archive or a store."""
    import h5py

    found = set()

    def look(where, content):
        for word in PLANTED:
            if word.encode() in content or word.encode("utf-16-le") in content:
                found.add((str(where), word))

    for path in folder.rglob("*"):
        look(path, os.fsencode(path.name))
        if not path.is_file():
            continue
        look(path, path.read_bytes())
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    look(f"{path}:{name}", name.encode() + archive.read(name))
        elif h5py.is_hdf5(path):
            with h5py.File(path) as file:
                file.visititems(lambda name, item, path=path: look(path, str(dict(item.attrs)).encode()))
                for item in [one for one in file.values() if isinstance(one, h5py.Dataset) and one.dtype.kind in "OS"]:
                    look(path, b" ".join(np.atleast_1d(item[()]).ravel().tolist()))
    return found


def test_no_output_names_a_patient(tmp_path, cli, tiny_options):
    """All that the commands write and say, also with -vv, of whole files and of damaged ones."""
    root, run = tmp_path / "release", tmp_path / "run"
    write_personal(root)
    said = []

    def ask(*words, expected=0):
        code, out, err = cli(*words)
        said.append(out + err)
        assert code == expected, err

    ask("data", "list", "--images", root)
    ask("data", "check", "--images", root, "--html", tmp_path / "check.html", "-vv")
    plain = ("--encoder", "tiny", "--weights", "random", "--augmentations", 2, "--crops", 2, "--jobs", 1)
    view = ("--view", "1.0:32", "--stain", "none", "--color-range", 1, 1)
    ask("featurize", "--images", root, "--out", run, *plain, *view, "-vv")
    ask("boost", "--out", run, "--folds", "3", "--seeds", 1, "--param", "min_data_in_leaf=1", "--jobs", 1)
    more = ("--html", tmp_path / "p.html")
    ask("predict", run, "--images", root, "--weights", "random", "--out", tmp_path / "p.csv", "--jobs", 1, *more)
    ask("evaluate", run, "--out", tmp_path / "evaluated")
    ask("runs", "list", tmp_path)
    damaged = sorted((root / "ALL-IMGS").iterdir())
    data = damaged[0].read_bytes()
    damaged[0].write_bytes(data[:-500])
    damaged[1].write_bytes(data.replace(b"MG", b"\xff\xff", 1)[: len(data) // 20])
    damaged[2].write_bytes(data.replace(b"12", b"Er", 40))
    strange(damaged[3], "NumberOfFrames", "IS", "Erika ")  # pydicom says what it finds
    strange(damaged[4], "WindowCenter", "DS", "Mustermann")
    strange(damaged[5], "SpecificCharacterSet", "CS", "Elbklinik ")
    ask("data", "check", "--images", root, "--decode", "-vv", "--no-copies", expected=1)
    text = "\n".join(said)
    assert [word for word in PLANTED if word in text] == []
    assert {one for one in spilled(tmp_path) if "/release/" not in one[0]} == set()
