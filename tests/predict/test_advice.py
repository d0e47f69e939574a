"""Whatever predict says names only what its caller can change."""

import pytest
from archives import altered
from bchisto.core import InputError
from bchisto.core.jobs import Work
from bchisto.core.models import bundle_stores
from bchisto.encoders import EncoderChoice, open_encoder
from bchisto.predict import advised, predict
from PIL import Image
from written_tables import write_lines


def test_an_image_without_tissue(tmp_path, cli, boosted_model):
    Image.new("RGB", (96, 96), (255, 255, 255)).save(tmp_path / "white.png")
    stores = {
        name: {**header, "stain_fallback": "error"}
        for name, header in bundle_stores(boosted_model).items()
    }
    model = altered(boosted_model, tmp_path / "strict.bchisto", stores=stores)
    code, _, err = cli("predict {} T/white.png --out T/p.csv --jobs 1", model)
    assert code == 1
    assert "white.png" in err
    assert err.strip().endswith("; --skip-errors leaves it out")


def test_labels_that_the_model_does_not_know(tmp_path, caplog, tissue_files, boosted_model):
    files = tissue_files[:3]
    lines = [f"{path},{label}" for path, label in zip(files, ("Benign", "odd", "odd"), strict=True)]
    write_lines(tmp_path / "m.csv", "path,label", *lines)
    with caplog.at_level("INFO", logger="bchisto"):
        predict(boosted_model, tmp_path / "m.csv", out=tmp_path / "p.csv", work=Work(jobs=1))
    assert (
        "2 of 3 images have labels that are not classes of the model and stay empty in the table: odd"
        in caplog.text
    )


def test_a_parameter_of_training_is_the_model_s():
    with (
        pytest.raises(InputError, match="^this model's encoders blob: no such encoder; "),
        advised(),
    ):
        open_encoder(EncoderChoice("blob"))
