"""No command writes over what it is given to read, or over a device: every option that names a path, with every other.

The pairs come from the parameters of the commands, so that a new option is tried without being listed here.
"""

import os
import shutil
import stat
from pathlib import Path

import click
import pytest
from bchisto.commands.help import is_flag
from bchisto.commands.options import OUT_FILE, OUT_FOLDER
from bchisto.core.jobs import remove_output, set_aside, write_json
from command_line import commands
from conftest import typed
from PIL import Image

NOT_PATHS = (
    click.Choice,
    click.types.IntParamType,
    click.types.FloatParamType,
    click.types.BoolParamType,
)


def given(command, values):
    """Return words for a command: these values, and something for whatever else it must have."""
    words = []
    for one in command.params:
        if one.name not in values and not one.required:
            continue
        value = values.get(
            one.name, one.type.choices[0] if isinstance(one.type, click.Choice) else "anything"
        )
        words += (
            [value]
            if isinstance(one, click.Argument)
            else [max(one.opts, key=len), *[value] * one.nargs]
        )
    return words


def readable(command):
    """Parameters that may name a file to read."""
    return [
        one
        for one in command.params
        if is_flag(one)
        and one.type not in (OUT_FILE, OUT_FOLDER)
        and not isinstance(one.type, NOT_PATHS)
        and one.nargs in (1, -1)
    ]


FILES = [
    (words, command, out, read)
    for words, command in commands()
    for out in command.params
    if out.type is OUT_FILE
    for read in readable(command)
]


def test_there_are_pairs():
    names = {(" ".join(words), out.name, read.name) for words, _, out, read in FILES}
    assert {("predict", out, "weights") for out in ("out", "html")} <= names
    assert {
        ("predict", "out", "config"),
        ("data check", "write_folds", "folds"),
        ("features", "out", "source"),
    } <= names
    assert len(names) > 30


@pytest.mark.parametrize(
    ("words", "command", "out", "read"),
    FILES,
    ids=lambda part: "-".join(part) if isinstance(part, tuple) else "",
)
def test_no_output_file_is_an_input(words, command, out, read, tmp_path, refused):
    content = '{"input": 1}'
    for form, output in (
        ("{}", "input.json"),
        ("{}", "link"),
        ("{}", "hard"),
        ("tiny={}", "input.json"),
        ("onnx:{}", "input.json"),
        ("tiny=onnx:{}", "hard"),
    ):
        if form != "{}" and isinstance(read.type, click.Path):
            continue
        source = tmp_path / "input.json"
        source.write_text(content if read.name != "config" else "{}")
        before = source.read_text()
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(source)
        (tmp_path / "hard").unlink(missing_ok=True)
        (tmp_path / "hard").hardlink_to(source)
        values = {out.name: str(tmp_path / output), read.name: form.format(source)}
        if "overwrite" in {one.name for one in command.params}:
            words = (*words, "--overwrite")
        text = refused(*words, *given(command, values))
        assert "would overwrite" in text or "is none of" in text, (form, output, text)
        assert source.read_text() == before


def test_the_json_beside_weights_and_the_files_of_a_model_folder_are_read(tmp_path, refused):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("tiny.onnx", "tiny.onnx.data", "tiny.json", "config.json"):
        (folder / name).write_text("1")
    for weights, out in (
        ("tiny.onnx", "tiny.json"),
        ("tiny.onnx", "tiny.onnx.data"),
        (f"tiny=onnx:{folder}/tiny.onnx", "tiny.json"),
        (f"hub:{folder}", "config.json"),
        (f"tiny={folder}", "config.json"),
    ):
        weights = weights if ":" in weights or "=" in weights else folder / weights
        text = refused("predict m i.png --weights {} --html {} --out p.csv", weights, folder / out)
        assert "choose another --html" in text
        assert (folder / out).read_text() == "1"


@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "link"])
def test_an_output_that_is_not_a_regular_file_is_refused(kind, tmp_path, cli):
    place = tmp_path / "place"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    elif kind == "link":
        place.symlink_to("/dev/null")
    else:
        try:
            os.mknod(place, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("only root makes devices")
    before = place.lstat()
    for words, command, out in {(words, command, out) for words, command, out, _ in FILES}:
        overwrite = ["--overwrite"] if "overwrite" in {one.name for one in command.params} else []
        code, _, text = cli(*words, *overwrite, *given(command, {out.name: str(place)}))
        said = (
            "is a directory"
            if kind == "folder"
            else "is not a regular file, and is not overwritten"
        )
        assert code == 2, text
        assert said in text
        assert (place.lstat().st_ino, place.lstat().st_mode) == (before.st_ino, before.st_mode)


@pytest.mark.parametrize(
    ("words", "command"),
    [(words, one) for words, one in commands() if any(of.type is OUT_FOLDER for of in one.params)],
    ids=lambda part: "-".join(part) if isinstance(part, tuple) else "",
)
def test_what_is_given_stays_whatever_a_command_writes(words, command, tmp_path, cli, monkeypatch):
    """In place of each command stands one that writes and removes everything: which files commands write varies."""
    (tmp_path / "run").mkdir()
    refused = []

    def write_everything(*_, **__):
        calls = (
            (write_json, source, {}),
            (remove_output, source),
            (set_aside, source.parent),
            (set_aside, source),
        )
        for function, *arguments in calls:
            with pytest.raises(Exception, match="which is read"):
                function(*arguments)
            refused.append(function)

    monkeypatch.setattr(command, "callback", write_everything)
    (out,) = (one for one in command.params if one.type is OUT_FOLDER)
    tried = 0
    for read in readable(command):
        source = tmp_path / "run" / "input.csv"
        source.write_text("{}")
        code, _, text = cli(
            *words, *given(command, {out.name: str(tmp_path / "run"), read.name: str(source)})
        )
        tried += code == 0
        assert code == 0 or "Invalid value" in text or "is none of" in text, (read.name, text)
        assert source.read_text() == "{}"
    assert tried > 0
    assert len(refused) == 4 * tried


def test_a_folder_is_not_overwritten_with_what_is_read_in_it(boosted, run_copy, refused):
    run = run_copy(boosted)
    listed = run / "boost" / "mine-lightgbm" / "mine.csv"
    listed.parent.mkdir()
    listed.write_bytes((run / "boost" / "3-lightgbm" / "folds.csv").read_bytes())
    before = listed.read_bytes()
    text = refused("boost --out {} --folds {} --overwrite --jobs 1", run, listed)
    assert "would be removed with" in text
    folds = listed.rename(listed.with_name("folds.csv"))
    folds = folds.parent.rename(run / "boost" / "folds-lightgbm") / "folds.csv"
    text = refused("boost --out {} --folds {} --jobs 1", run, folds)
    assert f"would overwrite {folds}" in text
    assert folds.read_bytes() == before


@pytest.mark.parametrize("content", ["Patient;File\n", "image_id,label,group\n"])
def test_tables_among_the_images_stay(content, boosted_model, tissue, tmp_path, refused, completed):
    """Layouts read tables beside their images; what bchisto wrote there itself is written anew."""
    images = shutil.copytree(tissue, tmp_path / "images")
    (images / "INbreast.csv").write_text(content)
    for line, *given in (
        ("predict {} --images {} --overwrite --jobs 1 --out {}", boosted_model, images),
        ("predict {} --images {} --out p.csv --overwrite --html {}", boosted_model, images),
        ("data check --images {} --folds 2 --write-folds {}", images),
    ):
        text = refused(line, *given, images / "INbreast.csv")
        assert f"is among what is read in {images}" in text
        assert (images / "INbreast.csv").read_text() == content
    for _ in range(2):
        words = typed("data check --images {} --dataset folder --folds 2", images)
        completed(*words, "--write-folds", images / "folds.csv", "--table", images / "table.csv")
    for _ in range(2):
        completed(
            "predict {} --images {} --overwrite --jobs 1 --out {}",
            boosted_model,
            images / "benign",
            images / "benign" / "p.csv",
        )


def test_a_table_and_a_fold_list_are_two_files(tissue, tmp_path, monkeypatch, refused):
    """Only a table is printed by -: a fold list is written into a file of that name."""
    monkeypatch.chdir(shutil.copytree(tissue, tmp_path / "images"))
    Path("-").write_text("mine")
    for words, reason in (
        ("--write-folds -", "is among what is read in"),
        ("--write-folds f.csv --table ../images/f.csv", "is the list of --write-folds"),
    ):
        assert reason in refused("data check --images . --dataset folder --folds 2", *words.split())
    assert Path("-").read_text() == "mine"


def test_stain_does_not_write_over_its_images(tissue, tmp_path, refused, completed):
    """By whatever path or link they are named; a TIFF and the PNG made of it are two files."""
    pictures = shutil.copytree(tissue / "benign", tmp_path / "pictures")
    before = {path: path.read_bytes() for path in pictures.iterdir()}
    first = min(before)
    (tmp_path / "link").symlink_to(pictures)
    (tmp_path / "hard").mkdir()
    (tmp_path / "hard" / first.name).hardlink_to(first)
    for source, out in (
        (first, "pictures"),
        (pictures, "pictures"),
        (first, "link"),
        (first, "hard"),
    ):
        said = refused("stain {} --out {}", source, tmp_path / out)
        assert "which is read; choose another --out" in said
        assert {path: path.read_bytes() for path in before} == before
    with Image.open(first) as image:
        image.save(pictures / "slide.tif")
    completed("stain {} --out {}", pictures / "slide.tif", pictures)
    assert (pictures / "slide.png").is_file()


def test_options_that_are_called_like_a_record_stay(boosted, run_copy, refused):
    run = run_copy(boosted)
    (run / "run.json").write_text("seeds: 1\n")
    text = refused("boost --config {} --out {} --jobs 1", run / "run.json", run)
    assert "run.json, which is read" in text
    assert (run / "run.json").read_text() == "seeds: 1\n"
