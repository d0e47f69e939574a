"""Patterns of users over paths: some take twice as long with every letter, and must not stop a command for ever."""

import time

import pytest
from bchisto.core import InputError
from bchisto.data import read_dataset

ENDLESS = r"(([a-z]+)+)+/x"


@pytest.fixture
def images(tissue, tmp_path):
    """Images below a folder whose name is of the kind that such a pattern never ends with."""
    folder = tmp_path / ("a" * 60) / "b"
    folder.mkdir(parents=True)
    for path in sorted(tissue.rglob("*.png"))[:2]:
        (folder / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.parametrize("name", ["group_from", "label_from"])
def test_a_pattern_that_comes_to_no_end_is_refused(images, name):
    begun = time.process_time()
    with pytest.raises(InputError, match=rf"`{name}` .*: comes to no end in 5 s, as a repetition within another does"):
        read_dataset(images, dataset="folder", **{name: ENDLESS})
    assert time.process_time() - begun < 5  # it was another process that computed


def test_such_a_pattern_for_a_manifest(images, cli):
    paths = "".join(f"{path.relative_to(images)},a\n" for path in sorted(images.rglob("*.png")))
    (images / "m.csv").write_text(f"path,label\n{paths}")
    code, _, text = cli("data", "list", "--images", images / "m.csv", "--group-from", ENDLESS)
    assert (code, "--group-from (([a-z]+)+)+/x: comes to no end" in text) == (2, True), text
    code, out, text = cli("data", "list", "--images", images / "m.csv", "--group-from", "(a+)/")
    assert code == 0, text
    assert out.count(f",a,{'a' * 60},") == 2
