"""The library speaks Python and the command line says flags: names in messages become those of either."""

import logging
import pickle

import pytest
from bchisto.cli import cli
from bchisto.commands.terminal import in_flags, invoked
from bchisto.core import InputError, Message
from bchisto.data import ImageSelection
from bchisto.featurize import FeaturizeSettings


@pytest.mark.parametrize(
    ("command", "template", "python", "shown"),
    [
        ("data check", "or {copies:False}", "or `copies=False`", "or --no-copies"),
        (
            "finetune",
            "or {validation:False}",
            "or `validation=False`",
            "or validation: false in a file of options",
        ),
        (
            "finetune",
            "no {augmentations:stain}",
            'no `augmentations="stain"`',
            "no --augmentation stain",
        ),
        (
            "featurize",
            "{views:0.5:400 0.5:650}",
            '`views="0.5:400 0.5:650"`',
            "--view 0.5:400 --view 0.5:650",
        ),
        (
            "boost",
            "{group_by:none} and {jobs:1}",
            '`group_by="none"` and `jobs=1`',
            "--group-by none and --jobs 1",
        ),
        ("boost", "{images} and {depth:2}", "`images` and `depth=2`", "images and depth 2"),
        (
            "data check",
            "{label_column:patient's} {folds:a* b} {group_from:(a b)}",
            """`label_column="patient's"` `folds="a* b"` `group_from="(a b)"`""",
            """--label-column 'patient'"'"'s' --folds 'a*' --folds b --group-from '(a b)'""",
        ),
        ("data make", "{images_per_class}", "`images_per_class`", "--images-per-class"),
    ],
)
def test_names_become_flags(command, template, python, shown):
    text = Message(template)
    assert text == python
    assert text.written(in_flags(invoked(cli, [*command.split(), "--out", "x"]))) == shown


def test_what_is_filled_in_is_never_read():
    spaced = Message("{positive:{}}", "kein Tumor").written(in_flags(invoked(cli, ["evaluate"])))
    assert spaced == "--positive 'kein Tumor'"
    text = Message("{views} {}: {}", "{jobs} `jobs`", InputError("{folds} {}", "a{b"))
    assert text == "`views` {jobs} `jobs`: `folds` a{b"
    assert text.written(lambda name, value: name.upper()) == "VIEWS {jobs} `jobs`: FOLDS a{b"
    assert pickle.loads(pickle.dumps(text)).names() == {"views", "folds"}


def test_one_mistake_in_python_and_on_the_command_line(tissue, refused):
    with pytest.raises(InputError, match="`batch_size` 0: give at least 1"):
        FeaturizeSettings(batch_size=0)
    err = refused("featurize --images {} --out {} --batch-size 0", tissue, tissue / "x")
    assert "--batch-size 0: give at least 1" in err
    assert "`" not in err


def test_other_libraries_keep_their_words(tissue, cli, monkeypatch):
    def read(self):
        logging.getLogger("keras").warning("give `images`")
        logging.getLogger("bchisto.somewhere").warning(Message("give {images}"))
        raise ValueError("no `images`")

    monkeypatch.setattr(ImageSelection, "table", read)
    code, _, err = cli("data check --table - --images {}", tissue)
    assert code == 1
    assert err.splitlines()[:2] == ["warning: give `images`", "warning: give --images"]
    assert "unexpected ValueError: no `images`; this is a bug" in err
