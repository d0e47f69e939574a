"""Keys of things that are made, the packs that hold them, and shares of them."""

import numpy as np
import pytest
from bchisto.core.jobs import Shard, key_of, read_pack, write_pack

KEY = key_of("thing 1", seed=0)


def test_a_key_follows_from_all_of_its_content():
    content = {"settings": {"pool": 3.0, "view": [0.5, 400]}, "weights": "ab", "group": None}
    keys = [key_of("thing 1", **content), key_of("thing 2", **content)]
    for name, other in [
        ("settings", {"pool": 3.5, "view": [0.5, 400]}),
        ("weights", "abc"),
        ("group", ""),
    ]:
        keys.append(key_of("thing 1", **{**content, name: other}))
    assert len(set(keys)) == len(keys)
    assert key_of("thing 1", **dict(reversed(content.items()))) == keys[0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes"])
def test_what_is_no_json_has_no_key(value):
    with pytest.raises((TypeError, ValueError)):
        key_of("thing 1", value=value)


def test_a_pack_gives_back_what_was_written(tmp_path):
    path = tmp_path / "new" / "a.npz"
    assert read_pack(path, KEY, {"values": (2, None)}) is None
    write_pack(
        path,
        KEY,
        {"values": np.arange(6.0).reshape(2, 3), "model": np.frombuffer(b"text", np.uint8)},
    )
    arrays = read_pack(path, KEY, {"values": (2, None)})
    np.testing.assert_array_equal(arrays["values"], np.arange(6.0).reshape(2, 3))
    assert arrays["model"].tobytes() == b"text"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda path: write_pack(path, key_of("thing 1", seed=1), {"values": np.ones(2)}),
            "made under other settings",
        ),
        (
            lambda path: write_pack(path, KEY, {"values": np.ones(3)}),
            r"values has the shape \(3,\)",
        ),
        (
            lambda path: write_pack(path, KEY, {"values": np.array([1, np.nan])}),
            "values has values that are not finite",
        ),
        (lambda path: write_pack(path, KEY, {"other": np.ones(2)}), "values"),
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "not a zip file"),
        (lambda path: path.write_bytes(b""), "not a zip file"),
    ],
)
def test_a_pack_that_does_not_hold_is_made_again(tmp_path, caplog, change, words):
    path = tmp_path / "a.npz"
    write_pack(path, KEY, {"values": np.ones(2)})
    change(path)
    assert read_pack(path, KEY, {"values": (2,)}, finite=("values",)) is None
    import re

    assert re.search(rf"a\.npz: incomplete \(.*{words}.*\); made again", caplog.text)


@pytest.mark.parametrize("count", [1, 3, 7, 16])
def test_shards_cover_everything_once(count):
    units = list(range(40))
    shares = [Shard(k, count).select(units) for k in range(1, count + 1)]
    assert sorted(unit for share in shares for unit in share) == units
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
