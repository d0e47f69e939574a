"""`bchisto data check` as pre-flight: what it says is true of the images, and what it names next runs as it stands."""

import base64
import html
import io
import json
import re
import shlex
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bchisto.apps.check import one_of_each, preflight
from bchisto.apps.check.plan import check_protocols, fit_views, fitting_views, recommended
from bchisto.apps.check.run import scale_findings, share_findings
from bchisto.cli import cli as command_line
from bchisto.core.formats import ImageHeader
from bchisto.data import Dataset, FoldChoice, ImageRecord, ImageSelection, published_folds
from bchisto.encoders import EncoderChoice
from bchisto.featurize import FeaturizeSettings, View
from conftest import typed, write_tissue
from miniatures import write_inbreast
from page_probe import PAPER, probe_page
from PIL import Image

TINY = typed("--encoder convs --augmentations 2 --crops 3")
CHECK = ("data check --no-timing --images",)
SETTINGS = FeaturizeSettings(
    encoders=(EncoderChoice("convs"),), augmentations=2, crops=3, views=(View(1.0, 64),)
)


def records(*rows):
    """Records of (label, group), without files."""
    return tuple(
        ImageRecord(f"i{place:02d}.png", Path(f"i{place:02d}.png"), label, group)
        for place, (label, group) in enumerate(rows)
    )


def dataset(*rows, classes=("a", "b"), name="folder"):
    return Dataset(name, Path("images"), records(*rows), classes)


def sized(*sizes):
    """Records of images of these sizes, without files."""
    return [
        ImageRecord(f"{n}.png", Path(f"{n}.png"), None, header=ImageHeader("PNG", *size, "RGB", 1))
        for n, size in enumerate(sizes)
    ]


# views


def test_views_fit_by_the_scaled_short_side():
    settings = FeaturizeSettings(
        encoders=(EncoderChoice("resnet50"),), views=("0.5:400", "0.5:100"), crops=1
    )
    first, second = fit_views(sized((400, 799), (2048, 800), (2048, 1536)), settings)
    assert first.fits == 2
    assert first.too_small == ("0.png",)
    assert first.problem == ""
    assert second.fits == 3
    assert second.too_small == ()
    assert second.problem == ""


def test_views_that_fit_stay_and_others_get_the_published_shares_of_the_short_side():
    def fitting(size):
        return fitting_views(sized(size) if size else (), FeaturizeSettings())

    assert fitting((2048, 1536)) == (View(0.5, 400), View(0.5, 650))
    # the second does not fit, so both are others: 450 * 400 / 768 = 234.4
    assert fitting((1200, 900)) == (View(0.5, 230), View(0.5, 380))
    # 460 * 400 / 768 = 239.6, 460 * 650 / 768 = 389.3: cut to tens
    assert fitting((700, 460)) == (View(1.0, 230), View(1.0, 380))
    assert fitting(None) == fitting((12, 50)) == ()


def test_one_odd_image_is_left_out_and_a_network_has_a_least_crop():
    def views(*names, of=None):
        return fitting_views(of or images, FeaturizeSettings(encoders=names))

    images = sized(*[(50, 50)] * 30, (12, 50))
    # InceptionV3 takes none under 75 pixels
    assert fitting_views(images, FeaturizeSettings()) == ()
    assert views("resnet50", "vgg16") == (View(1.0, 40),)
    # at 48 pixels InceptionV3 has nothing left, ResNet-50 has
    (fit,) = fit_views(images, FeaturizeSettings(encoders="inceptionv3", views="1.0:48"))
    assert fit.problem == "inceptionv3 takes no crop under 75 pixels"
    (fit,) = fit_views(images, FeaturizeSettings(encoders="resnet50", views="1.0:48"))
    assert fit.problem == ""
    assert fit.fits == 30
    assert fit.too_small == ("30.png",)
    assert views("inceptionv3", of=sized((110, 100))) == (View(1.0, 80),)


# protocols


def test_each_fold_says_which_class_it_lacks():
    # four groups of one class each: whichever a fold tests, it lacks the other class
    rows = [
        (label, group)
        for label, group in (("a", "p1"), ("a", "p2"), ("b", "p3"), ("b", "p4"))
        for _ in range(4)
    ]
    (found,) = check_protocols(dataset(*rows, name="breakhis"), FoldChoice(("4",)))
    assert found.refused == ""
    assert found.kept == "by patient"
    assert len(found.parts) == 4
    assert [part["images"] for part in found.parts] == [{"train": 12, "test": 4}] * 4
    assert sorted(part["missing"]["test"] for part in found.parts) == [["a"], ["a"], ["b"], ["b"]]
    for part in found.parts:
        assert list(part["missing"]) == ["test"], part
    assert len(found.lacking) == 4
    (by_image,) = check_protocols(dataset(*rows), FoldChoice(("4",), group_by="none"))
    assert (by_image.kept, by_image.lacking) == ("by image", [])
    assert "4 of 4 patients with several images both train and test" in by_image.warnings[0]


def test_what_cannot_be_done_says_why_with_the_callers_names():
    rows = [("a", None)] * 6 + [("b", None)] * 3
    found = {one.folds: one for one in check_protocols(dataset(*rows), FoldChoice())}
    # fewer folds are tried where neither of the first will do
    assert list(found) == [
        "10",
        "5",
        "3",
        "2",
    ]
    assert (
        found["5"].refused
        == "class b has 3 images, fewer than the 5 folds; use `folds=3`, or add images"
    )
    assert found["3"].refused == ""
    one_owner = [("a", "p"), ("a", "q"), ("b", "r"), ("b", "r")] * 3
    (refused,) = check_protocols(dataset(*one_owner), FoldChoice(("2",)))
    assert (
        "all 6 images of class b are of one patient (r); add images of a second patient with class b"
        in refused.refused
    )


def test_the_protocol_to_take(tmp_path):
    """The published list of BACH where it fits whole; else one in which no fold lacks a class; by image if asked to."""
    write_tissue(tmp_path / "t", per_class=6)
    rows = ["path,label,patient"]
    for place, path in enumerate(sorted((tmp_path / "t").rglob("*.png"))):
        rows.append(f"{path},{path.parent.name},p{place // 2}")
    (tmp_path / "m.csv").write_text("\n".join(rows) + "\n")
    found = preflight(tmp_path / "m.csv", settings=SETTINGS, copies=False)
    assert [(one.folds, one.group_by, one.compared) for one in found.protocols] == [
        ("10", None, False),
        ("5", None, False),
        ("10", "none", False),
        ("3", None, False),
        ("2", None, False),
    ]
    assert found.protocol.folds == "3"  # three patients of each class: of five folds some lack one
    by_image = preflight(
        tmp_path / "m.csv",
        settings=SETTINGS,
        copies=False,
        folds=FoldChoice(("2",), group_by="none"),
    )
    assert (by_image.protocol.folds, by_image.protocol.group_by) == ("2", "none")
    prefix = {"n": "Normal", "b": "Benign", "is": "InSitu", "iv": "Invasive"}
    bach = tuple(
        ImageRecord(
            image,
            tmp_path / image,
            prefix[image.rstrip("0123456789.tif") if image[0] in "nb" else image[:2]],
        )
        for image in sorted({row[0] for row in published_folds("rakhlin10")})
    )
    whole = check_protocols(Dataset("bach", tmp_path, bach, tuple(prefix.values())), FoldChoice())
    assert [(one.folds, one.refused) for one in whole[:2]] == [("rakhlin10", ""), ("eva", "")]
    assert recommended(whole).folds == "rakhlin10"


def split_manifest(folder, *, tested=("a", "b")):
    """Sixteen images of two classes, half of them to train, and those of some classes to test; one has no label."""
    write_tissue(folder / "t", per_class=8, size=(320, 240), classes=("a", "b"))
    rows = ["path,label,split"]
    for place, path in enumerate(sorted((folder / "t").rglob("*.png"))):
        label = path.parent.name
        rows.append(f"{path},{label},{'test' if place % 2 and label in tested else 'train'}")
    rows[-1] = f"{rows[-1].partition(',')[0]},,train"
    (folder / "m.csv").write_text("\n".join(rows) + "\n")
    return folder / "m.csv"


@pytest.mark.slow
def test_the_split_that_the_images_came_in_is_the_protocol(tmp_path, cli, completed):
    """NEXT keeps the parts, one image without a label keeps no folds from being made, and no view enlarges."""
    words = typed("--no-copies --preset published --encoder resnet50")
    out, _ = completed(*CHECK, split_manifest(tmp_path), *words)
    assert out.splitlines()[-1] == "bchisto boost --out run --preset published --folds folder"
    assert "site:split" not in out
    assert "No folds can be made" not in out
    assert "columns that no model is given" not in out
    assert "column split" in out
    assert "--view 1.0:120 --view 1.0:200" in out.splitlines()[-2]
    found = json.loads(cli(*CHECK, tmp_path / "m.csv", *words, "--json")[1])
    assert found["protocols"][0]["folds"] == "folder"
    assert found["protocols"][0]["feasible"] is True
    assert sum(found["protocols"][0]["parts"][0]["images"].values()) == 15
    assert {one["view"] for one in found["planned_views"]} == {"1.0:120", "1.0:200"}


def test_a_protocol_whose_folds_all_lack_a_class_is_not_offered(tmp_path, cli, completed):
    """Neither a split that tests one class, nor patients or pixels taken for sites, nor patients of one class each."""
    out, _ = completed(
        *CHECK,
        split_manifest(tmp_path, tested=("a",)),
        "--no-copies",
    )
    assert "--folds folder" not in out.split("NEXT\n")[1]
    rows = [
        f"{path},{path.parent.name},w{place % 8}{path.parent.name}"
        for place, path in enumerate(sorted((tmp_path / "t").rglob("*.png")))
    ]
    placed = "\n".join(f"{row},{100 * (place % 2)}" for place, row in enumerate(rows))
    (tmp_path / "w.csv").write_text(f"path,label,ward,x\n{placed}\n")
    out, _ = completed(*CHECK, tmp_path / "w.csv", "--no-copies")
    assert "site:" not in out
    (tmp_path / "p.csv").write_text(
        "path,label,patient\n" + "\n".join(row[:-2] + row[-1] for row in rows)
    )
    code, out, _ = cli(*CHECK, tmp_path / "p.csv", "--no-copies", "--folds", 2)
    assert code == 1
    assert "NEXT" not in out
    assert "no folds that were tried can be used (a: " in " ".join(out.split())


def test_networks_that_take_no_crop_so_small_are_left_out_of_what_is_planned(tmp_path, completed):
    write_tissue(tmp_path / "t", per_class=4, size=(50, 50))
    out, _ = completed(
        *CHECK,
        tmp_path / "t",
        "--no-copies",
        "--preset",
        "published",
    )
    featurize = shlex.split(out.split("NEXT\n")[1].splitlines()[0])
    assert featurize[8:] == ["--encoder", "resnet50", "--encoder", "vgg16", "--view", "1.0:40"]
    assert "Planned without inceptionv3, which takes no crop so small" in out


def test_images_without_labels_are_named_before_the_work_and_boost_is_not_next(
    tmp_path, completed, refused, cli, tiny_options
):
    write_tissue(tmp_path / "t", per_class=3)
    (tmp_path / "flat").mkdir()
    for path in (tmp_path / "t").rglob("*.png"):
        shutil.copy(path, tmp_path / "flat")
    said = "no image has a label, so nothing can be trained on them; put the images into a folder for each class"
    code, out, _ = cli(*CHECK, tmp_path / "flat", "--no-copies", *TINY)
    assert code == 1
    assert said in out
    assert "NEXT" not in out  # of several feature files nothing is chosen
    words = typed("--images T/flat --no-copies", *TINY, "--view", "1.0:64")
    _, out, _ = cli("data check --no-timing", *words)
    described, chosen = out.partition("NEXT\n")[2].splitlines()
    assert described.startswith("bchisto featurize ")
    assert chosen == "bchisto next run"
    run = tmp_path / "run"
    _, err = completed("featurize --images T/flat --out {}", run, *tiny_options)
    assert said in err, err
    assert "bchisto boost" not in err, err
    assert err.index(said) < err.index("wrote")  # before the work
    assert "next: label images of two classes or more, then this command again" in err
    err = refused("boost --out {}", run)
    assert "boost needs labels to train on: put the images into a folder for each class" in err


# pictures


def test_a_patient_who_has_most_of_a_class_and_several_magnifications_are_told():
    def kinds(*rows, mpp=(0.5,)):
        scaled = [
            replace(record, mpp=mpp[number % len(mpp)])
            for number, record in enumerate(records(*rows))
        ]
        checked = replace(dataset(*rows), records=tuple(scaled))
        return [finding.level for finding in (*share_findings(checked), *scale_findings(checked))]

    even = [("a", "p1"), ("a", "p2"), ("b", "p3"), ("b", "p4")]
    assert kinds(*even) == []
    assert kinds(*even, ("a", "p1")) == ["warning"]
    assert kinds(*even, mpp=(0.5, 0.501)) == []
    assert kinds(*even, mpp=(0.5, 0.25)) == ["note"]
    # one patient in all is told by the folds, and images of no known patient by the labels
    assert kinds(("a", "p1"), ("b", "p1")) == []
    assert kinds(("a", None), ("b", None), mpp=(None,)) == []


def test_a_column_of_labels_of_another_name_is_asked_for(tmp_path, refused):
    write_tissue(tmp_path / "t", per_class=2, size=(64, 64))
    paths = sorted((tmp_path / "t").rglob("*.png"))
    rows = [f"{path},{path.parent.name}" for path in paths]
    (tmp_path / "m.csv").write_text("\n".join(["path,klass", *rows]) + "\n")
    err = refused("trial --images T/m.csv --out T/trial")
    assert "name the column that holds it with --label-column" in err.splitlines()[-1]


def test_pictures_come_from_as_many_patients_as_there_are():
    few = records(*[("a", "p1")] * 8, ("a", "p2"), ("a", "p3"))
    assert Counter(one.group for one in one_of_each(few)[:5]) == {"p1": 3, "p2": 1, "p3": 1}
    many = records(*[("a", f"p{k // 2:02d}") for k in range(20)])
    assert [one.group for one in one_of_each(many)[:5]] == [f"p{k:02d}" for k in range(5)]
    assert one_of_each(()) == []


# time and disk


def test_time_and_disk_are_those_of_the_numbers_in_the_stores(tmp_path):
    write_tissue(tmp_path / "t", per_class=2, size=(82, 81))
    settings = FeaturizeSettings(
        encoders="convs", views=("0.5:40", "1.0:65"), weights="random", crops=2
    )
    cost = preflight(tmp_path / "t", settings=settings, timed=True).estimate
    assert cost.images == 4
    assert cost.stores == 2
    assert cost.bytes == 4 * 50 * 2 * 16 * 4
    longer = preflight(
        tmp_path / "t", settings=replace(settings, augmentations=500_000), timed=True
    ).estimate
    assert 0 < 3 * cost.seconds < longer.seconds
    unknown = preflight(
        tmp_path / "t", settings=replace(settings, weights=str(tmp_path / "none")), timed=True
    )
    assert unknown.estimate.seconds > 0  # weights do not change the time


# the command


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A manifest in a folder with spaces and accents: patients by name, odd classes, copies, damaged files."""
    root = tmp_path_factory.mktemp("odd") / "Größe É, it's"
    write_tissue(root, per_class=6, size=(130, 120), classes=("Bénin (1)", "malin – <G3>"))
    first = root / "Bénin (1)" / "Bénin (1)00.png"
    shutil.copy(first, root / "Bénin (1)" / "copie.png")
    Image.open(first).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(
        root / "malin – <G3>" / "tourné.tif"
    )
    (root / "Bénin (1)" / "vide.png").touch()
    whole = (root / "malin – <G3>" / "malin – <G3>00.png").read_bytes()
    (root / "malin – <G3>" / "tronqué.png").write_bytes(whole[: len(whole) // 2])
    rows = ["path,label,patient,hôpital"]
    for number, path in enumerate(sorted(root.rglob("*.*"))):
        patient = "Zoë Müller" if path.stem in ("copie", first.stem) else f"Hans {number // 2}"
        rows.append(
            f"{path.relative_to(root).as_posix()},{path.parent.name},{patient},{'AB'[number // 2 % 2]}"
        )
    (root / "liste.csv").write_text("\n".join(rows) + "\n")
    return root


def test_json_keeps_its_keys_and_says_more(odd, cli):
    code, out, err = cli("data check --images {} --decode --json", odd / "liste.csv", *TINY)
    content = json.loads(out)
    assert code == 1
    assert "Traceback" not in err
    assert content["dataset"] == "csv"
    assert content["images"] == 16
    assert content["synthetic"] is False
    assert content["classes"] == {"Bénin (1)": 8, "malin – <G3>": 8}
    assert " ".join(content) == (
        "dataset images classes synthetic findings class_by_patient sizes views planned_views "
        "copies protocols estimate stains next"
    )
    assert " ".join(content["protocols"][0]) == (
        "folds group_by kept refused parts warnings compared splits_patients feasible"
    )
    assert " ".join(content["planned_views"][0]) == "view fits too_small problem"
    assert {"level", "file", "message"} == set(content["findings"][0])
    errors = {one["file"] for one in content["findings"] if one["level"] == "error"}
    assert errors == {"Bénin (1)/vide.png", "malin – <G3>/tronqué.png"}
    assert content["class_by_patient"]["patients"]["Zoë Müller"] == {"Bénin (1)": 2}
    assert content["sizes"] == [{"width": 130, "height": 120, "images": 15}]  # one has no header
    assert content["copies"]["same_file"] == [["Bénin (1)/copie.png", "Bénin (1)/Bénin (1)00.png"]]
    turned = [
        one
        for one in content["copies"]["same_pixels"]
        if "malin – <G3>/tourné.tif" in (one["first"], one["second"])
    ]
    assert set(turned[0]) == {"first", "second", "correlation", "share"}
    assert {one["folds"] for one in content["protocols"]} >= {"10", "5", "site:hôpital"}
    assert content["estimate"]["seconds"] > 0
    # 16 without two that are damaged and one that is used once
    assert content["estimate"]["images"] == 13
    assert content["views"][0]["fits"] == 0
    assert content["views"][0]["too_small"][0].startswith("Bénin")
    assert len(content["next"]) == 2


def test_the_text_ends_with_commands_that_run(odd, cli, completed, tmp_path, monkeypatch):
    code, out, err = cli("data check --images {} --decode", odd / "liste.csv", *TINY)
    assert code == 1, err
    for present in (
        "IMAGES",
        "VIEWS",
        "NEAR-DUPLICATES",
        "CROSS-VALIDATION SCHEMES",
        "DISK",
        "csv: 16 images, ",
    ):
        assert present in out
    assert "`" not in out
    featurize, boost = out.split("\nNEXT\n")[1].splitlines()
    assert shlex.split(featurize)[:4] == [
        "bchisto",
        "featurize",
        "--images",
        str(odd / "liste.csv"),
    ]
    assert {"--skip-errors", "--view", "--encoder", "--augmentations"} <= set(
        shlex.split(featurize)
    )
    monkeypatch.chdir(tmp_path)
    code, _, err = cli(*shlex.split(featurize)[1:], "--weights", "random", "--jobs", 1)
    assert code == 1, err
    assert "13 images with features" in err or (tmp_path / "run" / "failures.csv").is_file(), err
    completed(*shlex.split(boost)[1:], "--seeds", 1, "--param", "num_iterations=2", "--jobs", 1)


def test_options_that_were_given_go_on_to_the_next_command(tissue, completed, tmp_path):
    out, _ = completed(
        *CHECK,
        tissue,
        "--classes",
        "malignant,benign",
        "--dataset",
        "folder",
        "--view",
        "1.0:64",
        "--encoder",
        "vgg16",
        "--stain",
        "none",
        "--mode",
        "dense",
        "--folds",
        3,
        "--group-by",
        "none",
        "--no-copies",
    )
    featurize, boost = out.split("\nNEXT\n")[1].splitlines()
    words = shlex.split(featurize)
    with command_line.make_context("bchisto", ["featurize"]) as context:
        command = command_line.get_command(context, "featurize")
        options = command.make_context("featurize", words[2:], parent=context).params
    assert options["classes"] == ("malignant", "benign")
    assert options["dataset"] == "folder"
    assert options["views"] == ("1.0:64",)
    assert options["stain"] == "none"
    assert (options["mode"], options["augmentations"]) == ("dense", 50)
    assert boost == "bchisto boost --out run --folds 3 --group-by none"


def test_nothing_to_learn_from_ends_in_no_traceback(tmp_path, cli):
    write_tissue(tmp_path / "one", per_class=1, size=(20, 12), classes=("only",))
    code, out, err = cli(*CHECK, tmp_path / "one", "--html", tmp_path / "p.html")
    assert "Traceback" not in err
    assert code == 1
    assert "No view fits these images" in out
    assert "not possible" in out
    assert "all labelled images are of class only, and training needs two classes" in out
    assert "NEXT" not in out
    (tmp_path / "m.csv").write_text("path\none/only/only00.png\n")
    code, out, err = cli(
        *CHECK,
        tmp_path / "m.csv",
        "--html",
        tmp_path / "p.html",
        "--json",
    )
    # that nothing can be trained is a finding
    assert code == 1
    assert json.loads(out)["protocols"] == []
    assert "no image has a label" in (tmp_path / "p.html").read_text()


def test_images_that_are_all_damaged_are_not_called_unlabelled(tmp_path, cli):
    for label in ("a", "b"):
        (tmp_path / "t" / label).mkdir(parents=True)
        (tmp_path / "t" / label / "1.png").write_bytes(b"x")
    code, out, _ = cli(*CHECK, tmp_path / "t")
    assert code == 1
    assert "No folds can be made: no image that can be used has a label." in out


def test_mammograms_get_no_stain(tmp_path, cli):
    write_inbreast(tmp_path / "inbreast", ["2", "5", "1", "4a"])
    code, out, err = cli(
        *CHECK,
        tmp_path / "inbreast",
        "--html",
        tmp_path / "p.html",
        *TINY,
    )
    assert code in (0, 1), err
    featurize = out.split("\nNEXT\n")[1].splitlines()[0]
    assert featurize.endswith(" --color-range 1.0 1.0 --stain none")
    text = (tmp_path / "p.html").read_text()
    assert "Contact sheet" in text
    assert "beneath it" not in text
    assert "image, as it is" in text


# the page


@pytest.fixture(scope="module")
def page(odd, tmp_path_factory):
    from bchisto.apps.check import write_preflight

    path = tmp_path_factory.mktemp("page") / "pré.html"
    found = preflight(ImageSelection(odd / "liste.csv"), settings=SETTINGS, decode=True)
    wrote = write_preflight(path, found)
    assert wrote == [path, path.with_name("pré-pictures.csv")]
    return path


def test_the_page_names_no_folder_and_no_patient(page, odd):
    text = html.unescape(page.read_text())
    for absent in ("Müller", "Hans", str(odd.parent), odd.parent.name, str(odd), odd.name):
        assert absent not in text
    for present in (
        "vide.png",
        "tronqué.png",
        "Bénin (1): 5 of 8 images",
        "malin – <G3>: 5 of 8 images",
    ):
        assert present in text
    assert 'href="http' not in text
    assert 'src="http' not in text


def test_pictures_show_an_image_above_and_its_stain_beneath(page, odd):
    text = page.read_text()
    sources = re.findall(r'src="data:image/jpeg;base64,([^"]+)" alt="Image (\d+), ([^:]+):', text)
    rows = page.with_name("pré-pictures.csv").read_text().splitlines()[1:]
    assert len(sources) == len(rows) == 10
    picture = np.array(Image.open(io.BytesIO(base64.b64decode(sources[0][0])))).astype(float)
    above, beneath = picture[: (len(picture) - 6) // 2], picture[-((len(picture) - 6) // 2) :]
    image_id = next(row for row in rows if row.startswith("1,")).split(",")[1]
    original = np.array(
        Image.open(odd / image_id).resize(above.shape[1::-1], Image.Resampling.BICUBIC)
    ).astype(float)
    assert np.abs(above - original).mean() < 8  # JPEG
    from bchisto.stains import MacenkoNormalizer

    wanted = MacenkoNormalizer().normalize(np.array(Image.open(odd / image_id)))
    wanted = np.array(
        Image.fromarray(wanted).resize(above.shape[1::-1], Image.Resampling.BICUBIC)
    ).astype(float)
    assert np.abs(beneath - wanted).mean() < 8
    assert np.abs(beneath - above).mean() > 8


@pytest.mark.parametrize("width", [1280, 400, PAPER])
def test_on_a_screen_on_a_phone_and_on_paper(page, browser, width, tmp_path):
    said = probe_page(page, browser=browser, width=width, folder=tmp_path)
    assert said["wide"] <= width
    assert said["beyond"] == 0
    assert said["pictures"] == said["decoded"] == 10
    assert said["unscoped"] == said["links"] == 0
    assert len(set(said["alts"])) == len(said["alts"])
    assert said["landmarks"] == [1, 1, 1]


@pytest.mark.slow
def test_a_bare_check_names_the_quick_commands(shared, cli, tmp_path):
    code, out, _ = cli(
        *CHECK,
        shared / "data" / "breakhis",
        "--no-copies",
        "--json",
    )
    content = json.loads(out)
    assert code == 1  # one patient has most of the images of each class
    assert [one["view"] for one in content["planned_views"]] == ["1.0:230"]
    featurize, boost = content["next"]
    assert featurize.endswith("--out run --preset quick --stain macenko-robust")
    # grouped folds of scikit-learn 1.6 lack a class here, and then the official ones are named
    assert boost in {
        f"bchisto boost --out run --preset quick --folds {folds}" for folds in ("5", "official")
    }
