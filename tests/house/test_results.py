"""Every figure on BACH that README, the results page and the other pages print is that of the measured tables.

A claim is a piece of a page as the tables word it. Each claim must stand in its page; in README's section and on the
results page no number may stand outside of claims, but for those of `UNMEASURED`.
"""

import os
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from bchisto.evaluate import (
    answers_by_fold,
    apply_temperature,
    evaluate,
    read_predictions,
    shrunk_temperature,
)

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("BCHISTO_SHARED", REPOSITORY.parent / "shared")) / "reference"
PUBLISHED = SHARED / "rakhlin2018" / "crossvalidation.csv"
BACH = SHARED / "bach"
HEADS = ("svm", "lda", "logistic", "lightgbm", "knn")
WORDS = {5: "five"}

UNMEASURED = {
    "README.md": {"2018", "4", "95"},
    "docs/results.md": {
        *("2018", "95", "80"),  # year of the paper, confidence, power
        *("4", "6", "12", "50"),  # augmentations and crops
        *("224", "1536x1536", "2048x1536"),  # pixels
        "97.3",  # an AUC that the paper prints
        *("92.4", "90.7", "89.0", "87.6", "79.7", "78.5", "79.4", "75.2", "73.7", "72.4"),
    },
}
"""Numbers of a page that no table here holds. The last row is of Midnight's model card."""

pytestmark = pytest.mark.skipif(
    not PUBLISHED.is_file() or not (REPOSITORY / "README.md").is_file(),
    reason="needs the repository and the predictions in ../shared",
)


class Measured(NamedTuple):
    """What `evaluate` finds in the tables, and the page that describes how they were made."""

    mixed: dict
    """The published system (`crossvalidation`) and ours on the published folds."""
    new: dict
    """Ours on patients that trained nothing."""
    described: str


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    def result(name, *tables):
        return evaluate(tables, out=tmp_path_factory.mktemp(name)).result

    predictions = BACH / "predictions"
    return Measured(
        mixed=result("mixed", PUBLISHED, *sorted(predictions.glob("rakhlin10-*.csv"))),
        new=result("new", *sorted(predictions.glob("eva-*.csv"))),
        described=(BACH / "measured.md").read_text(encoding="utf-8"),
    )


def page(name):
    """Return the text of a page, in one line a paragraph, without what is no prose: blocks of code and links."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    if name == "README.md":
        text = text.partition("## How good is it?")[2].partition("## Cite")[0]
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return " ".join(text.split())


def percent(figure, form=".1f"):
    """Return a figure in percent, with its interval if it has one: `87.5 (81.9 to 91.6)`."""
    value = f"{100 * figure['value']:{form}}"
    if figure["interval"] is None:
        return value
    low, high = (f"{100 * bound:{form}}" for bound in figure["interval"])
    return f"{value} ({low} to {high})"


def shown(figure):
    """Return a figure as prose has it: `63.6 % (45.3 to 78.7)`."""
    return percent(figure).replace(" (", " % (")


def right(table):
    """Return how many images are right, and of how many."""
    return f"{round(table['accuracy']['value'] * table['n'])} of {table['n']}"


def row(name, table):
    """Return the row of a table of predictions on the results page."""
    carcinoma = table["two_class"]
    if table["auc"] is None:  # a table of classes without probabilities
        auc, carcinoma_auc = "–", "97.3, by the paper"
    else:
        auc = f"{100 * table['auc']['value']:.1f}"
        pooled = carcinoma.get("auc_pooled") or carcinoma["auc"]["value"]
        carcinoma_auc = f"{100 * pooled:.1f}"
    by_patient = table["patient_recognition_rate"]
    cells = [
        name,
        percent(table["accuracy"]),
        percent(table["balanced_accuracy"]),
        f"{100 * table['macro_f1']['value']:.1f}",
        auc,
        "–" if by_patient is None else percent(by_patient),
        f"{100 * carcinoma['accuracy']['value']:.1f}",
        carcinoma_auc,
    ]
    return f"| {' | '.join(cells)} |"


def against_published(measured):
    """Return the comparison of `svm` with the published predictions, which come first."""
    (pair,) = (
        pair
        for pair in measured.mixed["comparisons"]
        if (pair["first"], pair["second"]) == ("crossvalidation", "rakhlin10-svm")
    )
    return pair


def points_against_published(measured):
    difference = against_published(measured)["differences"]["accuracy"]
    return percent(difference, "+.1f").replace(" (", " points (95 % CI ")


def points_lost(measured):
    """Return by how many points the classifiers are worse on new patients: `18 to 27`."""
    mixed, new = measured.mixed["tables"], measured.new["tables"]
    lost = [
        100 * (mixed[f"rakhlin10-{head}"]["accuracy"]["value"])
        - 100 * new[f"eva-{head}"]["accuracy"]["value"]
        for head in HEADS
    ]
    return f"{min(lost):.0f} to {max(lost):.0f}"


def right_of_the_sure(folds):
    """Return the least and the largest percentage right among images of a confidence of 90 % or more.

    New patients are calibrated by the temperature that the published folds give a model for new images.
    """
    found = []
    for head in ("svm", "lightgbm", "logistic"):
        (mixed,) = read_predictions(BACH / "predictions" / f"rakhlin10-{head}.csv")
        (table,) = read_predictions(BACH / "predictions" / f"{folds}-{head}.csv")
        confidence = answers_by_fold(table).confidence
        if folds == "eva":
            temperature = shrunk_temperature(mixed, averaged=True)
            confidence = apply_temperature(table.probabilities, temperature).max(axis=1)
        found.append(100 * table.hits[confidence >= 0.9].mean())
    return f"{min(found):.0f} to {max(found):.0f}"


def largest_patient(folds):
    """Return how many images the patient with the most has in a protocol."""
    lines = (BACH / "predictions" / f"{folds}-svm.csv").read_text().splitlines()
    place = lines[0].split(",").index("group")
    patients = (line.split(",")[place] for line in lines[1:])
    return max(Counter(filter(None, patients)).values())


def patients_of_several_images():
    lines = (BACH / "predictions" / "rakhlin10-svm.csv").read_text().splitlines()
    place = lines[0].split(",").index("group")
    images = Counter(line.split(",")[place] for line in lines[1:])
    return sum(count > 1 for patient, count in images.items() if patient)


def encoders_of_eva():
    """Return encoder to published balanced accuracy, which the recipe holds."""
    recipe = yaml.safe_load(
        (REPOSITORY / "apps" / "recipes" / "bach-encoder.yaml").read_text(encoding="utf-8")
    )
    (eva,) = (entry for entry in recipe["published"] if entry["key"] == "eva")
    return {name.removesuffix(", linear"): value for name, value in eva["others"].items()}


def claims_of_readme(measured):
    svm = measured.mixed["tables"]["rakhlin10-svm"]
    new = measured.new["tables"]["eva-svm"]
    pathology = re.findall(
        r"\| (UNI2-h|Phikon-v2) \| ([\d.]+) \| ([\d.]+) \|", page("docs/results.md")
    )
    accuracies = [float(value) for _, *values in pathology for value in values]
    return [
        f"| preset `standard`, 4 augmentations, `svm` | {right(svm)} |",
        f"published predictions | {right(measured.mixed['tables']['crossvalidation'])} |",
        f"same images and folds | {points_against_published(measured)}: not shown to be better |",
        f"**new patients**: {new['n']} images of {new['units']['groups']} patients that trained nothing | "
        f"{shown(new['accuracy'])}; balanced accuracy {100 * new['balanced_accuracy']['value']:.1f} % |",
        f"balanced accuracy {min(accuracies):.0f} to {max(accuracies):.0f} % (Phikon-v2 to UNI2-h)",
    ]


def claims_of_results(measured):
    mixed, new = measured.mixed["tables"], measured.new["tables"]
    svm, new_svm = mixed["rakhlin10-svm"], new["eva-svm"]
    units, chance = svm["units"], new_svm["chance"]
    named = svm["n"] - units["ungrouped"]
    pair = against_published(measured)
    in_a_class = {sum(row) for row in svm["confusion"]}
    assert len(in_a_class) == 1
    best = max(table["balanced_accuracy"]["value"] for table in new.values())
    return [
        f"the {svm['n']} images of the BACH challenge",
        f"of {WORDS[len(HEADS)]} classifiers and of the published system",
        f"The best of {WORDS[len(HEADS)]} is biased upwards",
        f"{units['divided']} of the {patients_of_several_images()} patients known to have several images",
        f"the same classifiers reach {points_lost(measured)} points less",
        f"{units['groups']} patients of {named} images",
        f"{right(mixed['crossvalidation'])} are right.",
        f"The preset `standard` with 4 augmentations and `svm` has {right(svm)}.",
        f"the difference is {points_against_published(measured)}, p = {pair['p']:.2f}: "
        f"{pair['only_second']} images only bchisto has right, {pair['only_first']} only the paper",
        f"would find a difference of {100 * pair['detectable']:.1f} points, so neither is shown to be better",
        f"All classes have {in_a_class.pop()} images",
        f"the mean over the {units['groups']} named patients",
        row("published", mixed["crossvalidation"]),
        *(row(f"`{head}`", mixed[f"rakhlin10-{head}"]) for head in HEADS),
        f"The {new_svm['n']} test images of the split `eva` are of {new_svm['units']['groups']} patients that trained "
        f"nothing, one of them with {largest_patient('eva')} images. Chance is {100 * chance['balanced']:.0f} % for "
        f"balanced accuracy; predicting {chance['class_by_group']} for all would be right in "
        f"{100 * chance['by_group']:.1f} % by patient",
        *(row(f"`{head}`", new[f"eva-{head}"]) for head in HEADS),
        f"With `svm`, {shown(new_svm['accuracy'])} are right. No classifier is shown to be better",
        f"balanced accuracies on the same {new_svm['n']} images",
        *claims_on_encoders(),
        f"bchisto's best row above, of networks for natural images, is {100 * best:.1f}.",
        f"chooses the epoch on these {new_svm['n']} images",
        *claims_on_other_runs(measured.described),
        *claims_on_the_work(measured.described),
    ]


def claims_on_encoders():
    """The rows whose first column is eva's. The encoder of natural images stands in the other column, of Midnight."""
    published = encoders_of_eva()
    names = re.findall(r"\| ([\w/ -]+) \| [\d.]+ \| [\d.]+ \|", page("docs/results.md"))
    assert len(names) == 9
    return [f"| {name} | {published[name]} |" for name in names]


def claims_on_other_runs(described):
    """Rows of runs without predictions, from their rows in `measured.md`."""
    fusion = described.partition("| fusion of these four stores |")[2]
    lightgbm, svm = fusion.splitlines()[:2]
    exact = next(line for line in described.splitlines() if line.startswith("| | svm | 82"))
    means = next(line for line in described.splitlines() if line.startswith("| 4 | 87.5"))
    value = r"\**([\d.]+) \+- ([\d.]+)\**"
    svm = re.search(rf"{value};.*\| ([\d.]+) \(([\d.]+)\)", svm).groups()
    lightgbm = re.search(rf"{value};.*\| ([\d.]+) \(([\d.]+)\)", lightgbm).groups()
    exact = re.search(rf"{value} \| ([\d.]+) \(([\d.]+)\)", exact).groups()
    means = re.search(r"([\d.]+) / ([\d.]+) \|$", means).groups()
    ranges = [
        f"{mixed} ± {sd} | {new}, {balanced} |"
        for mixed, sd, new, balanced in (svm, lightgbm, exact)
    ]
    return [
        f"bfloat16 | `svm` | {ranges[0]}",
        f"| the same | `lightgbm` | {ranges[1]}",
        f"| InceptionV3 `mixed8`, exact mode, 4 augmentations of 6 crops | `svm` | {ranges[2]}",
        f"| class means on the features of `standard`, 4 augmentations | scikit-learn | {means[0]} | –, {means[1]} |",
    ]


def claims_on_the_work(described):
    minutes = re.search(
        r"took ([\d.]+) CPU minutes for the four feature files, `boost` with five heads and two protocols ([\d.]+)\.",
        described,
    )
    lda = re.search(r"^\| lda \| ([\d.]+) \(.*?\), [\d.]+ \| ([\d.]+) ", described, re.MULTILINE)
    return [
        f"The first took {minutes[1]} CPU minutes, the second {minutes[2]} (",
        f"`lda` otherwise than the run, which had {lda[1]} % right, and {lda[2]} % of new patients",
    ]


def claims_elsewhere(measured):
    """Pages that print some of these figures, each with its claims."""
    mixed, new = measured.mixed["tables"], measured.new["tables"]
    svm, new_svm = mixed["rakhlin10-svm"]["accuracy"], new["eva-svm"]["accuracy"]
    lost = points_lost(measured)
    low, high = (f"{100 * bound:.1f}" for bound in svm["interval"])
    value, new_value = 100 * svm["value"], 100 * new_svm["value"]
    return {
        "docs/own-images.md": [f"on BACH by [{lost} percentage points]"],
        "docs/faq.md": [f"[by {lost} points on BACH]"],
        "docs/predict.md": [
            f"with a confidence of at least 90 %, {right_of_the_sure('rakhlin10')} % are right in the published folds, "
            f"which mix patients, and {right_of_the_sure('eva')} % of new patients'"
        ],
        "docs/report.md": [
            f"{value:.0f} % are right if patients are mixed, and {new_value:.0f} % on new patients"
        ],
        "docs/settings.md": [f"| [{value:.1f}] | {new_value:.1f} |"],
        "docs/tutorial.md": [
            f"[{lost} points more]",
            f"`svm` called {right(mixed['rakhlin10-svm'])} images right that it had not seen; its accuracy on new "
            f"images is plausibly between {low} and {high} %",
        ],
        "tools/benchmarks/presets.py": [f'--augmentations 4", {value:.1f}, "{new_value:.1f}")'],
    }


def left_out(text, claims):
    """Return the numbers of a page that are in none of its claims."""
    for claim in claims:
        text = text.replace(claim, "")
    without_names = re.sub(
        r"`[^`]*`|ViT-\w/\d|UNI2|Midnight-\d+k|Virchow2|v2|V3|V2|F1|float32", "", text
    )
    return set(re.findall(r"\d[\d.,x]*\d|\d", without_names))


@pytest.mark.parametrize(
    ("name", "claims_of"),
    [("README.md", claims_of_readme), ("docs/results.md", claims_of_results)],
)
def test_every_number_is_that_of_the_tables(name, claims_of, measured):
    claims = claims_of(measured)
    assert [claim for claim in claims if claim not in page(name)] == []
    assert left_out(page(name), claims) - UNMEASURED[name] == set()


def test_readme_warns_of_known_patients_by_what_they_cost(measured):
    text = " ".join((REPOSITORY / "README.md").read_text(encoding="utf-8").split())
    assert f"the accuracy is too high: on BACH by {points_lost(measured)} percentage points" in text


def test_other_pages_print_the_same_figures(measured):
    for name, claims in claims_elsewhere(measured).items():
        for claim in claims:
            assert claim in page(name), name


def test_the_table_of_the_tutorial(measured):
    """As a terminal has it: images right, accuracy, by patient, balanced accuracy."""
    text = (REPOSITORY / "docs" / "tutorial.md").read_text(encoding="utf-8")
    tables = [
        measured.mixed["tables"]["rakhlin10-svm"],
        measured.mixed["tables"]["rakhlin10-lightgbm"],
        measured.new["tables"]["eva-lightgbm"],
        measured.new["tables"]["eva-svm"],
    ]
    rows = re.findall(r"^(?:best)? +(?:svm|lightgbm|chance) +(\d.*)$", text, re.MULTILINE)
    found = [re.split(r" {2,}", row) for row in rows]
    models = [
        [
            right(table),
            percent(table["accuracy"]),
            percent(table["patient_recognition_rate"]),
            percent(table["balanced_accuracy"]),
        ]
        for table in tables
    ]
    chances = [
        [
            f"{round(chance['largest_class'] * table['n'])} of {table['n']}",
            f"{100 * chance['largest_class']:.1f}",
            f"{100 * chance['by_group']:.1f}",
            f"{100 * chance['balanced']:.1f}",
        ]
        for table in (tables[0], tables[2])
        for chance in (table["chance"],)
    ]
    assert found == [*models[:2], chances[0], *models[2:], chances[1]]
    for protocol, table in (("rakhlin10", tables[0]), ("eva", tables[2])):
        images, groups = table["n"], table["units"]["groups"]
        assert f"{protocol}: {table['protocol']}, {images} images of {groups} patients" in text


def test_the_picture_draws_the_accuracies(measured):
    """Name, figure, interval and point of each row of `docs/images/results.svg`; a percent is 8 wide, 40 at 240."""
    text = (REPOSITORY / "docs" / "images" / "results.svg").read_text(encoding="utf-8")
    found = re.findall(
        r'text-anchor="end" fill="#222">(\w+)</text>\n'
        r'<text [^>]*>([\d.]+)</text>\n<path d="M([\d.]+) [\d.]+H([\d.]+)".*\n<circle cx="([\d.]+)"',
        text,
    )
    drawn = [
        (name, value, *(float(f"{(float(place) - 240) / 8 + 40:.1f}") for place in places))
        for name, value, *places in found
    ]
    tables = {
        "published": measured.mixed["tables"]["crossvalidation"],
        **{head: measured.mixed["tables"][f"rakhlin10-{head}"] for head in HEADS},
    }
    rows = [*tables.items(), *((head, measured.new["tables"][f"eva-{head}"]) for head in HEADS)]
    expected = []
    for name, table in rows:
        value, low, high = re.findall(r"[\d.]+", percent(table["accuracy"]))
        expected.append((name, value, float(low), float(high), float(value)))
    assert drawn == expected


def test_what_the_pages_conclude_holds(measured):
    """Neither is shown to be better than the other on the published folds, and no classifier on new patients."""
    pair = against_published(measured)
    low, high = pair["differences"]["accuracy"]["interval"]
    assert low < 0 < high
    assert pair["p"] >= 0.05
    pairs = measured.new["comparisons"]
    assert len(pairs) == 10
    assert [pair for pair in pairs if pair["p_holm"] < 0.05] == []
