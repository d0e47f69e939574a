"""Names of classes that nearly are another are named with their counts and what joins them; known terms stay silent."""

import itertools
import re
import shlex

import pytest
from bchisto.data import join_labels
from sample_trees import tree
from written_tables import checked, listed, table

TYPING = "differ in one or two letters, perhaps by a typing error"
MARK = "differ only in spaces, _ or -, or in a mark"
SHORT = "one may be an abbreviation of the other"
PLURAL = "one may be the plural of the other"
LANGUAGE = "may be one word in two languages"

NEAR = {
    TYPING: [
        "adenosis|adenozis",
        "normal|nomral",
        "tumor|tumr",
        "DCIS|DICS",
        "invasive carcinoma|invassive carcinoma",
        "metastasis|metastases",
        "carcinoma|carcimona",
    ],
    MARK: [
        "normal|normal*",
        "in situ|in situ?",
        "stroma|stroma_new",
        "tumor|tumor (old)",
        "necrosis|necrosis - copy",
        "high grade|High_Grade!",
    ],
    SHORT: [
        "normal|N",
        "invasive|inv",
        "positive|pos.",
        "ductal carcinoma in situ|DCIS",
        "grade 1|G1",
        "luminal A|LumA",
        "adenocarcinoma|adeno",
    ],
    PLURAL: [
        "lymphocyte|lymphocytes",
        "biopsy mass|biopsy masses",
        "Karzinom|Karzinome",
    ],
    LANGUAGE: [
        "malignant|bösartig",
        "normal|正常",
        "benign tumor|gutartiger Tumor",
        "tumor|tumeur",
    ],
}

SILENT = [
    "DCIS LCIS IDC ILC",
    "LumA LumB HER2 basal",
    "T1 T2 T3 T1a T1b",
    "grade_1 grade_2 grade_3",
    "ER+ ER- ER",
    "PR\u207a PR\u207b PR\u2212",
    "\u2640 \u2642",
    "T12 T21 T2012 T20123",
    "ABC ACB",
    "HER2+ HER2- HER2",
    "-1 0 1 1-0 10",
    "<5 >5",
    "benign malignant",
    "benign malign",
    "I II III IV",
    "typical atypical",
    "infiltrated uninfiltrated",
    "hypoplasia hyperplasia aplasia dysplasia metaplasia",
    "microvesicular macrovesicular",
    "intraductal extraductal interductal",
    "osteoblast osteoclast osteocyte",
    "monocyte myocyte",
    "glioma lipoma myoma myxoma angioma",
    "epithelium endothelium mesothelium",
    "tubular lobular nodular",
    "papillary capillary",
    "T-cell B-cell NK-cell",
    "HSIL LSIL ASCUS",
    "LUAD LUSC",
    "MSI MSS",
    "carcinoid carcinoma sarcoma sarcoid",
    "mucus mucous mucosa mucinous",
    "mitosis meiosis",
    "nucleus nucleolus",
    "fibrous fibrosis fibroma",
    "lobule lobular lobe",
    "tumor tumoral",
    "nucleated enucleated",
    "differentiated undifferentiated dedifferentiated",
    "malignant premalignant nonmalignant",
    "ADI BACK DEB LYM MUC MUS NORM STR TUM",
    "type_A type_B type_AB",
    "male female",
    "carcinoma sarcoma stroma",
    "adenoma adenosis adenocarcinoma",
    "benign_1 benign_2",
    "tumor non-tumor",
    "DCIS DCIS_high_grade DCIS_low_grade",
    "adenosis fibroadenoma phyllodes_tumor tubular_adenoma ductal_carcinoma lobular_carcinoma mucinous_carcinoma "
    "papillary_carcinoma",
]


def manifest(folder, labels):
    """Write a table with images of these labels, each as often as the mapping says."""
    cells = [label for label, count in labels.items() for _ in range(count)]
    names = [f"{n}.png" for n in range(len(cells))]
    if not (folder / names[-1]).is_file():
        tree(folder, *names)
    rows = zip(names, cells, (f"P{n % 6}" for n in range(len(cells))), strict=True)
    return table(folder, "csv", [("path", "label", "patient"), *rows])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    tree(folder, *(f"{n}.png" for n in range(24)))
    return folder


@pytest.mark.parametrize(
    ("why", "frequent", "rarer"),
    [(why, *pair.split("|")) for why, pairs in NEAR.items() for pair in pairs],
)
def test_a_name_that_nearly_is_another_is_named(why, frequent, rarer):
    labels = ["other"] * 12 + [frequent] * 9 + [rarer] * 3
    names, (finding,) = join_labels(labels)
    assert {*names.values()} == {"other", frequent, rarer}
    assert f"{frequent} (9 images)" in finding.file
    assert f"{rarer} (3 images)" in finding.file
    assert f"{why} (did you mean {frequent}?); they stay separate classes" in finding.message
    assert "give both one name in the table or the folders" in finding.message
    # who names both means both
    assert join_labels(labels, classes=("other", frequent, rarer))[1] == []


def test_the_check_fails_in_folders_and_what_it_advises_joins(tmp_path, cli):
    labels = {"In situ": 8, "Invasive": 6, "Invassive": 2}
    root = tree(
        tmp_path, *(f"{label}/{n}.png" for label, count in labels.items() for n in range(count))
    )
    code, text = checked(cli, root)
    assert code == 1
    assert "Invasive (6 images) and Invassive (2 images)" in text
    option = re.search(
        r"(--label-from \S+(?: \S+)*?) \(of a table with --label-column[^)]*\)", text
    )[1]
    code, text = checked(cli, root, *shlex.split(option))
    assert "separate classes" not in text
    rows, _ = listed(cli, root, *shlex.split(option))
    assert sorted(row["label"] for row in rows.values()) == ["In situ"] * 8 + ["Invas"] * 8


def test_what_it_advises_joins_in_a_table(pictures, cli):
    path = manifest(pictures, {"gland": 8, "gland_new": 2, "stroma": 6})
    text = checked(cli, path)[1]
    option = re.search(r"(--label-from \S+) \(of a table with --label-column[^)]*\)", text)[1]
    rows, err = listed(cli, path, "--label-column", "label", *shlex.split(option))
    assert sorted({row["label"] for row in rows.values()}) == ["gland", "stroma"]
    assert "separate classes" not in err


@pytest.mark.parametrize("names", SILENT)
def test_known_terms_numbers_and_signs_are_silent(names):
    names = names.split()
    for frequent, rarer in itertools.permutations(names, 2):
        labels = [frequent] * 9 + [rarer] * 3 + ["?"] * 12
        assert join_labels(labels)[1] == [], (frequent, rarer)


def test_equal_numbers_of_two_words_are_meant(pictures, cli):
    path = manifest(pictures, {"horn": 8, "hornet": 8, "corn": 8})
    assert "separate classes" not in checked(cli, path)[1]


def test_a_class_with_a_comma_can_be_named(pictures, cli, tmp_path):
    names = ("benign, clear", "malignant")
    path = manifest(pictures, {names[0]: 12, names[1]: 12})
    given = "malignant,benign\\, clear"
    rows, err = listed(cli, path, "--classes", given)
    assert {row["label"] for row in rows.values()} == {*names}
    assert "malignant 12, benign, clear 12" in err
    (tmp_path / "c.yaml").write_text(f'classes: ["malignant", "{names[0]}"]')
    assert listed(cli, path, "--config", tmp_path / "c.yaml") == (rows, err)
    assert (
        "is not among the classes"
        in cli("data check --table - --images {} --classes malignant,benign", path)[2]
    )
