"""Beside a GPU a process does several blocks in one go. Here what Keras sees is replaced, and the CPU computes."""

import shutil

import pytest
from bchisto.core import ImageError
from bchisto.core.jobs import Resources, Work
from bchisto.featurize import featurize, open_store
from bchisto.featurize.units import bundle_units
from conftest import assert_same_descriptors, refuses


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(
        "bchisto.featurize.pipeline.describing_resources", lambda *_: Resources(1, 2, ("0",))
    )
    monkeypatch.setattr("bchisto.featurize.stream.visible_gpus", lambda: ("0",))
    monkeypatch.setattr("bchisto.featurize.pipeline.images_per_block", lambda settings: 2)


def test_bundles_hold_all_blocks_in_order():
    blocks = [(number,) for number in range(100)]
    for resources, size in [(Resources(1, 8, ("0",)), 13), (Resources(4, 8, ("0", "1")), 4)]:
        found = bundle_units(blocks, resources, size=4)
        assert [block for some in found for block in some] == blocks
        assert {len(some) for some in found[:-1]} == {size}
    assert len(bundle_units(blocks * 100, Resources(1, 8, ("0",)), size=4)[0]) == 64  # 256 images
    assert bundle_units([], Resources(1, 8, ("0",)), size=4) == []


def test_a_run_beside_a_gpu_gives_the_same_store(tissue, tmp_path, tiny_settings, described, gpu):
    result = featurize(tissue, out=tmp_path / "run", settings=tiny_settings)
    with (
        open_store(result.stores[0]) as store,
        open_store(described / "features" / "tiny-1.0-64.h5") as expected,
    ):
        assert list(store.image_ids) == list(expected.image_ids)
        assert_same_descriptors(store.features(), expected.features())


def test_what_was_done_before_an_error_is_kept_and_resumed(
    tissue, tmp_path, tiny_settings, gpu, caplog
):
    images = tmp_path / "images"
    shutil.copytree(tissue, images)
    names = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.png"))
    broken = images / names[5]
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])  # its header can be read
    run = tmp_path / "run"
    refuses(ImageError, broken.name, featurize, images, out=run, settings=tiny_settings)
    parts = run / "features" / "tiny-1.0-64.parts"
    assert len(list(parts.glob("*.npz"))) == 2
    skipped = featurize(images, out=run, settings=tiny_settings, work=Work(skip_errors=True))
    assert [f"left out: {reason}" for _, reason in skipped.failures] == [
        text for text in caplog.messages if text.startswith("left out: ")
    ]
    assert [name for name, _ in skipped.failures] == [names[5]]
