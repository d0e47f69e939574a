"""Pictures that installed packages carry: what is read agrees with two other readers, what is not is one line.

``tools/benchmarks/pictures.py`` does the same for the sources of Pillow and tifffile.
"""

import importlib.util
from pathlib import Path

import pytest
from picture_sweep import compare, verdict

SUFFIXES = {
    ".tif",
    ".tiff",
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".webp",
    ".dcm",
    ".gif",
    ".svg",
    ".pdf",
}
MOST = 100
"""Files of a package, evenly sampled, so that the test takes seconds."""


def files_of(package, *suffixes):
    """Return the pictures of an installed package."""
    (root, *_) = importlib.util.find_spec(package).submodule_search_locations
    files = sorted(
        path for path in Path(root).rglob("*") if path.suffix.casefold() in (suffixes or SUFFIXES)
    )
    return files[:: max(1, -(-len(files) // MOST))]


@pytest.mark.parametrize("package", ["matplotlib", "sklearn"])
def test_pictures_of_a_package_are_read_as_by_others(package):
    for path in files_of(package):
        result = compare(path)
        if (line := result.get("refused")) is not None:
            assert line.startswith(f"{path}: ")
            assert "\n" not in line
            assert path.suffix.casefold() in {".gif", ".svg", ".pdf"} or "; " in line
        else:
            assert verdict(result) == "two", (path, result)


def test_dicom_files_of_pydicom_are_read_as_by_pydicom_or_refused_in_a_line():
    read = 0
    for path in files_of("pydicom", ".dcm"):
        result = compare(path)
        if (line := result.get("refused")) is not None:
            assert line.startswith(f"{path}: ")
            assert "\n" not in line
            continue
        differences = result["differences"]
        if "MONO" not in result["header"].mode:
            assert differences["pydicom"] == 0, path
            read += 1
    assert read > 3
