"""The library speaks Python and the command line says flags: names in messages are true, and each has its option."""

import ast
import importlib
import inspect
import json
import logging
import re
from pathlib import Path

import bchisto
import click
import pytest
from bchisto.cli import _COMMANDS, cli
from bchisto.commands.flags import as_flags, invoked
from bchisto.data import FoldChoice, ImageSelection, fold_plan, only_listed, read_dataset, stain_images
from bchisto.errors import InputError, OutputError
from bchisto.evaluate import Aggregation, TwoClassChoice, TwoClassView, aggregate, evaluate, read_predictions
from bchisto.featurize import FeaturizeSettings, norm_pool
from bchisto.jobs import Work
from bchisto.predict import predict

ROOT = Path(bchisto.__file__).parent

OTHERS = {"cli.py", "commands", "tests", "benchmarks", "tools", "docs", "build"}
"""What is no library: the command line says flags, and the rest is not installed."""

PROGRAM = re.compile(
    r"\bbchisto (?:(?:data|runs) )?[a-z]+(?: --[a-z][\w-]*(?: [^\s-]\S*)?)*|\bpip install(?: --?[a-z][\w-]*)* [\w-]+"
)
"""A whole line to run, which is no name of a parameter: ours, or pip's."""

NAMED = re.compile(r"`([A-Za-z_]\w*)(?:=[^`]*)?`")

FOREIGN = {"input_shape"}
"""In backquotes, but read from a message of Keras."""

PYTHON = {
    "p": "of `norm_pool`; settings say `pool`",
}
"""Names of functions that no command hands an option to under that name."""


def library():
    for file in sorted(ROOT.rglob("*.py")):
        room = file.relative_to(ROOT).parts[0]
        if room in OTHERS or room.startswith("."):
            continue
        yield file


def strings(file):
    """Yield (line, text) of every string but docstrings; what is filled in stands as {}."""
    tree = ast.parse(file.read_text())
    left_out = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            left_out |= {id(part) for part in node.values}
            said = "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield node.lineno, said
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out:
            yield node.lineno, node.value


def commands(group=cli):
    """Yield every command, also those of groups."""
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                yield from commands(command)
            else:
                yield command


def names_in_messages():
    """Yield (where, name) of every name in backquotes."""
    for file in library():
        for line, text in strings(file):
            for found in NAMED.finditer(text):
                yield f"{file.relative_to(ROOT)}:{line}", found[1]


def public_names():
    """Return every parameter of public functions and methods, and every field of public values."""
    found = set()
    for room in sorted(path.parent.name for path in ROOT.glob("*/__init__.py")):
        if room in OTHERS:
            continue
        module = importlib.import_module(f"bchisto.{room}")
        for public in module.__all__:
            item = getattr(module, public)
            if inspect.isclass(item) and not issubclass(item, BaseException):
                methods = [one for name, one in inspect.getmembers(item, callable) if not name.startswith("_")]
                found |= {name for one in (item, *methods) for name in parameters(one)}
            elif inspect.isfunction(item):
                found |= parameters(item)
    return found


def parameters(item):
    try:
        return set(inspect.signature(item).parameters)
    except ValueError:  # written in C
        return set()


def test_no_message_of_the_library_says_a_flag():
    said = 0
    for file in library():
        for line, text in strings(file):
            said += 1
            left = PROGRAM.sub("", text)
            assert not re.search(r"(?<![\w-])--(?:[a-z]|\{\})", left), f"{file.relative_to(ROOT)}:{line}: {text}"
    assert said > 1000


def test_every_name_is_a_parameter_that_python_has():
    known = public_names()
    named_there = list(names_in_messages())
    assert len({name for _, name in named_there}) > 40
    for where, name in named_there:
        assert name in known | FOREIGN, f"{where}: `{name}` is neither a public parameter nor a field"


def test_every_name_is_an_option_of_some_command():
    every = list(commands())
    assert len(every) > 12
    found = list(names_in_messages())
    flags_of = {
        name: {as_flags(f"`{name}`", command) for command in every} - {f"`{name}`"} for name in {n for _, n in found}
    }
    for where, name in found:
        flags = flags_of[name]
        if name in FOREIGN or name in PYTHON:
            assert not flags, f"{where}: `{name}` would be taken for {flags}"
        else:
            assert flags, f"{where}: no command has an option for `{name}`"
            offered = {flag for command in every for one in command.params for flag in one.opts}
            assert flags <= offered


@pytest.mark.parametrize(
    ("command", "said", "shown"),
    [
        ("finetune", "or `validation=False`", "or --no-validation"),
        ("finetune", "or `validation=True`", "or --validation"),
        ("finetune", "give `overwrite=True`, not `overwrite=False`", "give --overwrite, not `overwrite=False`"),
        ("finetune", 'no `augmentations="stain"`', "no --augmentation stain"),
        ("featurize", "use `color_range=(1, 1)`", "use --color-range 1 1"),
        ("featurize", 'use `views=("0.5:400", "0.5:650")`', "use --view 0.5:400 --view 0.5:650"),
        ("featurize", 'give `weights="vgg16=PATH"`', "give --weights vgg16=PATH"),
        ("featurize", "give `weights=PATH`", "give --weights PATH"),
        ("boost", 'set `params={"num_iterations": N}`', "set --param num_iterations=N"),
        (
            "boost",
            'set `params={"max_bin": 63, "extra_trees": True}`',
            "set --param max_bin=63 --param extra_trees=True",
        ),
        ("boost", '`group_by="none"` and `jobs=1`', "--group-by none and --jobs 1"),
        ("boost", "`images` and `depth` are no options of it", "`images` and `depth` are no options of it"),
        ("boost", "`jobs=`, `jobs=(`, `bchisto boost` and `a,jobs`", "`jobs=`, `jobs=(`, `bchisto boost` and `a,jobs`"),
        ("evaluate", "`rules`, `levels` and `two_class`", "--aggregate, --level and --two-class"),
        ("predict", "`format`", "--format"),
        ("predict", 'recognised as `dataset="folder"`', "recognised as dataset folder"),
        ("data make", "`images_per_class`", "--images-per-class"),
    ],
)
def test_names_become_flags(command, said, shown):
    assert as_flags(said, invoked(cli, [*command.split(), "--out", "x"])) == shown


def test_the_command_that_words_call():
    for words, name in (
        ([], "cli"), (["--version"], "cli"), (["nothing"], "cli"), (["data"], "data"), (["data", "make"], "make"),
        (["boost", "--out", "x"], "boost"), (["predict", "data", "x"], "predict"),
    ):  # fmt: skip
        assert invoked(cli, words).name == name


def refused(call):
    with pytest.raises((InputError, OutputError)) as found:
        call()
    return str(found.value)


IMAGES = ("--images", "{images}")
OUT = ("--out", "{out}")
PAIRS = {
    "a field": (
        lambda images, out: FeaturizeSettings(batch_size=0),
        "`batch_size` 0: give at least 1",
        ("featurize", *IMAGES, *OUT, "--batch-size", 0),
        "--batch-size 0: give at least 1",
    ),
    "two that exclude each other": (
        lambda images, out: Work(overwrite=True, shard="1/2"),
        "`overwrite` with `shard` would remove what other shards did; overwrite without `shard`",
        ("featurize", *IMAGES, *OUT, "--overwrite", "--shard", "1/2"),
        "--overwrite with --shard would remove what other shards did; overwrite without --shard",
    ),
    "folds by their value": (
        lambda images, out: FoldChoice(7).plans(["a", "b"], labels=["x", "x"], groups=[None] * 2, seed=0, default="10"),
        "class x has 2 images, fewer than the 7 folds; use `folds=2` or add images",
        ("data", "folds", *IMAGES, "--folds", 7, *OUT),
        "class benign has 6 images, fewer than the 7 folds; use --folds 6 or add images",
    ),
    "groups": (
        lambda images, out: fold_plan("2", image_ids=["a"], labels=["x"], groups=[None], group_by="group"),
        '`group_by="group"`: 1 of 1 images name no group; use `group_by="none"`',
        ("data", "folds", *IMAGES, "--folds", 2, "--group-by", "group", *OUT),
        "--group-by group: 12 of 12 images name no group; use --group-by none",
    ),
    "images": (
        lambda images, out: read_dataset(images / "gone"),
        "gone: no such folder or manifest; check `images`",
        ("data", "list", "--images", "{images}/gone"),
        "gone: no such folder or manifest; check --images",
    ),
    "a list of images": (
        lambda images, out: only_listed(read_dataset(images), images / "gone.csv"),
        "`only` {images}/gone.csv: no such file",
        ("featurize", *IMAGES, *OUT, "--only", "{images}/gone.csv"),
        "--only {images}/gone.csv: no such file",
    ),
    "an existing output": (
        lambda images, out: predict(images, images, out=images / "benign" / "benign00.png", work=Work(jobs=1)),
        "benign00.png: exists already; use `overwrite` or another `out`",
        ("predict", "{images}", *IMAGES, "--out", "{images}/benign/benign00.png"),
        "benign00.png: exists already; use --overwrite or another --out",
    ),
    "a stain": (
        lambda images, out: stain_images([images], out=out, stain="sepia"),
        "`stain` sepia: no such method; choose one of macenko",
        ("stain", "{images}", *OUT, "--stain", "sepia"),
        "--stain sepia: no such method; choose one of macenko",
    ),
}
"""Mistake to: made in Python, what it says, made on the command line, what that says."""


@pytest.mark.parametrize("mistake", PAIRS)
def test_one_mistake_in_python_and_on_the_command_line(mistake, tissue, tmp_path, request):
    made, said, words, shown = PAIRS[mistake]
    places = {"images": tissue, "out": tmp_path / "out"}
    message = refused(lambda: made(**places))
    assert said.format(**places) in message if "{images}" in said else said in message
    assert "--" not in message
    if not shown:
        return
    run = request.getfixturevalue("cli")
    code, _, err = run(*(str(word).format(**places) for word in words))
    assert code == 2
    assert f"error: {shown.format(**places)}" in err or shown.format(**places) in err.splitlines()[-1]
    assert "`" not in err


def test_functions_say_their_own_names(tmp_path):
    import numpy as np

    assert refused(lambda: norm_pool(np.ones((2, 3)), p=0)) == "`p` 0: give a finite exponent of at least 1"
    assert "`pool` 0.0" in refused(lambda: FeaturizeSettings(pool=0.0))
    path = tmp_path / "p.csv"
    path.write_text("image_id,label,predicted\na,x,x\nb,y,y\n", encoding="utf-8")
    (table,) = read_predictions(path)
    assert refused(lambda: aggregate(table, rule="mean")).startswith("`rule` mean: no such rule")
    assert refused(lambda: TwoClassView(rule="mean")).startswith("`rule` mean: choose one of")
    assert refused(lambda: evaluate(path, out=tmp_path, view=TwoClassChoice(rule="mean"))).startswith(
        "`rule` mean: choose one of"
    )
    said = refused(lambda: evaluate(path, out=tmp_path, aggregation=Aggregation("image", "mean")))
    assert said.startswith("`rules` mean: choose one of")


def test_what_is_logged(tissue, cli, caplog):
    with caplog.at_level(logging.INFO, "bchisto"):
        ImageSelection(tissue).read()
    assert "recognised as dataset folder" in caplog.text
    code, _, err = cli("data", "list", "--images", tissue)
    assert code == 0
    assert "recognised as dataset folder" in err


def test_other_libraries_keep_their_words(tissue, cli, monkeypatch):
    def read(self):
        logging.getLogger("keras").warning("give `images`")
        logging.getLogger("bchisto.somewhere").warning("give `images`")
        raise ValueError("no `images`")

    monkeypatch.setattr(ImageSelection, "table", read)
    code, _, err = cli("data", "list", "--images", tissue)
    assert code == 1
    assert err.splitlines()[:2] == ["warning: give `images`", "warning: give --images"]
    assert "unexpected ValueError: no `images`; this is a bug" in err


def test_findings_are_printed_with_flags(tissue, cli):
    found = [f.message for f in read_dataset(tissue, classes=["benign", "malignant", "other"]).findings]
    assert "`classes` names other, of which no image is here" in found
    for json_ in ((), ("--json",)):
        _, out, _ = cli("data", "check", "--images", tissue, "--classes", "benign,malignant,other", *json_)
        assert "--classes names other, of which no image is here" in out
        assert "`classes`" not in out


def test_a_recorded_error_is_shown_with_flags(tmp_path, cli):
    """`run.json` keeps what the library said; ``runs show`` shows what the command printed."""
    record = {
        "command": "featurize", "status": "error", "started": "2026-01-01T00:00:00+00:00",
        "error": "a.png: too small; use a smaller `views`, or another `out`",
    }  # fmt: skip
    strange = {**record, "command": "elsewhere"}
    (tmp_path / "run.json").write_text(json.dumps({"schema_version": 1, "records": [record, strange]}))
    code, out, _ = cli("runs", "show", tmp_path)
    assert code == 0
    assert "  error: a.png: too small; use a smaller --view, or another --out" in out.splitlines()
    assert "  error: a.png: too small; use a smaller `views`, or another `out`" in out.splitlines()
    assert set(_COMMANDS) >= {"featurize", "boost"}
