"""Recipes, options and tables of strangers, which a command refuses by one line.

Name to the file, its content, the command, where ``{}`` is the file, and those of the refusal.
"""

import copy
import csv
import io
import json
import struct
import zipfile
from importlib import resources

import numpy as np
import yaml

RECIPE = yaml.safe_load((resources.files("bchisto.apps.recipes") / "rakhlin2018.yaml").read_text())
REPRODUCE = "reproduce {} --images {images} --out {out} --quick"
PATHS = ["../../../in/X", "..", ".", "/etc/x", "a/b", "a\\b"]
NAMES = [*PATHS, "", "x\0y", "-rf", "a\x1b[2J", "x" * 200, None, ["x"]]
HUGE = "9" * 5000


def recipe(**changes):
    return json.dumps({**RECIPE, **changes})


def variant(name):
    content = copy.deepcopy(RECIPE)
    content["variants"][name] = {"source": "ours"}
    return json.dumps(content)


def published(key):
    content = copy.deepcopy(RECIPE)
    content["published"][0]["key"] = key
    return json.dumps(content)


PARTS = [
    ("variants", ["published"]),
    ("variants", 5),
    ("published", {"kind": "accuracy"}),
    ("published", [{"kind": ["accuracy"]}]),
    ("steps", "featurize"),
    ("steps", [["featurize"]]),
    ("images", "many"),
    ("title", {"a": 1}),
    ("quick", ["images_per_class"]),
    ("notes", [["one"]]),
    ("featurize", ["encoders"]),
    ("boost", {"folds": {"value": 3.5, "source": "ours"}}),
    (
        "boost",
        {
            "folds": {"value": {"a": 1}, "source": "ours"},
            "heads": {"value": "lightgbm", "source": "ours"},
        },
    ),
    ("split_by", {"source": "ours", "magnification": ["../x"]}),
    ("split_by", {"source": "ours", "magnification": 40}),
    ("dataset", {"bach": 5}),
    ("full_scale", "all"),
]
RECIPES = (
    {
        f"a {kind} called {str(name)[:20]!r}": (make(name), "becomes a part of a path")
        for kind, make, names in (
            ("recipe", lambda name: recipe(name=name), NAMES),
            ("variant", variant, PATHS),
            ("table", published, PATHS),
        )
        for name in names
    }
    | {
        f"{key} that are {content!r}": (recipe(**{key: content}), "recipe rakhlin2018")
        for key, content in PARTS
    }
    | {
        f"a recipe of {content[:30]!r}": (content, words)
        for content, words in (
            (b"", "a mapping"),
            (b"- a", "a mapping"),
            (b"\xff\xfe\x00", "not YAML"),
            (b"a: &a [*a]", "aliases repeat"),
            (b"a: [" * 3000, "nested too deeply"),
            (b"name: !!python/object/apply:os.system [id]", "not YAML"),
            (b"images: 2024-99-99", "no citation"),
            (b"images: " + b"9" * 5000, "no citation"),
            (b'{"images": 1' + b"0" * 100 + b"}", "no citation"),
            (b"a: '" + b"x" * 600_000 + b"'", "too large for a recipe"),
        )
    }
)

OPTIONS = "boost --config {} --out {out}"
TEN = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 9)]
ALIASES = {
    "a billion texts by aliases": "\n".join(["l0: &l0 [x, x, x, x, x, x, x, x, x, x]", *TEN]),
    "a million texts by merging": "a: &a {x: 1}\n"
    + "".join(
        f"{name}{{<<: [{', '.join([before] * 99)}]}}\n"
        for name, before in (("b: &b ", "*a"), ("c: &c ", "*b"), ("d: ", "*c"))
    ),
}

EVALUATE = "evaluate {} --out {out}"


def predictions(classes=("a", "b"), rows=12, folds=3):
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["image_id", "label", "fold", *(f"p_{name}" for name in classes)])
    for row in range(rows):
        shares = np.full(len(classes), 0.2 / max(1, len(classes) - 1))
        shares[row % len(classes)] = 0.8
        shares[-1] = 1 - shares[:-1].sum()
        writer.writerow(
            [f"i{row}", classes[row % len(classes)], str(row % folds), *map(repr, shares.tolist())]
        )
    return text.getvalue()


def row(text):
    return f"image_id,label,fold,p_a,p_b\ni9,b,0,.2,.8\n{text}\n"


TABLES = (
    {
        f"predictions with {text[:14]}": (row(text), EVALUATE, words)
        for text, words in (
            (f"i0,a,{HUGE},.8,.2", "is not a whole number"),
            (f"i0,a,0,{HUGE},.2", "not a probability"),
            ("i0,a,0,0x1p-1,.5", "not a number"),
            (f"i0,{'x' * 5000},0,.8,.2", "5,000 letters of a class are more than"),
        )
    }
    | {
        "300 classes": (
            predictions([f"c{n}" for n in range(300)], 300),
            EVALUATE,
            "300 classes are more than the 100",
        ),
        "5,000 classes": (
            predictions([f"c{n}" for n in range(5000)], 2),
            EVALUATE,
            "columns are more than the 1,000",
        ),
        "6,000 folds": (
            predictions(rows=6000, folds=6000),
            EVALUATE,
            "6,000 folds are more than the 5,000",
        ),
        "labels and other classes": (
            "image_id,label,predicted\n" + "".join(f"i{n},l{n},m{n}\n" for n in range(60)),
            EVALUATE,
            "120 classes are more than the 100",
        ),
        "101 models": (
            "image_id,label,predicted,model\n" + "".join(f"i,a,b,m{n}\n" for n in range(101)),
            EVALUATE,
            "101 models are more than the 100",
        ),
    }
    | {
        f"fold {fold[:4]}": (
            f"image_id,fold\nbenign/benign00.png,{fold}\n",
            "data check --images {tissue} --folds {} --write-folds {out}",
            "is not a whole number",
        )
        for fold in (HUGE, "-1", "1e3")
    }
    | {
        f"a manifest with {cell[:20]!r}": (
            f"{header}\n{cell}\n",
            "featurize --images {} --encoder tiny --weights random --out {out}",
            words,
        )
        for header, cell, words in (
            ("path,label,image_id", "{first},x,a\0b", "null character"),
            ("path,label", f"{'x' * 5000},x", "name too long"),
            ("path,label", "a\0b.png,x", "there is no file"),
            ("path,label", "/dev/zero,x", "there is no file"),
            ("path,label,image_id", f"{{first}},x,{HUGE}", "too long"),
        )
    }
)

# ---- small files that used to take gigabytes

LIST = "data check --table - --dataset csv --images {}"
PREDICT = "predict {} x.png --out {out}"
SHEET = (
    '<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    '<row r="1">{}</row></sheetData></worksheet>'
)


def manifest(unit, packing):
    """A model file with a manifest of many values."""

    def write(path):
        text = unit * (24 * 1024**2 // len(unit)) + unit.rstrip(",")
        with zipfile.ZipFile(path, "w", packing) as archive:
            archive.writestr(
                "manifest.json", '{"kind": "bchisto model bundle", "x": [' + text + "]}"
            )

    return write


def directory(path):
    """A zip of nothing but its directory: a million members of a name each."""
    members = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\1\2", *[0] * 9, 7, *[0] * 6) + b"%07d" % number
        for number in range(1_000_000)
    )
    path.write_bytes(
        members + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(members), 0, 0)
    )


def workbook(row):
    """A workbook with a row of millions of elements."""

    def write(path):
        from openpyxl import Workbook

        empty = path.with_name("empty.xlsx")
        Workbook().save(empty)
        with (
            zipfile.ZipFile(empty) as parts,
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out,
        ):
            for part in parts.namelist():
                sheet = part == "xl/worksheets/sheet1.xml"
                out.writestr(part, SHEET.format(row()) if sheet else parts.read(part))

    return write


def text(make):
    return lambda path: path.write_text(make(), newline="")


ROW, ROWS = "than a table of images has", "more than 1,048,576 lines or 10,000,000 cells, too large"
GIGABYTES = {
    "a packed manifest": (
        "m.bchisto",
        manifest("[[]],", zipfile.ZIP_DEFLATED),
        PREDICT,
        "more than 2,500,000 values",
    ),
    "a manifest as it is": (
        "m.bchisto",
        manifest('{"":0},', zipfile.ZIP_STORED),
        PREDICT,
        "more than 2,500,000 values",
    ),
    "members of a model file": ("m.bchisto", directory, PREDICT, " members"),
    "members of arrays": ("e.npz", directory, "features {}", " members"),
    "members of a workbook": ("t.xlsx", directory, LIST, " members"),
    "cells of a row": ("t.xlsx", workbook(lambda: "<c/>" * 8_000_000), LIST, ROW),
    "comments of a row": ("t.xlsx", workbook(lambda: "<c/><!-- <row -->" * 2_000_000), LIST, ROW),
    "rows within a row": ("t.xlsx", workbook(lambda: "<c/><row/>" * 2_000_000), LIST, ROW),
    "attributes": (
        "t.xlsx",
        workbook(lambda: "<c" + "".join(map(' a{:x}=""'.format, range(3_000_000))) + "/>"),
        LIST,
        ROW,
    ),
    "beside the rows": (
        "t.xlsx",
        workbook(lambda: "</row>" + "<x/>" * 8_000_000 + "<row>"),
        LIST,
        ROW,
    ),
    "lines": (
        "t.csv",
        text(lambda: "path,label\n" + "a,b\n" * 3_000_000),
        LIST,
        "too large for a table of images",
    ),
    "old lines": (
        "t.csv",
        text(lambda: "path,label\r" + "a,b\r" * 3_000_000),
        LIST,
        "too large for a table of images",
    ),
    "cells": (
        "t.csv",
        text(lambda: "path,label\n" + "," * 15_000_000),
        LIST,
        "too large for a table of images",
    ),
    "columns": ("t.csv", text(lambda: "path," + "," * 1_000_000), LIST, "columns, too many"),
    "lines of predictions": (
        "t.csv",
        text(lambda: "image_id,label,predicted\n" + "a,b,c\n" * 4_000_000),
        EVALUATE,
        ROWS,
    ),
    "cells of predictions": (
        "t.csv",
        text(lambda: "image_id,label,predicted\n" + "," * 20_000_000),
        EVALUATE,
        ROWS,
    ),
}
