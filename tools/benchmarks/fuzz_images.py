"""Give the readers of pictures and of mammograms' texts and tables altered files, guided by which lines these reach.

Each reader runs in a process of its own under atheris (libFuzzer), which alters a corpus of made and real files. A
file must be read, or refused by an error of ours. Found are: any other exception, a signal, an input that takes more
than ten seconds, a process over the bound on memory, an image whose sides are not those of its header, and the opening
of any file but the altered one.

Run: pip install atheris; python tools/benchmarks/fuzz_images.py [--readers tiff png ...] [--executions 6000] [--seed 1]
"""

import argparse
import contextlib
import importlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[2] / "tests" / "plugins"
SHARED = Path(os.environ.get("BCHISTO_SHARED", Path(__file__).resolve().parents[3] / "shared"))
SECONDS, MEBIBYTES = 10, 3072
"""Bounds on one input and on a process; the largest picture that is read takes some 1,700 MiB."""

SUFFIX = {
    "tiff": "tif",
    "png": "png",
    "jpeg": "jpg",
    "dicom": "dcm",
    "ljpeg": "LJPEG",
    "overlay": "OVERLAY",
    "ics": "ics",
}


def corpus(reader, folder):
    """Write the files that alterations begin with."""
    sys.path.insert(0, str(PLUGINS))
    import miniatures
    import numpy as np
    import pictures

    rng = np.random.default_rng(0)
    made = []
    if reader in ("tiff", "png", "jpeg"):
        made = [
            data for suffix, data, _, _ in pictures.kinds().values() if suffix == SUFFIX[reader]
        ]
        real = sorted(
            (SHARED / "data").rglob(f"*.{SUFFIX[reader]}"), key=lambda path: path.stat().st_size
        )
        made += [
            path.read_bytes()
            for path in real[:: max(1, len(real) // 20)][:20]
            if path.stat().st_size < 2**15
        ]
    elif reader == "dicom":
        values = rng.integers(100, 4000, (20, 30)).astype(np.uint16)
        more = {
            "RescaleSlope": "2",
            "RescaleIntercept": "-100",
            "WindowCenter": [2000, 1],
            "WindowWidth": [1500, 2],
        }
        for number, implicit in enumerate((True, False)):
            for extra in ({}, more, {"photometric": "MONOCHROME1"}):
                path = miniatures.write_dicom(
                    folder / f"{number}", values, bits=12, implicit=implicit, **extra
                )
                made.append(path.read_bytes())
        made += list(packed_dicom(folder, pictures))
    elif reader == "ljpeg":
        import imagecodecs

        values = miniatures.breast(rng, (40, 30))
        made = [
            imagecodecs.ljpeg_encode(values, bitspersample=12),
            imagecodecs.ljpeg_encode(values, bitspersample=16),
        ]
    elif reader == "overlay":
        square, mass = miniatures.SQUARE, miniatures.MASS
        made = [
            miniatures.overlay((mass, "MALIGNANT", [square])).encode(),
            miniatures.overlay(
                (mass, "BENIGN", [square, square]), (miniatures.CALC, "UNPROVEN", [square])
            ).encode(),
        ]
    elif reader == "ics":
        views = {
            "LEFT_CC": None,
            "RIGHT_MLO": miniatures.overlay((miniatures.MASS, "BENIGN", [miniatures.SQUARE])),
        }
        miniatures.write_ddsm(folder / "case", "B-3159-1", views)
        made = [(folder / "case" / "B-3159-1.ics").read_bytes()]
    start = folder / "corpus"
    start.mkdir()
    for number, data in enumerate(made):
        (start / f"{number:04d}").write_bytes(data)
    return len(made)


def packed_dicom(folder, pictures):
    """Yield DICOM files whose elements are deflated, and whose pixels are JPEG and JPEG 2000."""
    import io

    import miniatures
    import numpy as np
    import pydicom
    from PIL import Image

    grey = np.add.outer(np.arange(20) * 5, np.arange(30) * 3).astype(np.uint8)
    whole = io.BytesIO()
    Image.fromarray(grey).save(whole, "JPEG2000")
    kinds = {"JPEGBaseline8Bit": pictures.jpeg(grey), "JPEG2000Lossless": whole.getvalue()}
    for name, frame in {**kinds, "DeflatedExplicitVRLittleEndian": b""}.items():
        path = miniatures.write_dicom(folder / name, grey, implicit=False)
        data = pydicom.dcmread(path)
        data.file_meta.TransferSyntaxUID = getattr(pydicom.uid, name)
        if frame:
            data.PixelData = pydicom.encaps.encapsulate([frame])
            data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, data, enforce_file_format=True)
        yield buffer.getvalue()


def mended(data):
    """Give the parts of a PNG right checksums, and its pixels a whole stream: alterations reach what is behind."""
    parts, offset = [data[:8]], 8
    while offset + 12 <= len(data):
        length = min(struct.unpack_from(">I", data, offset)[0], len(data) - offset - 12)
        kind, body = data[offset + 4 : offset + 8], data[offset + 8 : offset + 8 + length]
        if kind == b"IDAT":
            with contextlib.suppress(zlib.error):
                # whatever its checksum
                body = zlib.compress(zlib.decompressobj(-15).decompress(body[2:], 2**20), 1)
        parts += [
            struct.pack(">I", len(body)),
            kind,
            body,
            struct.pack(">I", zlib.crc32(kind + body)),
        ]
        offset += 12 + length
    return b"".join(parts) + data[offset:]


def read(reader, path):
    """Read one file as the package does; return whether it was read."""
    from bchisto.core import BchistoError
    from bchisto.core.formats import read_header
    from bchisto.data import decode_image, read_dataset
    from bchisto.data.mammograms.ddsm import read_overlay

    try:
        if reader == "overlay":
            read_overlay(path, (64, 96))
        elif reader == "ics":
            read_dataset(path.parent, dataset="ddsm")
        else:
            header = read_header(path)
            image = decode_image(path)
            assert image.shape == (header.height, header.width, 3), (image.shape, header)
    except BchistoError as error:
        message = str(error)
    else:
        return True
    assert "\n" not in message, "a message of several lines"
    return False


def work(reader, folder, executions, seed):
    """Run one reader until its executions are done or something is found."""
    import atheris

    with atheris.instrument_imports(include=["bchisto.data", "pydicom", "PIL"]):
        for name in (
            "bchisto.data.images",
            "bchisto.data.layouts",
            "PIL.JpegImagePlugin",
            "PIL.PngImagePlugin",
            "PIL.TiffImagePlugin",
            "pydicom",
        ):
            importlib.import_module(name)
    import logging
    import warnings

    import cv2  # noqa: F401
    import imagecodecs  # noqa: F401

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    name = {"ics": "B-3159-1.ics"}.get(reader, f"a.{SUFFIX[reader]}")
    path = folder / "case" / name
    path.parent.mkdir(exist_ok=True)
    counts = {"executions": 0, "read": 0, "slowest": 0.0}
    for first in (b"", *((folder / "corpus").iterdir())):  # whatever is loaded late is loaded now
        path.write_bytes(first if isinstance(first, bytes) else first.read_bytes())
        read(reader, path)
    watched = [False]

    def watch(event, arguments):
        if watched[0] and event == "open":
            opened = arguments[0]
            if isinstance(opened, str | bytes) and not os.fsdecode(opened).startswith(str(folder)):
                watched[0] = False
                raise AssertionError(f"opened {opened!r}")

    sys.addaudithook(watch)

    def run_case(data):
        path.write_bytes(mended(data) if reader == "png" and data[-1:] < b"\xc0" else data)
        start = time.perf_counter()
        watched[0] = True
        try:
            counts["read"] += read(reader, path)
        finally:
            watched[0] = False
            counts["executions"] += 1
            counts["slowest"] = max(counts["slowest"], time.perf_counter() - start)
            if counts["executions"] % 500 == 0 or counts["executions"] >= executions:
                (folder / "counts.json").write_text(json.dumps(counts))

    options = [
        f"-runs={executions}",
        f"-seed={seed}",
        f"-timeout={SECONDS}",
        f"-rss_limit_mb={MEBIBYTES}",
        "-max_len=20000",
        f"-artifact_prefix={folder}/found-",
        "-len_control=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(folder / "corpus")], run_case)
    atheris.Fuzz()


def campaign(reader, executions, seed, keep):
    """Run one reader in a process of its own; return its row of the table."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        folder = Path(temporary)
        begun = corpus(reader, folder)
        command = [sys.executable, __file__, "--worker", reader, "--folder", str(folder)]
        start = time.monotonic()
        done = subprocess.run(
            [*command, "--executions", str(executions), "--seed", str(seed)],
            capture_output=True,
            text=True,
        )
        seconds = time.monotonic() - start
        counts = (
            json.loads((folder / "counts.json").read_text())
            if (folder / "counts.json").exists()
            else {}
        )
        output = done.stderr + done.stdout
        rss = [int(size) for size in re.findall(r"rss: (\d+)Mb", output)]
        findings = sorted(folder.glob("found-*"))
        for finding in findings:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{reader}-{finding.name}").write_bytes(finding.read_bytes())
            (keep / f"{reader}-{finding.name}.txt").write_text(output[-6000:])
        return {
            "reader": reader,
            "corpus": begun,
            "grown": len(list((folder / "corpus").iterdir())),
            **counts,
            "seconds": round(seconds),
            "MiB": max(rss, default=0),
            "code": done.returncode,
            "found": [finding.name for finding in findings],
        }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--readers", nargs="+", choices=SUFFIX, default=list(SUFFIX))
    parser.add_argument("--executions", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--keep",
        type=Path,
        default=Path("fuzz-found"),
        help="where inputs that were found are kept",
    )
    parser.add_argument("--worker", choices=SUFFIX, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        work(chosen.worker, chosen.folder, chosen.executions, chosen.seed)
        return
    rows = []
    for reader in chosen.readers:
        rows.append(campaign(reader, chosen.executions, chosen.seed, chosen.keep))
        print(json.dumps(rows[-1]), flush=True)
    print(
        sum(row.get("executions", 0) for row in rows),
        "executions,",
        sum(len(row["found"]) for row in rows),
        "found",
    )
    sys.exit(any(row["found"] or row["code"] for row in rows))


if __name__ == "__main__":
    main()
