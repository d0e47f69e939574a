"""No output names a patient, whatever the headers, the tables and the reports of a release hold."""

import os
import zipfile

import numpy as np
import pydicom
from conftest import typed
from hostile_pictures import strange
from miniatures import write_inbreast, write_inbreast_csv
from packs import model_file

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
                file.visititems(
                    lambda name, item, path=path: look(path, str(dict(item.attrs)).encode())
                )
                for item in [
                    one
                    for one in file.values()
                    if isinstance(one, h5py.Dataset) and one.dtype.kind in "OS"
                ]:
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

    ask("data check --table - --images {}", root)
    ask("data check --no-timing --images {} --html {} -vv", root, tmp_path / "check.html")
    plain = typed("--encoder tiny --weights random --augmentations 2 --crops 2 --jobs 1")
    view = typed("--view 1.0:32 --stain none --color-range 1 1")
    ask("featurize --images {} --out {}", root, run, *plain, *view, "-vv")
    ask("boost --out {} --folds 3 --seeds 1 --param min_data_in_leaf=1 --jobs 1", run)
    more = ("--html", tmp_path / "p.html")
    ask(
        "predict {} --images {} --weights random --out {} --jobs 1",
        model_file(run),
        root,
        tmp_path / "p.csv",
        *more,
    )
    ask("evaluate {} --out {}", run, tmp_path / "evaluated")
    ask("status", tmp_path)
    damaged = sorted((root / "ALL-IMGS").iterdir())
    data = damaged[0].read_bytes()
    damaged[0].write_bytes(data[:-500])
    damaged[1].write_bytes(data.replace(b"MG", b"\xff\xff", 1)[: len(data) // 20])
    damaged[2].write_bytes(data.replace(b"12", b"Er", 40))
    strange(damaged[3], "NumberOfFrames", "IS", "Erika ")  # pydicom says what it finds
    strange(damaged[4], "WindowCenter", "DS", "Mustermann")
    strange(damaged[5], "SpecificCharacterSet", "CS", "Elbklinik ")
    ask("data check --no-timing --images {} --decode -vv --no-copies", root, expected=1)
    text = "\n".join(said)
    assert [word for word in PLANTED if word in text] == []
    assert {one for one in spilled(tmp_path) if "/release/" not in one[0]} == set()
