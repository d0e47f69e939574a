import dataclasses
import json
import shutil

import pytest
import yaml
from bchisto.core import InputError, as_banner
from bchisto.core.jobs import Work
from bchisto.evaluate.report import known_of, write_card
from bchisto.predict import Predictor, PredictSettings, export, predict
from bchisto.predict.model_file import load_bundle
from conftest import write_tissue
from written_tables import read_json

OVERWRITE = Work(jobs=1, overwrite=True)


def header_of(card):
    _, header, body = card.read_text().split("---\n", 2)
    return yaml.safe_load(header), body


def test_a_model_is_ready_for_a_hub(boosted_model, tmp_path, cli, completed):
    _, err = completed("export {} --to {}", boosted_model, tmp_path / "my model")
    card = tmp_path / "my model" / "README.md"
    assert str(card) in err
    header, body = header_of(card)
    assert header["license"] is None  # only the author knows it
    assert header["library_name"] == "bchisto"
    assert header["pipeline_tag"] == "image-classification"
    assert boosted_model.read_bytes() == (card.parent / "model.bchisto").read_bytes()
    assert "of 12 images right" in body
    assert "- benign: 6" in body
    assert body.count("to be filled in by the author") == 6
    assert sorted(path.name for path in card.parent.iterdir()) == [
        "README.md",
        "metrics.json",
        "model.bchisto",
    ]
    _code, _, err = cli(
        "predict {} --images {} --out T/p.csv", card.parent / "model.bchisto", tmp_path / "none"
    )
    assert "no such image" in err


def test_what_the_author_wrote_stays_and_other_files_are_left(boosted_model, tmp_path):
    card = export(boosted_model, to=tmp_path / "to")
    assert card.read_text() == boosted_model.with_name("model-card.md").read_text()
    card.write_text("mine")
    assert export(boosted_model, to=tmp_path / "to").read_text() == "mine"
    (tmp_path / "to" / "model.bchisto").write_bytes(b"another")
    with pytest.raises(InputError, match="holds another model"):
        export(boosted_model, to=tmp_path / "to")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="holds other files"):
        export(boosted_model, to=tmp_path / "full")


def test_texts_of_a_model_are_no_html_in_its_card(boosted_model, tmp_path):
    bundle = load_bundle(boosted_model)
    bundle = dataclasses.replace(
        bundle, banners=tuple(map(as_banner, ("<img src=x onerror=alert(1)>", "p < 0.05")))
    )
    write_card(
        tmp_path / "card.md", model=boosted_model, bundle=bundle, known=known_of(boosted_model)
    )
    body = (tmp_path / "card.md").read_text()
    assert "<img" not in body
    assert "- &lt;img src=x onerror=alert(1)>" in body


@pytest.mark.parametrize("options", [[], ["--update"]])
def test_a_link_in_the_place_of_kept_predictions_is_not_followed(
    boosted_model, tmp_path, cli, options
):
    (tmp_path / "other").mkdir()
    write_tissue(tmp_path / "new", per_class=1)
    (tmp_path / "p.csv.parts").symlink_to(tmp_path / "other")
    arguments = ("--images", tmp_path / "new", "--out", tmp_path / "p.csv", *options)
    code, _, err = cli("predict", boosted_model, *arguments)
    assert code != 0
    assert "p.csv.parts: is a link, which is not followed; remove it" in err
    assert not any((tmp_path / "other").iterdir())


def test_a_deployed_model_knows_how_good_it_is_and_names_nobody(
    boosted_result, boosted_model, run_copy, tissue, tmp_path
):
    run = run_copy(boosted_result)
    metrics = run / "metrics.json"
    content = read_json(metrics)
    content["run"] |= {"fold_warnings": ["Patient Smith is in two folds"], "dataset": "Smith's"}
    metrics.write_text(json.dumps(content))
    to = export(metrics.with_name("model.bchisto"), to=tmp_path / "to").parent
    assert "Smith" not in (to / "metrics.json").read_text()
    shutil.move(run, tmp_path / "elsewhere")
    deployed = Predictor(to / "model.bchisto")
    assert "not shown to be better than chance" in deployed.verdict
    assert deployed.verdict == Predictor(boosted_model).verdict
    # so does a report: the figures of the operating point and of calibration are those of the run
    texts = []
    for model in (deployed.path, boosted_model):
        page = tmp_path / "page.html"
        settings = PredictSettings(html=page, threshold=0.5)
        predict(model, tissue, out=page.with_suffix(".csv"), settings=settings, work=OVERWRITE)
        text = page.read_text()
        texts.append(text[text.find('class="lead"') : text.find("<table")])
    assert texts[0] == texts[1]
    assert len(texts[0]) > 100


def test_a_model_file_without_its_figures(boosted_model, tmp_path):
    shutil.copyfile(boosted_model, tmp_path / "model.bchisto")
    _, body = header_of(export(tmp_path / "model.bchisto", to=tmp_path / "to"))
    assert "there was no `metrics.json` beside the model" in body
    assert not (tmp_path / "to" / "metrics.json").exists()
