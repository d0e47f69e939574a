"""The library speaks Python and the command line says flags: names in messages are true, and each has its option."""

import ast
import functools
import importlib
import inspect
import logging
import pickle
import re
import string
from pathlib import Path

import bchisto
import pytest
from bchisto.cli import cli
from bchisto.commands.terminal import in_flags, invoked
from bchisto.core import InputError, Message, OutputError
from bchisto.core.jobs import Work
from bchisto.data import ImageSelection
from bchisto.featurize import FeaturizeSettings
from bchisto.predict import predict

ROOT = Path(bchisto.__file__).parent

OTHERS = {"cli.py", "submit", "commands", "tests", "tools", "docs", "build"}
"""What is no library: the command line says flags, `submit` writes command lines, and the rest is not installed."""

PROGRAM = re.compile(
    r"\bbchisto (?:(?:data|runs) )?[a-z]+(?: --[a-z][\w-]*(?: [^\s-]\S*)?)*|\bpip install(?: --?[a-z][\w-]*)* [\w-]+"
)
"""A whole line to run, which is no name of a parameter: ours, or pip's."""

NAMED = re.compile(r"`([A-Za-z_]\w*)(?:=[^`]*)?`")


def library():
    for file in sorted(ROOT.rglob("*.py")):
        rooms = file.relative_to(ROOT).parts[:2]
        if not OTHERS & set(rooms) and not rooms[0].startswith("."):
            yield file


@functools.cache
def strings(file):
    return list(_strings(file))


def _strings(file):
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


def templates(file):
    """Yield (line, template) of every message that has parts: of errors and of `Message`."""
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
            continue
        name = ast.unparse(node.func).rpartition(".")[2]
        filled = len(node.args) > 1 or any(word.arg == "remedies" for word in node.keywords)
        if name == "Message" or (name.endswith("Error") and filled and name != "ReportError"):
            yield node.lineno, node.args[0].value


def names_in_messages():
    """Yield (where, name) of every parameter that a message names."""
    for file in library():
        for line, template in templates(file):
            for _, name, _, _ in string.Formatter().parse(template):
                if name:
                    yield f"{file.relative_to(ROOT)}:{line}", name


@functools.cache
def public_names():
    """Return every parameter of public functions and methods, and every field of public values."""
    found = set()
    for path in library():
        if path.name != "__init__.py" or path.parent == ROOT:
            continue
        module = importlib.import_module(".".join(("bchisto", *path.relative_to(ROOT).parts[:-1])))
        for item in (getattr(module, name) for name in vars(module) if not name.startswith("_")):
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
        assert name in known, f"{where}: `{name}` is neither a public parameter nor a field"


def test_no_message_names_a_parameter_in_finished_text():
    known = public_names()
    for file in library():
        for line, text in strings(file):
            for name in NAMED.findall(text):
                assert name not in known, f"{file.relative_to(ROOT)}:{line}: {text}"


@pytest.mark.parametrize(
    ("command", "template", "python", "shown"),
    [
        ("finetune", "or {validation:False}", "or `validation=False`", "or --no-validation"),
        ("finetune", "give {overwrite:True}", "give `overwrite=True`", "give --overwrite"),
        ("finetune", "no {augmentations:stain}", 'no `augmentations="stain"`', "no --augmentation stain"),
        ("featurize", "use {color_range:1 1}", "use `color_range=(1, 1)`", "use --color-range 1 1"),
        ("featurize", "{views:0.5:400 0.5:650}", '`views="0.5:400 0.5:650"`', "--view 0.5:400 --view 0.5:650"),
        ("boost", "set {params:max_bin=63}", 'set `params="max_bin=63"`', "set --param max_bin=63"),
        ("boost", "{group_by:none} and {jobs:1}", '`group_by="none"` and `jobs=1`', "--group-by none and --jobs 1"),
        ("boost", "{images} and {depth:2}", "`images` and `depth=2`", "images and depth 2"),
        (
            "evaluate",
            "{rules}, {levels} and {rule}",
            "`rules`, `levels` and `rule`",
            "--aggregate, --level and --two-class",
        ),
        ("data make", "{images_per_class}", "`images_per_class`", "--images-per-class"),
    ],
)
def test_names_become_flags(command, template, python, shown):
    text = Message(template)
    assert text == python
    assert text.written(in_flags(invoked(cli, [*command.split(), "--out", "x"]))) == shown


def test_what_is_filled_in_is_never_read():
    text = Message("{views} {}: {}", "{jobs} `jobs`", InputError("{folds} {}", "a{b"))
    assert text == "`views` {jobs} `jobs`: `folds` a{b"
    assert text.written(lambda name, value: name.upper()) == "VIEWS {jobs} `jobs`: FOLDS a{b"
    assert pickle.loads(pickle.dumps(text)).names() == {"views", "folds"}


def test_the_command_that_words_call():
    for words, name in (
        ([], "cli"), (["--version"], "cli"), (["nothing"], "cli"), (["data"], "data"), (["data", "make"], "make"),
        (["boost", "--out", "x"], "boost"), (["predict", "data", "x"], "predict"),
    ):  # fmt: skip
        assert invoked(cli, words).name == name


@pytest.mark.parametrize(
    ("made", "said", "words", "shown"),
    [
        (
            lambda images: FeaturizeSettings(batch_size=0),
            "`batch_size` 0: give at least 1",
            ("featurize", "--images", "{images}", "--out", "{images}/x", "--batch-size", 0),
            "--batch-size 0: give at least 1",
        ),
        (
            lambda images: predict(images, images, out=images / "benign" / "benign00.png", work=Work(jobs=1)),
            "benign00.png: exists already; use `overwrite` or another `out`",
            ("predict", "{images}", "--images", "{images}", "--out", "{images}/benign/benign00.png"),
            "benign00.png: exists already; use --overwrite or another --out",
        ),
    ],
)
def test_one_mistake_in_python_and_on_the_command_line(made, said, words, shown, tissue, cli):
    with pytest.raises((InputError, OutputError), match=re.escape(said)):
        made(tissue)
    code, _, err = cli(*(str(word).format(images=tissue) for word in words))
    assert (code, shown in err, "`" in err) == (2, True, False), err


def test_other_libraries_keep_their_words(tissue, cli, monkeypatch):
    def read(self):
        logging.getLogger("keras").warning("give `images`")
        logging.getLogger("bchisto.somewhere").warning(Message("give {images}"))
        raise ValueError("no `images`")

    monkeypatch.setattr(ImageSelection, "table", read)
    code, _, err = cli("data", "list", "--images", tissue)
    assert code == 1
    assert err.splitlines()[:2] == ["warning: give `images`", "warning: give --images"]
    assert "unexpected ValueError: no `images`; this is a bug" in err
