"""Refusals whose advice is followed: the words that a message names are typed, and the command then succeeds.

``P`` is a folder of pictures, ``R`` its run, ``F`` its feature file, ``M`` its model file, ``T`` an empty folder, and
``$1`` what the pattern of the message captures.
"""

import re
import shlex

import pytest
from bchisto.cli import cli as group
from bchisto.commands import invoked
from command_line import check_here

TINY = "--encoder tiny --weights tiny=random --augmentations 1 --jobs 1"
SMALL = f"{TINY} --view 1.0:64"
HEAD = "--head prototype --folds 2 --jobs 1"
CHAIN = "submit --scheduler local --dry-run --tasks 1"

CASES = {
    # boost
    "no run": (
        f"boost --out T/new {HEAD}",
        r"run bchisto (featurize --images) DIR (--out \S+) first",
        f"$1 P $2 {SMALL}; boost --out T/new {HEAD}",
    ),
    "a run in the place of its features": (
        f"boost --features R --out T/b {HEAD}",
        r"give (\S+)$",
        f"boost --features $1 --out T/b {HEAD}",
    ),
    "features that are not there": (
        f"boost --features T/none --out T/b {HEAD}",
        r"run bchisto (featurize) first",
        f"$1 --images P --out T/c {SMALL}; boost --features T/c/features --out T/b {HEAD}",
    ),
    "a folder of pictures as features": (
        f"boost --features P/calm --out T/b {HEAD}",
        r"`bchisto (featurize --images) DIR (--out) RUN` makes them",
        f"$1 P $2 T/c {SMALL}; boost --out T/c {HEAD}",
    ),
    "more folds than images": (
        "boost --features F --out T/b --head prototype --jobs 1 --folds 9",
        r"use (--folds \d+)",
        "boost --features F --out T/b --head prototype --jobs 1 $1",
    ),
    "folds of shares": (
        "boost --features F --out T/b --head prototype --folds 70/40",
        r"for example (70/30)",
        "boost --features F --out T/b --head prototype --jobs 1 --folds $1",
    ),
    "a single fold": (
        "boost --features F --out T/b --head prototype --folds 1",
        r"give at least (2) folds",
        "boost --features F --out T/b --head prototype --jobs 1 --folds $1",
    ),
    "patients that no image names": (
        f"boost --features F --out T/b --group-by group {HEAD}",
        r"use (--group-by none)",
        f"boost --features F --out T/b $1 {HEAD}",
    ),
    "an unknown head": (
        "boost --features F --out T/b --head protype --folds 2",
        r"(prototype)",
        "boost --features F --out T/b --head $1 --folds 2 --jobs 1",
    ),
    "a parameter without a value": (
        "boost --features F --out T/b --folds 2 --param num_leaves",
        r"write it as key(=)value",
        "boost --features F --out T/b --folds 2 --seeds 1 --jobs 1 --param num_leaves$12 "
        "--param num_iterations=1 --param min_data_in_leaf=1",
    ),
    "labels of features that have their own": (
        f"boost --features F --labels P/t.csv --out T/b {HEAD}",
        r"(leave it out|no such file)",
        f"boost --features F --out T/b {HEAD}",
    ),
    "too few classes named": (
        f"boost --features F --classes calm --out T/b {HEAD}",
        r"label '(wild)' is not among the classes calm; name every class in (--classes)",
        f"boost --features F $2 calm,$1 --out T/b {HEAD}",
    ),
    "a name that names no folder": (
        f"boost --features F --name a/b --out T/b {HEAD}",
        r"give letters, digits, dots, (hyphens)",
        f"boost --features F --name a-b --out T/b {HEAD}",
    ),
    "no processes": (
        "boost --features F --out T/b --head prototype --folds 2 --jobs 0",
        r"(--jobs|'--jobs').*1",
        "boost --features F --out T/b --head prototype --folds 2 --jobs 1",
    ),
    "a result of more seeds": (
        "boost --features F --out T/b --folds 2 --seeds 2 --jobs 1 --param num_iterations=1; "
        "boost --features F --out T/b --folds 2 --seeds 1 --jobs 1 --param num_iterations=1",
        r"use another (--name), or another --out, or --overwrite to replace",
        "boost --features F --out T/b --folds 2 --seeds 1 --jobs 1 --param num_iterations=1 $1 one",
    ),
    "the same, replaced": (
        "boost --features F --out T/b --folds 2 --seeds 2 --jobs 1 --param num_iterations=1; "
        "boost --features F --out T/b --folds 2 --seeds 1 --jobs 1 --param num_iterations=1",
        r"or (--overwrite) to replace it",
        "boost --features F --out T/b --folds 2 --seeds 1 --jobs 1 --param num_iterations=1 $1",
    ),
    "files of two featurize": (
        f"featurize --images P --out T/r {SMALL}; featurize --images P --out T/r {TINY} --view 1.5:64; "
        f"boost --out T/r {HEAD}",
        r"the last bchisto featurize made (\S+), and not \S+; name those to train on with (--features)",
        f"boost --out T/r $2 $1 {HEAD}",
    ),
    # features
    "a folder to export": (
        "features R/features --out T/f.npz",
        r"give one of them, such as (\S+)$",
        "features $1 --out T/f.npz",
    ),
    "another ending": (
        "features F --out T/f.txt",
        r"choose a name that ends in (\.npz)",
        "features F --out T/f$1",
    ),
    "an export that exists": (
        "features F --out T/f.npz; features F --out T/f.npz",
        r"use (--overwrite) or another --out",
        "features F --out T/f.npz $1",
    ),
    # featurize
    "a view without a crop": (
        f"featurize --images P --out T/r {TINY} --view 0.5x",
        r"write SCALE:CROP, for example 0.5:400",
        f"featurize --images P --out T/r {TINY} --view 1.0:64",
    ),
    "images smaller than the crop": (
        f"featurize --images P --out T/r {TINY} --view 1.0:400",
        r"--view 1.0:\d+ fits, or (--pad reflect)",
        f"featurize --images P --out T/r {TINY} --view 1.0:400 $1",
    ),
    "images smaller than the crop, with a smaller view": (
        f"featurize --images P --out T/r {TINY} --view 1.0:400",
        r"(--view 1.0:\d+) fits",
        f"featurize --images P --out T/r {TINY} $1",
    ),
    "other settings": (
        f"featurize --images P --out T/r {SMALL}; featurize --images P --out T/r {SMALL} --crops 3",
        r"use the same settings, or another (--out), or --overwrite",
        f"featurize --images P $1 T/s {SMALL} --crops 3",
    ),
    "other settings, replaced": (
        f"featurize --images P --out T/r {SMALL}; featurize --images P --out T/r {SMALL} --crops 3",
        r"or (--overwrite)",
        f"featurize --images P --out T/r {SMALL} --crops 3 $1",
    ),
    "bounds in the wrong order": (
        f"featurize --images P --out T/r {SMALL} --color-range 1.2 0.8",
        r"the lower one first",
        f"featurize --images P --out T/r {SMALL} --color-range 0.8 1.2",
    ),
    "a stain method that is not there": (
        f"featurize --images P --out T/r {SMALL} --stain macenco",
        r"did you mean (macenko)|(macenko)",
        f"featurize --images P --out T/r {SMALL} --stain macenko",
    ),
    "a precision that is not there": (
        f"featurize --images P --out T/r {SMALL} --precision int8",
        r"(float32)",
        f"featurize --images P --out T/r {SMALL} --precision $1",
    ),
    "an encoder that is not there": (
        f"featurize --images P --out T/r {SMALL} --encoder tinny",
        r"`bchisto (encoder)` prints all",
        "$1",
    ),
    "no augmentation": (
        "featurize --images P --out T/r --encoder tiny --weights random --view 1.0:64 --augmentations 0",
        r"--augmentations 0: .*(1)",
        "featurize --images P --out T/r --encoder tiny --weights random --view 1.0:64 --augmentations $1",
    ),
    "a shard that is to replace": (
        f"featurize --images P --out T/r {SMALL} --shard 1/2 --overwrite",
        r"leave out (--shard)",
        f"featurize --images P --out T/r {SMALL} --overwrite",
    ),
    "a run among the images": (
        f"featurize --images P --out P {SMALL}",
        r"name another folder, which may be inside this one",
        f"featurize --images P --out T/r {SMALL}",
    ),
    # predict, explain, evaluate
    "no images to predict": (
        "predict M --out T/p.csv",
        r"give (--images) DIR or image files, or --features FILE",
        "predict M $1 P --out T/p.csv",
    ),
    "no images, with features": (
        "predict M --out T/p.csv",
        r"or (--features) FILE",
        "predict M $1 F --out T/p.csv",
    ),
    "a table that exists": (
        "predict M --images P --out T/p.csv; predict M --images P --out T/p.csv",
        r"use (--overwrite) or another --out",
        "predict M --images P --out T/p.csv $1",
    ),
    "a threshold outside": (
        "predict M --images P --out T/p.csv --threshold 2",
        r"--threshold 2",
        "predict M --images P --out T/p.csv",
    ),
    "both kinds of replacing": (
        "predict M --images P --out T/p.csv --update --overwrite",
        r"leave one of them out",
        "predict M --images P --out T/p.csv --update",
    ),
    "a target that is not a class": (
        "explain M --images P/calm --out T/e --target mild",
        r"(calm).*(wild)|(wild)",
        "explain M --images P/calm --out T/e --target wild",
    ),
    "an evaluation that exists": (
        "evaluate R --out T/e --bootstrap 20; evaluate R --out T/e --bootstrap 20",
        r"use (--overwrite) or another --out",
        "evaluate R --out T/e --bootstrap 20 $1",
    ),
    "an evaluation elsewhere": (
        "evaluate R --out T/e --bootstrap 20; evaluate R --out T/e --bootstrap 20",
        r"or another (--out)",
        "evaluate R $1 T/f --bootstrap 20",
    ),
    # submit, data
    "an option that submit sets": (
        f"{CHAIN} -- boost --features F --out T/b {HEAD} --overwrite",
        r"boost --overwrite: does not go with submit; leave it out",
        f"{CHAIN} -- boost --features F --out T/b {HEAD}",
    ),
    "a chain without an output": (
        f"{CHAIN} -- boost --features F",
        r"Missing option '(--out)'|give (--out)",
        f"{CHAIN} -- boost --features F --out T/b {HEAD}",
    ),
    "two runs to cancel": (
        "submit --cancel R T/b",
        r"--cancel takes one run; leave it out",
        "submit --cancel R",
    ),
    "a size without a height": (
        "data make --out T/d --images-per-class 1 --size 300",
        r"write WIDTHxHEIGHT, for example \d+x\d+",
        "data make --out T/d --images-per-class 1 --size 300x200 --jobs 1",
    ),
    "an option that a file misspells": (
        "featurize --config T/bad.yaml --images P --out T/r",
        r"no option crop in `bchisto featurize`; it takes .*\b(crops)\b",
        f"featurize --config T/good.yaml --images P --out T/r {SMALL}",
    ),
    "folds to list": (
        "data check --images P --folds 9 --write-folds T/f.csv",
        r"use (--folds \d+)",
        "data check --images P $1 --write-folds T/f.csv",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_refusal_is_followed(cli, completed, calm, tmp_path, monkeypatch, case):
    check_here(cli, monkeypatch)
    refused, message, cured = CASES[case]
    places = {
        "P": calm / "P",
        "R": calm / "R",
        "F": calm / "R" / "features" / "tiny-1.0-64.h5",
        "M": calm / "R" / "boost" / "2-prototype" / "model.bchisto",
        "T": tmp_path,
    }
    (tmp_path / "bad.yaml").write_text("crop: 3\n")
    (tmp_path / "good.yaml").write_text("crops: 3\n")

    def words_of(line, found=None):
        for word in shlex.split(line):
            head, slash, rest = word.partition("/")
            if found is not None:
                rest = re.sub(r"\$(\d)", lambda n: found[int(n[1])] or "", rest)
                head = re.sub(r"\$(\d)", lambda n: found[int(n[1])] or "", head)
            if head in places:
                yield f"{places[head]}{slash}{rest}"
            else:
                yield from f"{head}{slash}{rest}".split()

    *before, last = refused.split("; ")
    for line in before:
        completed(*words_of(line))
    words = list(words_of(last))
    code, _, err = cli(*words)
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    found = re.search(message, line)
    assert (code in (1, 2), found is not None) == (True, True), err
    # what it names is an option of this command, or of the one whose line it is
    command = invoked(
        group,
        [word for word in words if not word.startswith("-")] if words[0] != "submit" else words,
    )
    options = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
    own = re.sub(r"bchisto [a-z ]+(--\S+ \S+ ?)+|boost --\w+", "", line)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", own)) <= {*options, "--help", "--out"}, line
    *before, last = cured.split("; ")
    for line in before:
        completed(*words_of(line, found))
    words = [*words_of(last, found)]
    if words[0] in ("boost", "featurize", "predict"):
        words.append("--check")  # each of these refusals is one of its checks
    code, _, err = cli(*words)
    assert code in (0, 4), err
