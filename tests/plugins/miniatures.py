"""Small datasets in the exact official layouts, and mammograms in their pixel formats."""

import numpy as np

INBREAST_HEADER = "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads"
CBIS_HEADERS = {
    "mass": "patient_id,breast_density,left or right breast,image view,abnormality id,abnormality type,mass shape,"
    "mass margins,assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path\n",
    "calc": "patient_id,breast density,left or right breast,image view,abnormality id,abnormality type,calc type,"
    "calc distribution,assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path\n",
}


def write_dicom(
    path, values, *, photometric="MONOCHROME2", bits=None, pixels=True, implicit=True, **elements
):
    """Write a mammogram as the releases hold them: uncompressed, one frame, 8 or 16 bits allocated."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation as Mammography
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = Mammography
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path.name)])
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = Mammography, meta.MediaStorageSOPInstanceUID
    data.PatientName = "removed"
    data.Modality = "MG"
    data.Rows, data.Columns = values.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, photometric
    data.BitsAllocated = 8 * values.dtype.itemsize
    data.BitsStored = bits or data.BitsAllocated
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(values.dtype.kind == "i")
    for name, value in elements.items():
        setattr(data, name, value)
    if pixels:
        data.PixelData = values.tobytes()
        data["PixelData"].VR = "OW"
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def breast(rng, shape=(96, 64), top=4095):
    """Smooth 12-bit tissue with a bright spot."""
    import cv2

    coarse = rng.random((8, 8), dtype=np.float32)
    field = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.clip(field * top, 0, top).astype(np.uint16)


def write_inbreast(root, grades, *, seed=0, table="csv"):
    """Write one image per grade: images 20586900, 20586901, ...; two images a patient."""
    rng = np.random.default_rng(seed)
    rows = []
    for place, grade in enumerate(grades):
        number, side, view = 20586900 + place, "LR"[place % 2], ("CC", "ML")[place // 2 % 2]
        name = f"{number}_{place // 2 + 1:016x}_MG_{side}_{view}_ANON.dcm"
        write_dicom(root / "ALL-IMGS" / name, breast(rng), bits=12)
        sheet_view = "MLO" if view == "ML" else view
        row = f"removed removed {side} {sheet_view} 201001 {number} {1 + place % 4} {grade}"
        rows.append(row.split())
    if table == "csv":
        write_inbreast_csv(root, rows)
    return rows


def write_inbreast_csv(root, rows):
    text = "".join(f"{line}\r\n" for line in [INBREAST_HEADER, *map(";".join, rows)])
    (root / "INbreast.csv").write_text(text, newline="")


def write_cbis(root, cases, *, kind="mass", seed=0, swap=()):
    """Write abnormalities (patient, part, pathology): tables, mammograms, masks and crops.

    The folders of `swap` hold mask and crop under each other's names.
    """
    rng = np.random.default_rng(seed)
    tables = dict.fromkeys(("train", "test"), CBIS_HEADERS[kind])
    for patient, part, pathology in cases:
        word = "Training" if part == "train" else "Test"
        whole = f"{kind.capitalize()}-{word}_{patient}_LEFT_CC"
        name = f"{whole}_1"
        frame = breast(rng, (128, 96), 65535)
        left, top = int(rng.integers(4, 40)), int(rng.integers(4, 60))
        mask = np.zeros(frame.shape, np.uint8)
        mask[top : top + 40, left : left + 36] = 255
        crop = frame[top : top + 40, left : left + 36]
        files = [crop, mask] if name not in swap else [mask, crop]
        write_dicom(root / whole / "1.3.6" / "1.3.7" / "000000.dcm", frame, implicit=False)
        for number, values in enumerate(files):
            write_dicom(
                root / name / "1.3.8" / "1.3.9" / f"{number:06d}.dcm", values, implicit=False
            )
        tail = f"{name}/1.3.8/1.3.9"
        shape = "OVAL" if part == "train" else ""
        tables[part] += (
            f"{patient},3,LEFT,CC,1,{kind},{shape},SPICULATED,4,{pathology},5,{whole}/1.3.6/1.3.7/000000.dcm,"
            f'{tail}/000000.dcm,"{tail}/000001.dcm\n"\n'
        )
    for part, text in tables.items():
        (root / f"{kind}_case_description_{part}_set.csv").write_text(text)


SQUARE = "10 12 " + "2 " * 30 + "4 " * 34 + "6 " * 30 + "0 " * 34 + "#"


def overlay(*marks):
    """Write the text of an overlay; a mark is (lesion line, pathology, chains)."""
    lines = [f"TOTAL_ABNORMALITIES {len(marks)}"]
    for number, (lesion, pathology, chains) in enumerate(marks, start=1):
        lines += [f"ABNORMALITY {number}", f"LESION_TYPE {lesion}", "ASSESSMENT 4", "SUBTLETY 3"]
        lines += [f"PATHOLOGY {pathology}", f"TOTAL_OUTLINES {len(chains)}"]
        for place, chain in enumerate(chains):
            lines += ["BOUNDARY" if place == 0 else "\tCORE", chain]
    return "\n".join(lines) + "\n"


MASS = "MASS SHAPE OVAL MARGINS CIRCUMSCRIBED"
CALC = "CALCIFICATION TYPE PLEOMORPHIC DISTRIBUTION CLUSTERED"


def write_ddsm(root, case, views, *, seed=0, convert=False, shape=(96, 64)):
    """Write a case; `views` maps LEFT_CC and the like to an overlay's text, or to None."""
    import imagecodecs
    from PIL import Image

    rng = np.random.default_rng(seed)
    stem = case.replace("-", "_")
    root.mkdir(parents=True, exist_ok=True)
    lines = [
        f"ics_version 1.0\nfilename {case}\nDATE_OF_STUDY 2 7 1995\nPATIENT_AGE 42\nFILM \nFILM_TYPE REGULAR\n"
        "DENSITY 3\nDATE_DIGITIZED 7 22 1997\nDIGITIZER LUMISYS LASER\nSEQUENCE",
    ]
    for view, text in views.items():
        kind = "OVERLAY" if text is not None else "NON_OVERLAY"
        size = f"LINES {shape[0]} PIXELS_PER_LINE {shape[1]}"
        lines.append(f"{view} {size} BITS_PER_PIXEL 12 RESOLUTION 50 {kind}")
        values = breast(rng, shape)
        if convert:
            Image.fromarray(values).save(root / f"{stem}.{view}.png")
        else:
            coded = imagecodecs.ljpeg_encode(values, bitspersample=12)
            (root / f"{stem}.{view}.LJPEG").write_bytes(coded)
        if text is not None:
            (root / f"{stem}.{view}.OVERLAY").write_text(text)
    (root / f"{case}.ics").write_text("\n".join(lines) + "\n")


def write_bach(root, *, height, width):
    """Write all 400 images of BACH by their official names, small, with their table of labels; return the folder."""
    from PIL import Image

    rng = np.random.default_rng(5)
    photos = root / "ICIAR2018_BACH_Challenge" / "Photos"
    rows = []
    for name, prefix in (("Benign", "b"), ("InSitu", "is"), ("Invasive", "iv"), ("Normal", "n")):
        (photos / name).mkdir(parents=True)
        for number in range(1, 101):
            pixels = rng.integers(60, 240, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(photos / name / f"{prefix}{number:03d}.tif")
            rows.append(f"{prefix}{number:03d}.tif,{name}\n")
    (photos / "microscopy_ground_truth.csv").write_text("".join(rows))
    return photos.parent
