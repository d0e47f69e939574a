"""Compare what bchisto decodes with other readers, over the test pictures that sources of packages carry.

    python tools/benchmarks/pictures.py OUT [--packages pillow tifffile] [FOLDER ...]

Sources are fetched by pip into OUT. Prints how many files agree with two other readers, one or none (mean difference
below one grey level), and each file that disagrees; writes all to OUT/pictures.csv.
"""

import argparse
import collections
import csv
import subprocess
import sys
import tarfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "plugins"))

from picture_sweep import compare, verdict

SUFFIXES = {
    ".tif",
    ".tiff",
    ".png",
    ".jpg",
    ".jpeg",
    ".jfif",
    ".jpe",
    ".bmp",
    ".webp",
    ".dcm",
    ".apng",
    ".mpo",
}


def fetched(package, out):
    """Return the folder of a package's sources."""
    folder = out / package
    if not folder.exists():
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-binary",
            ":all:",
            "--no-deps",
            "-d",
            str(out / "sdists"),
            package,
        ]
        subprocess.run(command, check=False, capture_output=True)
        archive = max((out / "sdists").glob(f"{package}-*.tar.gz"))
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    return folder


def main():
    """Sweep folders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--packages", nargs="*", default=["pillow", "tifffile"])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    folders = [*options.folders, *(fetched(package, options.out) for package in options.packages)]
    counts, rows, start = collections.Counter(), [], time.process_time()
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        if path.suffix.casefold() not in SUFFIXES or not path.is_file():
            continue
        result = compare(path)
        word = verdict(result)
        counts[word] += 1
        text = result.get("refused") or " ".join(
            f"{k} {v:.2f}" for k, v in result["differences"].items()
        )
        rows.append(
            (
                word,
                str(path),
                text,
                "; ".join((text for _, text in getattr(result.get("header"), "remarks", ()))),
            )
        )
        if word in ("none", "alone", "one") or "\n" in text:
            print(word, path, text, rows[-1][-1])
    print(dict(counts), f"{time.process_time() - start:.0f} CPU seconds")
    with (options.out / "pictures.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)


if __name__ == "__main__":
    main()
