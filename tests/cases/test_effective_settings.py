"""`bchisto reproduce NAME --settings` prints what a run would use: of the named variants, with every default."""

import re

import pytest
from bchisto.apps.recipes import load_recipe


def printed(cli, *arguments):
    """The settings of each variant: step and name to the value and the source."""
    code, out, err = cli("reproduce", *arguments, "--settings")
    assert code == 0, err
    settings, variant = {}, ""
    for line in out.splitlines():
        if re.match(r"(featurize|boost|finetune|explain)\s", line):
            cells = [cell.strip() for cell in re.split(r"\s{2,}", line, maxsplit=3)]
            if " " in cells[0]:  # the step featurize fills its column
                cells = [*cells[0].split(" ", 1), *cells[1:]]
            settings[variant][tuple(cells[:2])] = tuple(cells[2:])
        elif ": " in line:
            variant = line.partition(":")[0]
            settings.setdefault(variant, {})
    return settings


@pytest.mark.parametrize(
    ("system", "variant", "expected"),
    [
        (
            "ddsm-masses",
            "alexnet",
            {"optimizer": "adam", "learning_rate": "0.001", "dropout": "0.5", "size": "227"},
        ),
        (
            "ddsm-masses",
            "baseline",
            {"network": "ddsm-baseline", "dropout": "0.0", "epochs": "35", "l2": "0.0"},
        ),
        ("idc-patches", "resnet", {"l2": "0.0", "precision": "float32", "validation": "True"}),
        (
            "idc-patches",
            "alexnet",
            {"dropout": "0.5", "l2": "0.0", "convention": "signed", "sampling": "under"},
        ),
        (
            "idc-patches",
            "under-before",
            {"group_by": "none", "folds": "5", "undersample_first": "true"},
        ),
        (
            "inbreast-inception",
            "from-scratch",
            {"network": "ddsm-baseline", "size": "224", "freeze": "not set"},
        ),
        ("breakhis-resnet", "no-l2", {"l2": "0.0"}),
    ],
)
def test_a_variant_is_printed_with_its_own_values(cli, system, variant, expected):
    settings = printed(cli, system, "--variant", variant)[variant]
    assert {name: settings["finetune", name][0] for name in expected} == expected


def test_several_variants_are_printed_by_what_differs(cli):
    settings = printed(cli, "ddsm-masses", "--all-variants")
    assert list(settings)[2:] == list(load_recipe("ddsm-masses").variants)
    assert settings["googlenet"]["finetune", "optimizer"] == ("sgd", "sec. 4.2")
    assert settings["alexnet"]["finetune", "optimizer"] == (
        "adam",
        "Table 3: AlexNet (Aug - Large Context)",
    )
    assert ("finetune", "patches") not in settings["alexnet"]
    assert set(settings["official"]) >= {("finetune", "folds")}


def test_what_a_typed_option_changes_is_printed(cli, refused):
    quick = printed(cli, "rakhlin2018", "--quick", "--full-scale", "--weights", "random")[
        "published"
    ]
    assert quick["featurize", "augmentations"] == ("4", "quick full scale")
    assert quick["featurize", "views"][0] == "0.5:400, 0.5:650, 1.0:800, 1.0:1300"
    assert quick["featurize", "weights"] == ("imagenet, random", "the request")
    assert quick["featurize", "mode"] == ("exact", "default")
    assert (
        "learning_rate=0.1 as of LightGBM 2, 0.0667 here"
        in quick["boost", "LightGBM parameters"][0]
    )
    named = printed(cli, "bach-encoder", "--encoder", "tiny", "--variant", "eva-knn")["eva-knn"]
    assert named["featurize", "encoders"] == ("tiny", "the request")
    assert named["boost", "heads"] == ("knn", "ours: THUNDER's second head")
    assert "bach-encoder: measures an encoder; name it with --encoder NAME" in refused(
        "reproduce bach-encoder --settings"
    )


def test_a_variant_that_there_is_not(refused):
    assert "--variant resnet: ddsm-masses has no such variant; choose one of" in refused(
        "reproduce ddsm-masses --variant resnet --settings"
    )
