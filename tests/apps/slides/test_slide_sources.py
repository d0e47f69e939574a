"""Which files are a slide, and whose micrometres per pixel are used."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from bchisto.apps.slides import CutSettings
from bchisto.apps.slides.files import list_slides
from bchisto.apps.slides.tiles import TileGrid
from bchisto.core import InputError
from PIL import Image
from slide_files import damage, patch, table, tissue_slide

pytest.importorskip("openslide")

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"


def write_dicom(path, image, *, series, kind="VOLUME", mpp=0.5, garbage=False, tile=256):
    """Write an instance of a whole slide: tiles in JPEG, row by row, with a patient that must stay unread."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit, generate_uid

    frames = []
    for top in range(0, image.shape[0], tile):
        for left in range(0, image.shape[1], tile):
            part = image[top : top + tile, left : left + tile]
            frame = np.full((tile, tile, 3), 255, np.uint8)
            frame[: part.shape[0], : part.shape[1]] = part
            if garbage:
                frames.append(b"garbage!")
                continue
            coded = io.BytesIO()
            Image.fromarray(frame).save(coded, "JPEG", quality=98, subsampling=0)
            frames.append(coded.getvalue())
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = WHOLE_SLIDE
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[series, path.name])
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    data = FileDataset(path, {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = WHOLE_SLIDE, meta.MediaStorageSOPInstanceUID
    data.ImageType = ["ORIGINAL", "PRIMARY", kind, "NONE"]
    data.Modality, data.PatientName, data.PatientID = "SM", "Doe^Jane", "4711"
    data.SeriesInstanceUID = generate_uid(entropy_srcs=[series])
    data.StudyInstanceUID, data.FrameOfReferenceUID = "1.2.3", "1.2.3.4"
    data.SamplesPerPixel, data.PlanarConfiguration = 3, 0
    data.PhotometricInterpretation = "YBR_FULL_422"
    data.NumberOfFrames, data.Rows, data.Columns = len(frames), tile, tile
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.TotalPixelMatrixRows, data.TotalPixelMatrixColumns = image.shape[:2]
    data.DimensionOrganizationType = "TILED_FULL"
    measures, groups, origin = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [mpp / 1000] * 2
    groups.PixelMeasuresSequence = [measures]
    data.SharedFunctionalGroupsSequence = [groups]
    origin.XOffsetInSlideCoordinateSystem = origin.YOffsetInSlideCoordinateSystem = 0
    data.TotalPixelMatrixOriginSequence = [origin]
    data.PixelData = encapsulate(frames)
    data["PixelData"].is_undefined_length = True
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def write_series(folder, image, series, *, prefix="", factors=(1, 4, 16)):
    """Write the levels of a slide, its label, which no one can decode, and its overview."""
    for number, factor in enumerate(factors):
        level = np.ascontiguousarray(image[::factor, ::factor])
        # the largest is not the first
        name = f"{prefix}{9 - number}.dcm"
        write_dicom(folder / name, level, series=series, mpp=0.5 * factor)
    for kind in ("LABEL", "OVERVIEW", "THUMBNAIL"):
        path = folder / f"{prefix}0 {kind}.dcm"
        write_dicom(path, patch(2000, 1400), series=series, kind=kind, garbage=True)


def test_a_slide_in_dicom(tmp_path, completed, monkeypatch):
    image = patch(1500, 1100)
    write_series(tmp_path / "slides" / "P1-ä b", image, "one")
    (tmp_path / "slides" / "P1-ä b" / "below").mkdir()
    monkeypatch.chdir(tmp_path / "slides" / "P1-ä b" / "below")
    assert [slide.name for slide in list_slides([Path("..")])] == ["P1-ä b"]
    monkeypatch.chdir(tmp_path)
    write_series(tmp_path / "slides" / "P2", image[::-1], "two", prefix="a")
    write_series(tmp_path / "slides" / "P2", image[:, ::-1], "three", prefix="b")
    slides = list_slides([tmp_path / "slides"])
    assert [(slide.name, slide.path.name, slide.relative) for slide in slides] == [
        ("P1-ä b", "9.dcm", "P1-ä b.dcm"),
        ("a9", "a9.dcm", "P2/a9.dcm"),
        ("b9", "b9.dcm", "P2/b9.dcm"),
    ]
    with slides[0].open() as slide:
        assert (slide.width, slide.height, slide.mpp) == (1500, 1100, 0.5)
        read = slide.read(517, 263, 300, 200, 0.5).astype(int)
        assert np.abs(read - image[263:463, 517:817]).mean() < 2
        assert (slide.read(1490, 1090, 30, 30, 0.5)[10:, 10:] == 255).all()
        small = slide.read(0, 0, 93, 68, 8.0).astype(int)
        assert np.abs(small - image[::16, ::16][:68, :93]).mean() < 4
    # each file of a folder, as a shell names them
    one = sorted((tmp_path / "slides" / "P1-ä b").iterdir())
    assert [slide.name for slide in list_slides(one)] == ["P1-ä b"]
    with pytest.raises(InputError, match="only labels or overviews"):
        list_slides([path for path in one if "LABEL" in path.name])
    out = tmp_path / "fields"
    completed("slides cut T/slides --field 200 --group-from ^P. --out {}", out)
    rows = table(out / "manifest.csv")
    assert {(row["wsi"], row["group"]) for row in rows} == {
        ("P1-ä b", "P1"),
        ("a9", "P2"),
        ("b9", "P2"),
    }
    first = next(
        row for row in rows if (row["wsi"], row["x"], row["y"]) == ("P1-ä b", "400", "400")
    )
    pixels = np.asarray(Image.open(out / first["path"])).astype(int)
    assert np.abs(pixels - image[400:800, 400:800]).mean() < 2


def test_a_mammogram_is_no_slide(tmp_path):
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.2"
    meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = (
        "1.2.3",
        pydicom.uid.ExplicitVRLittleEndian,
    )
    data = FileDataset(tmp_path / "m.dcm", {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID, data.SeriesInstanceUID = (
        meta.MediaStorageSOPClassUID,
        "1.2.3",
        "1.2",
    )
    data.PatientName = "Doe^Jane"
    data.save_as(tmp_path / "m.dcm", enforce_file_format=True)
    (tmp_path / "n.dcm").write_bytes(b"nothing")
    slides = list_slides([tmp_path])
    assert [slide.name for slide in slides] == ["m", "n"]
    for slide in slides:
        with pytest.raises(
            InputError, match=r"not a whole slide .*; if not one, give its folder"
        ) as caught:
            slide.open()
        assert "Doe" not in str(caught.value)


def test_folders_hold_slides_of_every_suffix(tmp_path):
    names = ("a.btf", "b.ome.btf", "c.ome.tif", "d.TIF", "e.svs", "f.qptiff", "g.ndpi")
    for name in (*names, "h.txt", ".hidden.tif", "i.geojson"):
        (tmp_path / name).touch()
    assert [slide.path.name for slide in list_slides([tmp_path])] == list(names)


def fields(out):
    """The side of the first field in the pixels of each slide."""
    return {
        path.parent.name: round(json.loads(path.read_text())["size"][2], 3)
        for path in sorted(out.glob("fields/*/fields.json"))
    }


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """Slides that state 0.25, 0.4 and nothing."""
    root = tmp_path_factory.mktemp("ü slides")
    for name, mpp in (("S 1", 0.25), ("S2", 0.4), ("S3", None)):
        tissue_slide(root / f"{name}.tif", 1500, 1100, ord(name[-1]), mpp=mpp)
    return root


def test_the_option_goes_before_the_table_and_that_before_the_file(slides, tmp_path, completed):
    rows = tmp_path / "patients.csv"
    rows.write_text('slide,patient,MPP\nS 1.tif,A,0.2\nS2,B,\nS3,C,"0,5"\n')
    words = ("slides cut {} --field 100 --scale 2 --patients", slides, rows)
    _, err = completed(*words, "--out", tmp_path / "one")
    assert fields(tmp_path / "one") == {"S 1": 500, "S2": 250, "S3": 200}
    said = "S 1: states 0.25 micrometres per pixel; 0.2, which is given, is used"
    assert err.count("micrometres per pixel") == err.count(said) == 1
    _, err = completed(*words, "--mpp", 0.5, "--out", tmp_path / "two")
    assert fields(tmp_path / "two") == dict.fromkeys(("S 1", "S2", "S3"), 200)
    other = f"{rows}: states other micrometres per pixel of 1 slide: S 1; --mpp 0.5 is used"
    assert err.count(other) == 1
    # one shows what the others are like
    first = "S 1: states 0.25 micrometres per pixel; 0.5, which is given, is used"
    assert f"{first} (1 more such warnings; -v prints them)" in err
    assert "S3: states" not in err
    # without anything to say
    _, err = completed("slides cut {} --mpp 0.4 --dry-run --out T/three", slides / "S2.tif")
    assert "micrometres per pixel" not in err


def test_fields_of_other_micrometres_are_not_kept(slides, tmp_path, completed, refused):
    rows = tmp_path / "patients.csv"
    rows.write_text("slide,patient,mpp\nS 1,A,0.25\nS2,B,0.4\n")
    words = ("slides cut {} {} --field 100", slides / "S 1.tif", slides / "S2.tif")
    words = (*words, "--scale", 2, "--patients", rows, "--out", tmp_path / "out")
    completed(*words)
    before = fields(tmp_path / "out")
    rows.write_text("slide,patient,mpp\nS 1,A,0.25\nS2,B,0.5\n")
    err = refused(*words)
    assert f"{slides / 'S2.tif'}: its fields were cut by other micrometres per pixel" in err
    assert fields(tmp_path / "out") == before
    completed(*words, "--overwrite")
    assert fields(tmp_path / "out") == {"S 1": 400, "S2": 200}
    assert before["S2"] == 250


def test_fields_of_a_cut_that_ended_early_are_known_by_their_scale(
    tmp_path, cli, completed, refused
):
    path = tissue_slide(tmp_path / "S 1.tif", 1500, 1100, mpp=0.25)
    damage(path, 8)
    rows = tmp_path / "patients.csv"
    rows.write_text("slide,patient,mpp\nS 1,A,0.25\n")
    words = ("slides cut {} --field 50 --patients {} --out T/out", path, rows)
    assert cli(*words)[0] == 1
    assert [*tmp_path.glob("out/fields/*/*.png")]
    rows.write_text("slide,patient,mpp\nS 1,A,0.5\n")
    assert "its fields were cut by other micrometres per pixel" in refused(*words)
    # only counted, whatever was cut
    printed, _ = completed(*words, "--dry-run")
    assert "1 slide of 1 patient" in printed


def test_a_slide_that_is_left_out_keeps_its_rows(slides, tmp_path, cli, completed):
    rows = tmp_path / "patients.csv"
    rows.write_text("slide,patient,mpp\nS 1,A,0.25\nS2,B,0.4\n")
    words = ("slides cut {} {} --field 100", slides / "S 1.tif", slides / "S2.tif")
    words = (*words, "--scale", 2, "--patients", rows, "--out", tmp_path / "out")
    completed(*words)
    manifest = tmp_path / "out" / "manifest.csv"
    before = table(manifest)
    rows.write_text("slide,patient,mpp\nS 1,A,0.25\nS2,B,0.5\n")
    assert cli(*words, "--skip-errors")[0] == 1
    assert sorted(map(str, table(manifest))) == sorted(map(str, before))


@pytest.mark.parametrize("cell", ["abc", "0", "9999", "-0.5", "nan"])
def test_wrong_cells_are_named(slides, tmp_path, cell, completed, refused):
    rows = tmp_path / "patients.csv"
    rows.write_text(f"slide,patient,mpp\nS 1,A,{cell}\nS2,B,0.4\nS3,C,0.4\n")
    words = ("slides cut {} --patients {} --dry-run --out T/out", slides, rows)
    if cell == "nan":  # a missing value
        completed(*words)
        return
    assert f"{rows}: S 1: mpp {cell}: give micrometres per pixel, 0.02 to 20" in refused(*words)


def test_a_patient_that_a_spreadsheet_rounded_is_refused(slides, tmp_path, refused):
    rows = tmp_path / "patients.csv"
    rows.write_text("slide,patient\nS 1,1.2E+05\nS2,1.2E+05\nS3,B\n")
    err = refused("slides cut {} --patients {} --dry-run --out T/out", slides, rows)
    assert f"{rows}:2: the patient '1.2E+05' is a number that the spreadsheet rounded" in err


def test_tiles_of_a_map_are_by_the_micrometres_that_are_used(slides, caplog):
    file = next(slide for slide in list_slides([slides]) if slide.name == "S 1")
    sides = {}
    for mpp in (None, 0.5):
        grid = TileGrid.of(file._replace(mpp=mpp), CutSettings(field=100, scale=0.5))
        sides[mpp] = (grid.mpp, sum(grid.corners[1]) - sum(grid.corners[0]))
    assert sides == {None: (0.25, 400), 0.5: (0.5, 200)}
    assert (
        caplog.text.count("S 1: states 0.25 micrometres per pixel; 0.5, which is given, is used")
        == 1
    )
