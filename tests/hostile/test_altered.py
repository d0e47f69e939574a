"""Whatever a few alterations make of a file, it is read, or refused by one line; the long form is a benchmark.

`tools/benchmarks/fuzz_images.py` does the same guided by the lines that are reached.
"""

import importlib.util
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FUZZ = Path(__file__).parents[2] / "tools" / "benchmarks" / "fuzz_images.py"
EXAMPLES = {"tiff": 120, "png": 100, "jpeg": 60, "dicom": 60, "ljpeg": 40, "overlay": 60, "ics": 40}


@pytest.fixture(scope="module")
def fuzz():
    spec = importlib.util.spec_from_file_location("fuzz_images", FUZZ)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def altered(data, edits, cut):
    """Put bytes in the place of others, from the end where the place is negative, and cut off or double a share."""
    changed = bytearray(data)
    for place, content in edits:
        start = place % max(1, len(changed))
        changed[start : start + len(content)] = content
    return bytes(changed[: int(len(changed) * cut)] if cut <= 1 else changed * 2)


EDITS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 400), st.integers(-400, 20_000)),
        st.one_of(
            st.binary(min_size=1, max_size=8),
            st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f\xff", b"9" * 40]),
        ),
    ),
    max_size=6,
)


@pytest.mark.parametrize("reader", EXAMPLES)
def test_an_altered_file_is_read_or_refused(reader, fuzz, tmp_path, caplog):
    folder = tmp_path / "made"
    folder.mkdir()
    fuzz.corpus(reader, folder)
    files = [path.read_bytes() for path in sorted((folder / "corpus").iterdir())]
    (tmp_path / "case").mkdir()
    path = tmp_path / "case" / {"ics": "B-3159-1.ics"}.get(reader, f"a.{fuzz.SUFFIX[reader]}")

    @settings(
        max_examples=EXAMPLES[reader],
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(files), EDITS, st.sampled_from([1, 1, 1, 0.99, 0.7, 0.3, 2]))
    def one(data, edits, cut):
        content = altered(data, edits, cut)
        path.write_bytes(fuzz.mended(content) if reader == "png" else content)
        start = time.process_time()
        fuzz.read(reader, path)
        assert time.process_time() - start < 10
        assert {found.name for found in tmp_path.iterdir()} == {"made", "case"}
        assert [found.name for found in path.parent.iterdir()] == [path.name]

    one()
