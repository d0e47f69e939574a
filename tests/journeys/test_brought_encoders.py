"""Networks that users bring: from images to a table, a bundle, predictions and maps, killed, resumed and sharded."""

from pathlib import Path

import numpy as np
import pytest
from bchisto.core.models import bundle_stores
from bchisto.encoders import card_of
from conftest import typed
from torch_folders import need_torch, write_dinov2
from written_tables import rows_of, write_json

pytestmark = pytest.mark.slow

VIEW = typed("--view 1.0:32 --stain none --jobs 1")
TRAIN = typed("--folds 2 --seeds 1 --param min_data_in_leaf=2 --param num_iterations=3 --jobs 1")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """A transformer folder and an ONNX file, in a place with a space and an accent."""
    onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'bchisto[test]'")
    pytest.importorskip("onnxruntime", reason="needs onnx: pip install 'bchisto[onnx]'")
    from onnx import TensorProto, helper, numpy_helper

    place = tmp_path_factory.mktemp("mes réseaux")
    need_torch()
    write_dinov2(place / "DINO réseau", registers=3)
    kernel = np.random.default_rng(2).normal(0, 0.3, (6, 3, 4, 4)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node(
                "Conv", ["pixels", "kernel"], ["places"], kernel_shape=[4, 4], strides=[4, 4]
            ),
            helper.make_node("Relu", ["places"], ["active"]),
        ],
        "patches",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("active", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9),
        str(place / "Patches.onnx"),
    )
    sidecar = {
        "patch_size_pixels": 16,
        "license": "CC-BY-NC-ND-4.0",
        "source": "made up",
        "transform": [
            {"name": "ToTensor"},
            {"name": "Normalize", "arguments": {"mean": [0.5] * 3, "std": [0.5] * 3}},
        ],
    }
    write_json(place / "Patches.json", sidecar)
    return {
        "hub": f"hub:{place / 'DINO réseau'}:cls+mean",
        "onnx": f"onnx:{place / 'Patches.onnx'}",
    }


def test_from_images_to_predictions_and_maps(
    networks, tissue, cli, completed, tmp_path, monkeypatch
):
    """Both kinds beside each other in one run, and what is said of their licences."""
    code, shown, said = cli(
        "data check --images {} --encoder {} --view 1.0:32", tissue, networks["hub"]
    )
    assert (code, "bchisto featurize --images" in shown) == (0, True), said
    run = tmp_path / "run"
    small = typed("--augmentations 2 --crops 3", *VIEW)
    completed(
        "featurize --images {} --out {} --encoder {} --encoder {}",
        tissue,
        run,
        networks["hub"],
        networks["onnx"],
        *small,
    )
    stores = sorted(path.name for path in (run / "features").glob("*.h5"))
    assert [name[:15] for name in stores] == ["hub-dino-reseau", "onnx-patches-1."]
    completed("boost --out {}", run, *TRAIN)
    report = next(run.glob("boost/*/report.html")).read_text()
    assert (
        "NON-COMMERCIAL WEIGHTS: the licence of onnx-patches (CC-BY-NC-ND-4.0) excludes commercial use"
        in report
    )
    assert "CC-BY-NC-ND-4.0, non-commercial use only" in report
    bundle = next(run.glob("boost/*/model.bchisto"))
    cards = {header["encoder"]: card_of(header) for header in bundle_stores(bundle).values()}
    assert (cards["onnx-patches"].non_commercial, cards["onnx-patches"].source) == (True, "made up")
    assert cards["hub-dino-reseau"].size == 16

    picture = tissue / "benign" / "benign00.png"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    completed("predict {} --images {} --out T/new.csv --jobs 1", bundle, tissue)
    rows = rows_of(tmp_path / "new.csv")
    assert len(rows) == 12
    assert len({row["p_benign"] for row in rows}) > 3
    completed("explain {} {} --out T/why --method map", bundle, picture)
    assert next((tmp_path / "why" / "map" / "arrays").glob("*.npz")).stat().st_size > 0

    # another file under the same name
    own = Path(networks["onnx"].partition(":")[2])
    kept = own.read_bytes()
    own.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    try:
        given = ("--weights", f"onnx-patches={own}")
        for weights, reason in (
            ((), "trained with weights from a file"),
            (given, "needs the weights of sha256"),
        ):
            code, _, said = cli("predict {} --images {} --out T/x.csv", bundle, picture, *weights)
            assert (code, reason in said, "--weights onnx-patches=PATH" in said) == (
                2,
                True,
                True,
            ), said
        code, _, said = cli(
            "featurize --images {} --out {} --encoder {}", tissue, run, networks["onnx"], *small
        )
        assert (code, "made with other settings: other weights" in said) == (2, True), said
    finally:
        own.write_bytes(kept)
    # the same file, and another JSON beside it
    sidecar = own.with_suffix(".json")
    said_before = sidecar.read_text()
    sidecar.write_text(said_before.replace('"std": [0.5, 0.5, 0.5]', '"std": [0.25, 0.5, 0.5]'))
    try:
        code, _, said = cli(
            "predict {} --images {} --out T/x.csv --weights {}",
            bundle,
            picture,
            f"onnx-patches={own}",
        )
        assert (
            code,
            "its JSON differs from that of training; put the JSON back as it was" in said,
        ) == (2, True), said
        assert "needs the weights" not in said
        code, _, said = cli(
            "featurize --images {} --out {} --encoder {}", tissue, run, networks["onnx"], *small
        )
        assert (code, "the same weights, but their JSON differs" in said) == (2, True)
    finally:
        sidecar.write_text(said_before)


def test_the_command_that_tries_an_encoder(networks, cli, completed):
    shown, _ = completed("encoder")
    for name in ("resnet50", "uni2-h", "midnight-12k", "hub:DIR", "onnx:FILE", "timm:NAME"):
        assert any(line.startswith(f"{name} ") for line in shown.splitlines()), name
    shown, _ = completed("encoder virchow2")
    for text in (
        "cls+mean",
        "CC-BY-NC-ND-4.0, non-commercial use only, gated",
        "--weights virchow2=DIR",
        "not tested with its weights",
        "0.5, 0.25, 1, 2",
    ):
        assert text in shown
    shown, _ = completed("encoder {} --check", networks["onnx"])
    for text in (
        "onnx-patches, run by onnxruntime",
        "16x16 pixels",
        "6 numbers: mean",
        "crops per second",
    ):
        assert text in shown
    for name, options, message in (
        ("resnet51", (), "resnet51: no such encoder; did you mean resnet50?"),
        ("nonsense", (), "nonsense: no such encoder; `bchisto encoder` prints all"),
        (networks["onnx"], ("--weights", "random"), "--weights random: onnx:"),
        (
            networks["hub"].replace("cls", "block9"),
            (),
            "no output block9; it has cls, mean, block1, block2",
        ),
    ):
        code, _, said = cli("encoder {} --check", name, *options)
        assert (code, message in said) == (2, True), said
    shown, _ = completed("encoder convs --check --weights random")
    for text in (
        "takes                  crops of any size",
        "weights                random",
        "parameters   ",
    ):
        assert text in shown
