"""What must be said of small tables of predictions, and what must not, in every output that a person reads.

The table `SITUATIONS` was written from statistics, not from what bchisto prints. What is true of each table is computed
here by hand or by scikit-learn, and each situation is so clear that any valid method gives the same answer
(`test_a_situation_is_clear`).
"""

import html
import json
import re
from dataclasses import dataclass, field

import numpy as np
import pytest
from bchisto.evaluate import TableChoice, conclude, evaluate, read_predictions, with_figures
from bchisto.evaluate.report import answer_lines, headline, warnings, write_evaluation
from bchisto.evaluate.report.answer import sentences
from situation_tables import (
    FIVE,
    FOUR,
    THREE,
    TWO,
    Made,
    always,
    blocks,
    called_so,
    calls,
    drawn_rows,
    each_fourth,
    exchanged,
    guessed,
    images,
    joined,
    labelled_next,
    mislabelled,
    only_classes,
    overlapping,
    part_of,
    ranked,
    relabelled,
    repeated,
    replace,
    scored,
    sure,
    tied,
    trained_on,
    with_class,
)
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score
from written_tables import read_json, rows_of

# Words of a verdict, in sentences and in cells. Scores may rank better than chance although calls are not better.
BETTER = r"(?<!shown to be )(?<!rank )better than chance(?! cannot be estimated)|\bbetter by (?:balanced|patient)"
NOT_SHOWN = r"not shown to be better than chance|(?<!; )\bnot shown by (?:balanced|patient)"
WORSE = r"worse than chance|\bworse by (?:balanced|patient)"
OLD = r"(?:better|worse) than predicting"
BY_BALANCED = r"by balanced accuracy"
BY_MEAN = r"by the mean over "
# Words on new patients.
EXPECTED = r"expect (?:about|accuracy)"
NOT_OF_NEW = r"not show what to expect of (?:a )?new|cannot be estimated|not estimable"
UNKNOWN = r"PATIENTS UNKNOWN"
SEEN = r"SEEN IN TRAINING"
DIVIDED = r"in both training and test sets"
# Words on thresholds and ranks.
THRESHOLD = r"another threshold may be better"
CURE = r"--threshold"
POOLED = r"different models|pairs of all folds|pooled"
AUC = r"\bAUC (?:is )?0?\.\d"
NO_CI = r"95 % CI not estimable|no 95 % CI|without (?:a )?(?:95 % )?(?:CI|interval)|\*"
LOOK = 'What to look at, in which order: "No better than chance: what now" in the documentation of bchisto.'
# Words on images that a strategy chose for labelling, and on what a site alone tells.
NOT_DRAWN = r"not drawn at random \(column chosen\)"
ALONE = r"site alone is right"
# Words on errors that a table itself shows.
EXCHANGED = r"may be exchanged"
OVERCONFIDENT = r"overconfident"
UNTESTED = r"is of the class"
NAMES_OF_FILES = r"the column of patients repeats the names of images, so patients count as unknown"
AT_SITES = r"the same names at several sites are taken for the same patients"
# Words on the choice of one of several.
CHOSEN = r"[Cc]ho(?:sen|ice) among"

BALANCED = "balanced_accuracy"

VERDICTS = {
    "better": ([BETTER], [NOT_SHOWN, WORSE]),
    "not shown": ([NOT_SHOWN], [BETTER, WORSE]),
    "worse": ([WORSE], [BETTER, NOT_SHOWN]),
    "not estimable": ([], [BETTER, WORSE]),
    "": ([], []),
}
"""Of each verdict what must be said and what must not. Of what cannot be estimated, "not shown" is true too."""

NAMED = {"balanced accuracy": BY_BALANCED, "mean over patients": BY_MEAN}


@dataclass(frozen=True)
class Situation:
    """A table, or several, and what is true of it.

    Attributes
    ----------
    why : str
        The statistics, in a sentence.
    tables : tuple of Made
    verdict : str
        Against chance, of each table; empty if both answers are right.
    by : str
        The figure that decides.
    unknown : str
        A pattern in the terminal and in the first part of the report, if nothing is known of new patients.
    clear : bool
        Whether the verdict follows from a jackknife with a wide margin; otherwise `why` gives the reason.
    says, never : str or sequence of str
        Patterns in the terminal and in the first part of the report; in no output at all.
    lines : str or sequence of str
        Patterns in the terminal.
    page : str or sequence of str
        Patterns anywhere in the report.
    values : dict of str to object
        Of `metrics.json`, by the path in it.
    best : str or sequence of str
        Names of tables that may be called the best, of which one is; an empty name if none need be.
    order : sequence of str
        Names of tables as the terminal has them.
    options : str
        Of the command line.
    """

    why: str
    tables: tuple[Made, ...]
    verdict: str | tuple[str, ...] = ""
    by: str = "balanced accuracy"
    unknown: str = ""
    clear: bool = True
    says: str | tuple[str, ...] = ()
    never: str | tuple[str, ...] = ()
    lines: str | tuple[str, ...] = ()
    page: str | tuple[str, ...] = ()
    values: dict = field(default_factory=dict)
    best: str | tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    options: str = ""

    @property
    def verdicts(self):
        return np.broadcast_to(self.verdict, len(self.tables)).tolist()


def each(texts):
    """Return texts, or a single one, as a tuple."""
    return (texts,) if isinstance(texts, str) else texts


def one(why, table, verdict="", **more):
    return Situation(why, (table,), verdict, **more)


def several(why, verdict, *tables, **more):
    return Situation(why, tables, verdict, **more)


def after_next(images, chosen, drawn, *, name="t"):
    """Return a table of images of which each fourth was drawn at random, right at other rates than the chosen ones."""
    inside = each_fourth(images)
    table = joined(calls(images, chosen), calls(images, drawn, seed=8), inside)
    return labelled_next(replace(table, name=name), inside)


def by_site(images, called, *, same=0.9):
    """Return a table of images at two sites, s0 and s1, each of which has one class at most patients.

    Parameters
    ----------
    same : float
        The share of patients of the class of their site.
    called : callable
        Of the images and the class of the site of each: the table of calls.
    """
    turns = np.arange(len(images.truth)) // 4 % 10
    site = np.where(turns < 10 * same, images.truth, 1 - images.truth)
    table = called(images, site)
    return replace(table, more={"site": [f"s{k}" for k in site]})


def as_site(images, site):
    """Return calls of the class of the site, with scores that say nothing else."""
    return replace(calls(images, 0.5), predicted=site, shares=np.eye(2)[site] * 0.6 + 0.2)


def file_names(count):
    """Return the first names of the files of `images`."""
    return [f"image{k:04d}.png" for k in range(count)]


def numbered(table, *, each=20, **column):
    """Return a table whose patients are numbered anew after so many, with a column made from their order."""
    ((name, value),) = column.items()
    order = [k // 4 for k in range(len(table.truth))]
    units = [f"{k % each + 1}" for k in order]
    return replace(table, units=units, folds=None, more={name: [*map(value, order)]})


def from_share(table, share):
    """Return a table of two classes that is called by the shares of these in training, of the second `share`."""
    predicted = (table.shares[:, 1] >= share).astype(int)
    limits = np.array([1 - share, share])[predicted].tolist()
    return replace(table, predicted=predicted, says_predicted=True, more={"called_from": limits})


def right_of(table):
    """Return how many rows of a table are right."""
    return int((table.truth == table.predicted).sum())


def candidates(*rights):
    """Return tables of the same images and folds, right at given rates of each class."""
    return [calls(HALF, right, seed=k, name="abc"[k]) for k, right in enumerate(rights)]


GLEASON = ("6", "7", "8", "9")
THIRDS = images((80,) * 3, classes=THREE)
RARE = images((380, 20))
HALF = images((160, 160))
STRANGERS = images((100, 100), patients="unknown")
MIXED = images((160, 160), patients="divided")
DOMINATED = images((60, 60), big=240)
LEFT_OUT = images((60, 60), per=5, folds="patient")
NEW_SITE = images((160, 160), folds=0)
GOOD, PERFECT = calls(HALF, 0.9), calls(HALF, 1)

PREVALENCE = {
    "good, half are malignant": one(
        "288 of 320 images of 80 patients are right, as many of each class", GOOD, "better"
    ),
    "good, 7 % are malignant": one(
        "balanced accuracy 91 %: useful, although 'benign for all' is right more often (93 against 89 %)",
        calls(images((370, 30), per=5), (0.89, 0.93)),
        "better",
        never=r"worse than predicting benign",
        page=r"average precision 0\.\d+, chance 0\.075",
    ),
    "good, 25 % are malignant": one(
        "one of four is not rare: precision hides nothing",
        calls(images((240, 80)), 0.9),
        "better",
        never=r"average precision",
    ),
    "called from the share in training": one(
        "the models' classes were as unequal: 0.3 is called malignant, and no limit contradicts that",
        from_share(ranked(images((240, 80)), low=0.02, high=0.48, overlap=0.1), 0.25),
        "better",
        never=THRESHOLD,
        page=r"0\.25, share in training",
        values={"call": "share", "two_class.limit": 0.25},
    ),
    "good, and not shown to be by patient": one(
        "18 of 20 benign and 150 of 180 malignant images, of two per patient: fewer than 'malignant for all', 90 %",
        calls(images((20, 180), per=2, folds=0), (0.9, 0.8334)),
        "better",
        says=(
            r"but not shown to be by the mean over patients: ",
            r"\(90 if all were called malignant\)",
        ),
    ),
    "always the largest of two, 5 % are malignant": one(
        "95 % of the images are right, and not one malignant is found: balanced accuracy is 50 %, which is chance",
        always(RARE, 0),
        "not shown",
    ),
    "always the rare class, 5 %": one(
        "5 % of the images are right, but balanced accuracy is 50 %: by that figure this is chance and not worse",
        always(RARE, 1),
        "not shown",
    ),
    "chance, biased towards the large class": one(
        "95 % of benign and 5 % of malignant images are called benign: 91 % are right and nothing is recognised",
        calls(images((576, 64)), (0.953125, 0.046875)),
        "not shown",
    ),
    "many right, but below chance": one(
        "80 % of benign and 2 % of malignant images, 71 % of all: balanced accuracy is 41 %",
        calls(
            images(
                (900, 100),
                per=3,
            ),
            (0.8, 0.02),
        ),
        "worse",
    ),
    "perfect": one(
        "all right: the interval still has a width, and promises less than all",
        PERFECT,
        "better",
        never=r"100 to 100",
    ),
    "small but sure": one(
        "58 % of 1,000 patients with an image each: a small effect is known to be there",
        calls(images((500, 500), per=1), 0.58),
        "better",
    ),
    "large but not sure": one(
        "60 % of 40 images of 40 patients: the interval is 30 points wide",
        calls(images((20, 20), per=1), 0.6),
        "not shown",
        clear=False,
    ),
}

PATIENTS = {
    "patients unknown, good": one(
        "the verdict on these images stands; of new patients nothing is known",
        calls(STRANGERS, 0.9),
        "better",
        unknown=UNKNOWN,
    ),
    "patients unknown, always the largest": one(
        "95 of 100: not knowing patients must not swallow the verdict",
        always(images((95, 5), patients="unknown"), 0),
        "not shown",
        unknown=UNKNOWN,
    ),
    "patients unknown, below chance": one(
        "worse than chance is worse whoever the patients are",
        calls(STRANGERS, 0.2),
        "worse",
        unknown=UNKNOWN,
    ),
    "patients divided, good": one(
        "folds are of images though patients are known: too high for new patients",
        calls(MIXED, 0.9),
        "better",
        unknown=DIVIDED,
    ),
    "patients partly known": one(
        "half of the images have a patient: each of the others is a unit of its own, and this is said",
        calls(images((160, 160), patients="partly"), 0.9),
        "better",
        says=r"160 images name no (?:patient|group)",
        never=UNKNOWN,
    ),
    "one patient holds two thirds, good": one(
        "240 of 360 images are of one patient, so no interval of images exists; 31 patients of equal weight have one",
        calls(DOMINATED, 0.9, big=0.9),
        "better",
        by="mean over patients",
        says=r"67 %",
        values={"balanced_accuracy.interval": None, "accuracy.interval": None},
    ),
    "one patient holds two thirds, only that one is right": one(
        "82 % of the images are right, but of the other 30 patients half: nothing is shown",
        calls(DOMINATED, 0.5, big=1.0),
        "not shown",
        by="mean over patients",
    ),
    "one patient holds two thirds, that one is wrong": one(
        "37 % of the images are right, but 95 % of those of 30 patients: by patient this is good",
        calls(DOMINATED, 0.95, big=0.08),
        "better",
        by="mean over patients",
    ),
    "one patient holds two thirds, below chance by patient": one(
        "the large patient is right, a tenth of the others: by patient worse than chance",
        calls(DOMINATED, 0.1, big=0.95),
        "worse",
        by="mean over patients",
    ),
    "one patient holds two thirds, the others are unknown": one(
        "one known patient among images without: neither images nor patients have an interval",
        replace(
            calls(DOMINATED, 0.9, big=0.9),
            units=[None] * 120 + ["big"] * 240,
        ),
        "not estimable",
        clear=False,
        unknown=NOT_OF_NEW,
    ),
    "all images of one patient": one(
        "a single patient does not tell how much patients differ: no interval, and no verdict",
        calls(images((20, 20), patients="one", folds=0), 0.9),
        "not estimable",
        values={"accuracy.interval": None, "balanced_accuracy.interval": None},
        unknown=NOT_OF_NEW,
    ),
    "one patient of each class": one(
        "two patients, all right: whether the class or the patient was recognised cannot be known",
        calls(images((20, 20), per=20, folds=0), 1),
        values={"balanced_accuracy.interval": None},
        never=BETTER,
        clear=False,
    ),
    "one malignant patient among twenty": one(
        "19 benign patients and a malignant one, all right: sensitivity rests on one patient",
        calls(images((76, 4)), 1),
        values={"balanced_accuracy.interval": None},
        never=r"by balanced accuracy[^.]*(?<!not shown to be )better than chance",
        clear=False,
    ),
    "one patient a fold, noise": one(
        "no fold holds a pair of classes, so an AUC ranks scores of different models (Forman & Scholz 2010)",
        guessed(LEFT_OUT, seed=7),
        "not shown",
        page=POOLED,
        values={"auc.interval": None},
        never=THRESHOLD,
    ),
    "one patient a fold, good ranks, wrong threshold": one(
        "the pooled AUC has no interval, so it cannot show that the threshold is at fault",
        ranked(LEFT_OUT, low=0.02, high=0.45, overlap=0.05),
        "not shown",
        values={"auc.interval": None},
        never=THRESHOLD,
    ),
    "one patient a fold, models that call the larger class": one(
        "on equal classes the patient left out is always of the smaller one: 0 of 120 are right, and half of new ones",
        replace(
            always(LEFT_OUT, 0, wobble=0),
            predicted=1 - LEFT_OUT.truth,
            shares=np.eye(2)[1 - LEFT_OUT.truth],
        ),
        says=r"NOTHING LEARNT",
        never=(BETTER, WORSE, EXPECTED),
        clear=False,
    ),
    "one image a fold": one(
        "40 folds of an image of an unknown patient each",
        calls(images((20, 20), patients="unknown", folds="image"), 0.9),
        "better",
        page=POOLED,
        values={"auc.interval": None},
        unknown=UNKNOWN,
    ),
    "a new site": one(
        "a finished model on 80 patients of another place: no folds, so nothing leaks between them",
        calls(NEW_SITE, 0.9),
        "better",
        never=(DIVIDED, r"cross-validation, ", UNKNOWN),
    ),
    "the model trained on a tenth of the images": one(
        "32 of 320 images trained it: what is right of these is no test",
        trained_on(calls(NEW_SITE, 0.9), 32),
        says=r"32",
        unknown=SEEN,
    ),
    "the model trained on all of the images": one(
        "perfect on what trained it shows nothing: a verdict, if any, is about these images only",
        trained_on(calls(NEW_SITE, 1), 320),
        says=r"[Oo]n these images",
        unknown=SEEN,
    ),
    "patches of images": one(
        "4 patches of each of 160 images of 40 patients: patients are what is independent",
        replace(
            calls(images((320, 320), per=16), 0.9),
            ids=[f"image{k // 4:03d}.png" for k in range(640)],
            more={"patch": [k % 4 for k in range(640)]},
        ),
        "better",
        says=r"640 patches",
    ),
    "cases": one(
        "a column `case` names what is independent: the word of the user's column is used",
        calls(images((160, 160), column="case"), 0.9),
        "better",
        says=r"new cases like these",
        never=(r"\bpatients?\b", UNKNOWN),
    ),
    "animals": one(
        "a column that is not known to hold patients is either used, or images are said to be of unknown patients",
        calls(images((160, 160), column="animal"), 0.9),
        "better",
        says=r"80 animals|PATIENTS UNKNOWN",
    ),
    "patients of one image": one(
        "every row is a unit: the figures by image and by patient are the same, and said once",
        calls(images((160, 160), per=1), 0.9),
        "better",
        never=r"each counting the same",
    ),
    "patients of very unequal size": one(
        "6 patients of 30 images and 40 of 3: none holds half, so images decide",
        replace(
            calls(images((150, 150), per=3), 0.9),
            units=[f"p{min(k % 150 // 3, 5 + k % 150 // 25)}-{k // 150}" for k in range(300)],
            folds=None,
        ),
        "better",
    ),
}

CLASSES = {
    "four classes, most are wrong": one(
        "45 % right is far above 25 %, although most images are wrong",
        calls(images((120,) * 4, classes=FOUR), 0.45),
        "better",
    ),
    "three classes, below chance": one("10 % of each: chance is 33 %", calls(THIRDS, 0.1), "worse"),
    "five classes, always the largest": one(
        "60 % of the images are of the largest class: balanced accuracy is 20 %, which is chance",
        always(images((240, 40, 40, 40, 40), classes=FIVE), 0),
        "not shown",
        never=THRESHOLD,
    ),
    "three classes, fewer right than the largest class": one(
        "45 % of the large class and 75 % of the others: 54 % right of 70 %, and yet balanced accuracy is 65 %",
        calls(images((420, 90, 90), classes=THREE, per=3), (0.45, 0.75, 0.75)),
        "better",
        never=r"worse than predicting",
    ),
    "a class is missing in a fold": one(
        "the malignant patients stand in two of five folds: the others have no pair to rank, and no AUC",
        replace(
            calls(images((160, 64)), 0.9),
            folds=[k // 4 % 5 + 1 for k in range(160)] + [k // 4 % 2 + 1 for k in range(64)],
        ),
        "better",
        never=THRESHOLD,
    ),
    "a class is never predicted": one(
        "two classes are perfect, the third is called the first: balanced accuracy 67 %, its precision is not defined",
        calls(THIRDS, (1, 1, 0), wrong=(1, 2, 0)),
        "better",
        values={"per_class.invasive.precision": None},
        never=r"\bnan\b",
    ),
    "no row has a class, and always the largest": one(
        "two of three classes are tested, so guessing reaches 50 % and not 33 %: a constant is not better than that",
        with_class(always(images((120, 120), classes=THREE[:2]), 0), "invasive"),
        "not shown",
    ),
    "all rows have one class": one(
        "all malignant, all right: whoever says malignant does as well, and nothing is ranked; 100 % is not too low",
        calls(images((0, 160)), 1),
        "not estimable",
        never=(BETTER, THRESHOLD, AUC, r"too low"),
        clear=False,
    ),
    "a tie is what predicted says, for the negative class": one(
        "every malignant image is a tie and named benign: sensitivity is 0, not 100 %",
        tied(PERFECT, range(160, 320), 0),
        "not shown",
        lines=r"sensitivity 0\.0 %",
        never=r"sensitivity 100",
        options="--positive malignant",
    ),
    "a tie is what predicted says, for the positive class": one(
        "every malignant image is a tie and named malignant: sensitivity is 100 %",
        tied(PERFECT, range(160, 320), 1),
        "better",
        lines=r"sensitivity 100\.0 %",
        options="--positive malignant",
    ),
    "a tie without a column": one(
        "every malignant image is a tie: the class order decides, and alike in all outputs",
        replace(tied(PERFECT, range(160, 320), 0), says_predicted=False),
        "not shown",
        lines=r"sensitivity 0\.0 %",
        never=r"sensitivity 100",
        options="--positive malignant",
    ),
    "a tie of three": one(
        "thirds for all invasive images, named invasive: they are right",
        tied(calls(THIRDS, (0.9, 0.9, 0)), range(160, 240), 2),
        "better",
        values={"per_class.invasive.recall.value": 1.0},
    ),
    "only predicted classes, always the largest": one(
        "no ranks, so it cannot be known whether a threshold would help",
        only_classes(always(RARE, 0)),
        "not shown",
        values={"auc": None},
        never=(THRESHOLD, AUC),
    ),
    "nothing learnt": one(
        "all probabilities are the same: the models know nothing",
        always(HALF, 0, wobble=0),
        "not shown",
        says=r"NOTHING LEARNT",
        never=THRESHOLD,
    ),
}

GRADES = {
    "grades that are one apart": one(
        "a third is called a neighbouring grade, and none is further away: most of what is wrong is nearly right",
        called_so(calls(images((80,) * 4, classes=FOUR), 0.7, wrong=(1, 2, 3, 2)), *GLEASON),
        "better",
        page=(r"weighted kappa 0\.8", r"squared differences of the numbers .* \[\d+\]"),
    ),
    "grades that are far apart": one(
        "the same number is wrong, and called the other end: with the distances of 1, 2, 3 and 5",
        called_so(
            calls(images((80,) * 4, classes=FOUR), 0.7, wrong=(3, 3, 0, 0)), "G1", "G2", "G3", "G5"
        ),
        "better",
        page=r"weighted kappa 0\.[0-5]",
    ),
    "grades in another order": one(
        "columns of probabilities may stand in any order, and the numbers tell that of the grades",
        called_so(calls(images((80,) * 3, classes=THREE), 0.8), "grade 3", "grade 1", "grade 2"),
        "better",
        page=r"weighted kappa 0\.\d",
    ),
    "grades in words": one(
        "an order that is given, of names that tell none",
        calls(images((80,) * 3, classes=THREE), 0.8),
        "better",
        page=r"weighted kappa 0\.\d",
        options="--ordered",
    ),
    "classes without an order": one(
        "letters are no grades",
        calls(images((80,) * 4, classes=FOUR), 0.7),
        never=r"[Ww]eighted kappa",
    ),
    "two grades": one(
        "of two classes no call is nearly right",
        called_so(GOOD, "G1", "G2"),
        "better",
        never=r"[Ww]eighted kappa",
    ),
}

RANKS = {
    "good ranks, all are called benign": one(
        "scores of .02 to .45 tell the classes apart, and none reaches .5: the threshold is at fault",
        ranked(HALF, low=0.02, high=0.45, overlap=0.1),
        "not shown",
        says=(THRESHOLD, CURE),
    ),
    "good ranks, all are called malignant": one(
        "the same above one half",
        ranked(HALF, low=0.55, high=0.98, overlap=0.1),
        "not shown",
        says=(THRESHOLD, CURE),
    ),
    "good ranks, calls below chance": one(
        "no malignant image reaches .5 but some benign do: worse than chance at .5, and good at .3",
        scored(HALF, (0.1, 0.4), high=(0.35, 0.9)),
        "worse",
        says=(THRESHOLD, CURE),
    ),
    "fair ranks, few images, no better threshold": one(
        "25 of 36 are right at .5 and 26 at the best threshold there is: few images are the reason, not the threshold",
        overlapping(images((18, 18), per=1), apart=1.3, seed=31),
        "not shown",
        never=THRESHOLD,
        clear=False,
    ),
    "good ranks, right threshold": one(
        "calls are good, so no advice is due",
        ranked(HALF, low=0.05, high=0.95, overlap=0.1),
        "better",
        never=THRESHOLD,
    ),
    "reversed ranks": one(
        "AUC near 0: no threshold makes this better",
        exchanged(ranked(HALF, low=0.02, high=0.98, overlap=0.1)),
        "worse",
        never=THRESHOLD,
    ),
    "ranks by chance": one(
        "AUC near .5, so no threshold would help",
        guessed(HALF, seed=4),
        "not shown",
        never=THRESHOLD,
    ),
    "a threshold that was asked for": one(
        "at .2 the same scores call nearly all rightly: the sensitivity at that threshold is printed",
        ranked(HALF, low=0.02, high=0.45, overlap=0.0),
        "not shown",
        lines=r"operating point 0\.235: sensitivity 100\.0 %",
        options="--positive malignant --threshold 0.235",
    ),
    "a target sensitivity of few patients": one(
        "95 % take 19 positive patients outside each fold, and there are 5: nothing is guaranteed",
        calls(images((160, 20)), 0.9),
        lines=r"too few positive",
        options="--positive malignant --sensitivity 0.95",
        clear=False,
    ),
    "a target sensitivity without folds": one(
        "the threshold was fitted on the rows that it is tested on",
        calls(NEW_SITE, 0.9),
        "better",
        lines=r"same rows",
        options="--positive malignant --sensitivity 0.9",
    ),
}

FEW = {
    "six images, perfect": one(
        "3 of 3 and 3 of 3 by unknown patients: 1 in 64 by chance, so it may be shown or not, but is never worse",
        calls(images((3, 3), patients="unknown", folds=3, per=1), 1),
        never=(WORSE, r"100 to 100", r"\bnan\b"),
        clear=False,
        unknown=UNKNOWN,
    ),
    "three images a class of four, chance": one(
        "3 of 12, chance is 3",
        calls(images((3,) * 4, classes=FOUR, per=1, folds=3), (1 / 3, 1 / 3, 1 / 3, 0)),
        "not shown",
        clear=False,
    ),
    "two images, both wrong": one(
        "happens by chance in a quarter of all cases",
        calls(images((1, 1), patients="unknown", folds=0, per=1), 0),
        never=(WORSE, BETTER),
        clear=False,
        unknown=UNKNOWN,
    ),
    "one image": one(
        "one right image shows nothing",
        calls(images((0, 1), patients="unknown", folds=0), 1),
        never=(WORSE, BETTER, AUC),
        clear=False,
        unknown=UNKNOWN,
    ),
    "four patients, all right": one(
        "2 patients of each class, 1 in 16 by chance for patients who are right or wrong as a whole",
        calls(images((20, 20), per=10, folds=2), 1),
        never=(WORSE, r"100 to 100"),
        clear=False,
    ),
    "six patients, all right": one(
        "as nearly all right, which is better than chance: more right images never look worse",
        calls(images((15, 15), per=5, folds=3), 1),
        "better",
        never=r"100 to 100",
        clear=False,
    ),
    "six patients, nearly all right": one(
        "28 of 30", calls(images((15, 15), per=5, folds=3), 0.93), "better", clear=False
    ),
    "twenty images in ten folds, all pairs right": one(
        "ten independent pairs: all right is likely from .74 on, and no more is known",
        calls(images((10, 10), per=1, folds=10), 1),
        "better",
        clear=False,
    ),
    "rows without a label": one(
        "20 rows have no label: they are left out, and counted", GOOD, "better"
    ),
}


SEVERAL = {
    "one good among bad": several(
        "only the first is better than chance",
        ("better", "not shown", "not shown"),
        *candidates(0.9, 0.5, (0.48, 0.52)),
        best="a",
        says=r"[Cc]ho(?:sen|ice) among 3",
    ),
    "all at chance": several(
        "the first of three that are at chance is not a best one",
        "not shown",
        *candidates((0.53, 0.5), 0.5, (0.47, 0.5)),
        best=(),
    ),
    "all below chance": several(
        "28 % is the highest, and worse than guessing",
        "worse",
        *candidates(0.28, 0.2, (0.22, 0.2)),
        best=(),
        never=BETTER,
    ),
    "the first by balanced accuracy is the last by accuracy": several(
        "one calls the few malignant images well, the other nearly all benign: what ranks is tested",
        "",
        calls(images((48, 12), per=4), (0.97, 0.55), name="a"),
        calls(images((48, 12), per=4), (0.82, 0.9), seed=1, name="b"),
        best=("b", ""),
        order=("b", "a"),
        lines="By balanced accuracy b is",
        never=("By accuracy", "p of accuracy"),
    ),
    "equal twins": several(
        "the same predictions twice: the difference is 0, so neither is the better one",
        "better",
        replace(GOOD, name="a"),
        replace(GOOD, name="b"),
        best=("a", "b"),
        says=(r"[+±]?0\.0", r"a and b are equal and highest"),
    ),
    "nine by chance, of which the first looks sure": several(
        "29 of 40 by the luckiest of nine who guess: above chance by itself, and not after the choice among nine",
        "not shown",
        *[
            guessed(images((20, 20), per=1), seed=1080 + k, name=name)
            for k, name in enumerate("abcdefghi")
        ],
        best=(),
        says=r"[Cc]ho(?:sen|ice) among 9",
        clear=False,
    ),
    "the first by images is the last by patient": several(
        "one patient holds two thirds: the figure of images has no interval, so patients rank",
        ("", "better"),
        calls(DOMINATED, (0.4, 0.3), big=1.0, name="forest"),
        calls(DOMINATED, 0.9, big=0.2, seed=1, name="linear"),
        by="mean over patients",
        best="linear",
        order=("linear", "forest"),
    ),
    "the first by images is below chance by patient": several(
        "both call a tenth of 30 patients rightly, and the large one too: none is the best",
        "worse",
        calls(DOMINATED, 0.1, big=1.0, name="forest"),
        calls(DOMINATED, 0.15, big=0.5, seed=1, name="linear"),
        by="mean over patients",
        best=(),
    ),
    "the better has no interval": several(
        "all images of the first are of one patient, so it has no interval: it cannot be called the best",
        ("not estimable", "better"),
        calls(replace(images((40, 40), per=2, patients="one"), folds=None), 1, name="a"),
        calls(images((40, 40), per=2, folds=0), 0.8, seed=2, name="b"),
        clear=False,
    ),
    "different images, as many": several(
        "as many images of as many patients, but others: the tables are not of one study, and are not ranked",
        "better",
        replace(GOOD, name="a"),
        replace(
            calls(HALF, 0.8, seed=1, name="b"),
            ids=[f"other{k}.png" for k in range(320)],
            units=[f"other {unit}" for unit in HALF.units],
        ),
        best=(),
        says=r"not compared",
        never=CHOSEN,
    ),
    "different folds, as many": several(
        "folds of patients against folds of images: the second is too high for new patients, and cannot be the best",
        "better",
        calls(HALF, 0.8, name="whole"),
        calls(MIXED, 0.95, seed=1, name="divided"),
        says=r"not compared|other folds",
        never=CHOSEN,
    ),
    "tables ten rows apart": several(
        "b lacks ten images of a: both are compared on the 310 that they share, and the number is said",
        "better",
        replace(GOOD, name="a"),
        part_of(calls(HALF, 0.8, seed=1, name="b"), np.arange(320) >= 10),
        best=(),
        says=r"a and b are compared on the 310 images that both have",
        page=r"of the 310 images that both have",
        never=(CHOSEN, r"not compared"),
    ),
    "each table has rows of its own": several(
        "290 are in both, 20 only in a, and ten only in b",
        "better",
        part_of(calls(HALF, 0.8, name="a"), np.arange(320) >= 10),
        part_of(calls(HALF, 0.8, seed=1, name="b"), np.arange(320) < 300),
        best=(),
        says=r"a and b are compared on the 290 images that both have",
        never=(CHOSEN, r"not compared"),
    ),
    "tables that share half of the rows": several(
        "160 images are in both, which are not most of the 320: what they show is not of all",
        "better",
        replace(GOOD, name="a"),
        part_of(calls(HALF, 0.8, seed=1, name="b"), np.arange(320) % 8 < 4),
        best=(),
        says=r"a and b are not compared: 160 rows only in the first, 0 only in the second",
        never=CHOSEN,
    ),
    "ten rows apart, other labels": several(
        "of the images that both have, 40 have another true class in the second table",
        "better",
        replace(GOOD, name="a"),
        part_of(calls(relabelled(HALF, 20), 0.9, seed=1, name="b"), np.arange(320) >= 10),
        best=(),
        says=r"a and b are not compared: they name different true classes",
        never=CHOSEN,
    ),
    "other labels": several(
        "40 images have another true class in the second table: the tables are of different questions",
        "better",
        replace(GOOD, name="a"),
        calls(relabelled(HALF, 20), 0.9, seed=1, name="b"),
        says=r"not compared",
        never=CHOSEN,
    ),
    "one of two has seen the images": several(
        "all right by a model that trained on these images: it cannot be the best",
        ("", "better"),
        trained_on(calls(NEW_SITE, 1, name="seen"), 320),
        calls(NEW_SITE, 0.85, seed=1, name="new"),
        says=SEEN,
        best=("", "new"),
    ),
    "the first is not sure, the second is": several(
        "patients wholly right or wholly wrong of the first: 60 % are not sure, 59 % of the second's images are",
        ("not shown", "better"),
        blocks(images((400, 400), per=40, folds=0), 12, name="a"),
        calls(images((400, 400), per=40, folds=0), 0.59, seed=3, name="b"),
        best=("", "b"),
        clear=False,
    ),
    "patients unknown, three": several(
        "nothing is known of new patients of any of them",
        "not shown",
        *[
            guessed(images((30, 30), patients="unknown"), seed=40 + k, name=name)
            for k, name in enumerate("abc")
        ],
        best=(),
        says=r"[Cc]ho(?:sen|ice) among 3",
        clear=False,
        unknown=UNKNOWN,
    ),
    "rare, a constant and a useful one": several(
        "the constant has 95 % right, the useful one 88 %: by balanced accuracy the second is the best",
        ("not shown", "better"),
        always(RARE, 0, name="constant"),
        calls(RARE, (0.88, 0.9), name="useful"),
        best="useful",
        order=("useful", "constant"),
    ),
    "an external test": several(
        "92 % of the images of training, 70 % of a new site: a drop of 22 points, unpaired",
        "better",
        replace(
            calls(NEW_SITE, 0.7, name="outside"),
            ids=[f"outside{k}.png" for k in range(320)],
            units=[f"outside {unit}" for unit in NEW_SITE.units],
        ),
        options="--against",
        lines=r"accuracy 2[12]\.\d points lower than internally \(95 % CI 1",
    ),
}

NAMES = {
    "classes like markup and shares": one(
        "names are shown as they are",
        called_so(GOOD, "a <b>", "50 %"),
        "better",
        says=r"if all were called a <b>",
        page=(r"a <b>", r"\b50 %"),
    ),
    "a class called better than chance": one(
        "a name must not pass for a verdict: the verdict is said in its own words",
        called_so(always(RARE, 0), "better than chance", "worse than chance"),
        says=(NOT_SHOWN, BY_BALANCED),
        clear=False,
    ),
    "a table called best": several(
        "a file name is no mark",
        ("not shown", "better"),
        calls(HALF, 0.5, name="best"),
        calls(HALF, 0.9, seed=1, name="useful"),
        best="useful",
    ),
    "the classes of BACH": one(
        "carcinoma is a sum of two classes, at .33 and .5",
        called_so(
            calls(images((40,) * 4, classes=FOUR), 0.8),
            "Normal",
            "Benign",
            "InSitu",
            "Invasive",
        ),
        "better",
        lines=(r"operating point 0\.33", r"operating point 0\.5"),
    ),
    "tested twice": one(
        "every image in two divisions into folds: 80 patients, not 160",
        repeated(GOOD, calls(HALF, 0.88, seed=1)),
        "better",
        page=r"80 patients",
    ),
    "by site": one(
        "a subgroup is exploratory",
        replace(GOOD, more={"site": [f"s{k // 4 % 2}" for k in range(320)]}),
        "better",
        page=r"[Ee]xploratory",
        never=ALONE,
        options="--by site",
    ),
    "by patient": one(
        "votes of patients: each is a row, and the words do not speak of images",
        GOOD,
        "better",
        says=r"of 80 patients",
        options="--level group --config rules: vote",
        clear=False,
    ),
}

SAMPLED = after_next(HALF, 0.35, 0.9)

NEXT = {
    "chosen images are mostly wrong": one(
        "doubt chose what the model has wrong: 48 % of all are right, 90 % of the 80 drawn at random are",
        SAMPLED,
        "better",
        unknown=NOT_DRAWN,
        page=r"80 images of 320 were drawn at random, and conclusions are of these",
    ),
    "chosen images are right, those drawn at random by chance": one(
        "82 % of all are right, and half of those that say something of new patients",
        after_next(HALF, 0.95, 0.5),
        "not shown",
        unknown=NOT_DRAWN,
    ),
    "chosen images of three classes": one(
        "90 % of each class, of the images drawn at random",
        after_next(THIRDS, 0.2, 0.9),
        "better",
        unknown=NOT_DRAWN,
    ),
    "chosen images, some patients known": one(
        "half of the images drawn at random name no patient",
        after_next(images((160, 160), patients="partly"), 0.4, 0.9),
        "better",
        unknown=NOT_DRAWN,
        says=r"40 images name no patient",
    ),
    "chosen images of unknown patients": one(
        "two reasons why nothing is known of new patients: the first is said, and a banner has the other",
        after_next(STRANGERS, 0.3, 0.9),
        "better",
        unknown=UNKNOWN,
        says=r"CHOSEN IMAGES: 150 of 200",
    ),
    "chosen images in divided folds": one(
        "only one image of a patient was drawn, so that these alone would not show that patients are divided",
        after_next(MIXED, 0.4, 0.9),
        "better",
        unknown=DIVIDED,
        says="CHOSEN IMAGES",
    ),
    "all images chosen": one(
        "none was drawn at random: whether calls are better than chance on new images is not known",
        labelled_next(GOOD, np.zeros(320, bool)),
        "not estimable",
        clear=False,
        unknown=NOT_DRAWN,
        says=r"cannot be estimated: no image was drawn at random",
        page=r"none was drawn at random, so nothing is concluded",
    ),
    "one image drawn at random": one(
        "a single image has no interval",
        labelled_next(GOOD, np.arange(320) == 5),
        "not estimable",
        clear=False,
        unknown=NOT_DRAWN,
    ),
    "all images drawn at random": one(
        "by bchisto next without a strategy: a sample of the pool",
        replace(GOOD, more={"chosen": ["random 1"] * 320}),
        "better",
        never=(NOT_DRAWN, r"CHOSEN IMAGES"),
    ),
    "another column called chosen": one(
        "a word of the user's own says nothing of how images were chosen",
        replace(GOOD, more={"chosen": ["yes", "no"] * 160}),
        "better",
        never=(NOT_DRAWN, r"CHOSEN IMAGES"),
    ),
    "two encoders on chosen images": several(
        "b has more right of all, and a of those drawn at random: a is the best one",
        ("better", "not shown"),
        after_next(HALF, 0.3, 0.95, name="a"),
        after_next(HALF, 0.95, 0.5, name="b"),
        best="a",
        order=("a", "b"),
        says=(r"[Cc]ho(?:sen|ice) among 2", r"\bbest\b"),
        lines=r"the correction for that changes nothing",
        unknown=NOT_DRAWN,
    ),
    "chosen images, and some labelled before": one(
        "how the first 80 images came to have a label is not known: they are no sample of new ones",
        replace(
            SAMPLED,
            more={
                "chosen": ["" if k < 80 else mark for k, mark in enumerate(SAMPLED.more["chosen"])]
            },
        ),
        "better",
        unknown=r"260 images not drawn at random|CHOSEN IMAGES: 180 of 320",
    ),
    "chosen images without probabilities, one call for those drawn at random": several(
        "the models of a call other images otherwise, so they learnt something",
        ("not shown", "better"),
        only_classes(
            labelled_next(
                joined(replace(GOOD, name="a"), always(HALF, 0), each_fourth(HALF)),
                each_fourth(HALF),
            )
        ),
        only_classes(after_next(HALF, 0.3, 0.9, name="b")),
        best="b",
        unknown=NOT_DRAWN,
        never=r"learnt nothing",
    ),
    "chosen images by patient": one(
        "an image of each of 80 patients was drawn at random: it is their vote, not those that doubt chose",
        SAMPLED,
        "better",
        says=rf"{right_of(drawn_rows(SAMPLED))} of 80 patients right",
        options="--level group --config rules: vote",
    ),
    "an external test on chosen images": several(
        "92 % inside, 90 % of those that were drawn at random outside",
        "better",
        replace(SAMPLED, ids=[f"outside{k}.png" for k in range(320)]),
        options="--against",
        unknown=NOT_DRAWN,
        lines=rf"{100 * right_of(drawn_rows(SAMPLED)) / 80:.1f} % of 80, against",
    ),
    "two encoders, all images chosen": several(
        "neither can be the best, since nothing is known of either",
        "not estimable",
        *[
            labelled_next(calls(HALF, right, seed=3, name=name), np.zeros(320, bool))
            for name, right in (("a", 0.95), ("b", 0.6))
        ],
        clear=False,
        unknown=NOT_DRAWN,
    ),
}

SITES = {
    "by site, which is all that the model sees": one(
        "90 % of the patients of a site have one class, which the model calls: 90 % right, and chance at each site",
        by_site(HALF, as_site),
        "better",
        says=r"site alone is right in 90\.0 %, the model in 90\.0 %, not shown to be better",
        lines=r"site alone +90\.0 \(",
        page=r"site alone 320 80 90\.0",
        values={"alone.site.predicts": True},
        options="--by site",
    ),
    "by site, and the model sees more": one(
        "the site tells the class in 80 %, the model in 97 %",
        by_site(HALF, lambda images, site: calls(images, 0.97), same=0.8),
        "better",
        says=r"site alone is right in 80\.0 %, the model in 96\.9 %, shown to be better",
        options="--by site",
    ),
    "by site, each of one class": one(
        "all benign images are of one site: nothing tells the site from the class",
        by_site(HALF, lambda images, site: calls(images, 0.9), same=1),
        "better",
        says=r"site alone is right in 100\.0 %, the model in 90\.0 %, shown to be worse",
        lines=r"s1 +144 of 160 +90\.0 \(.*\) +one class",
        options="--by site",
    ),
    "by site, one of which is exchanged": one(
        "a fifth of the images, of one scanner, are wrong: its row shows that",
        replace(
            joined(GOOD, calls(HALF, 0.05), np.arange(320) // 4 % 5 == 2),
            more={"site": [f"s{k // 4 % 5}" for k in range(320)]},
        ),
        "better",
        lines=r"s2 +\d of 64 ",
        never=ALONE,
        options="--by site",
    ),
    "by site, forty of two patients": one(
        "the largest class of so few is right of themselves, and not of others",
        replace(
            guessed(HALF, seed=4),
            more={
                "site": [
                    f"s{k}" for k in np.random.default_rng(1).permutation(80) // 2 for _ in range(4)
                ]
            },
        ),
        "not shown",
        never=ALONE,
        values={"alone.site.predicts": False},
        options="--by site",
    ),
    "by site, three classes": one(
        "each site has its class, of unknown patients",
        replace(
            calls(images((80,) * 3, classes=THREE, patients="unknown"), 0.7),
            more={"site": ["s0"] * 70 + ["s1"] * 90 + ["s2"] * 80},
        ),
        "better",
        unknown=UNKNOWN,
        says=r"site alone is right in 95\.8 %, the model in 70\.0 %, shown to be worse",
        options="--by site",
    ),
    "by site, two tables": several(
        "each has rows for its sites",
        ("better", "not shown"),
        *[
            replace(table, more={"site": [f"s{k // 4 % 2}" for k in range(320)]})
            for table in candidates(0.9, 0.5)
        ],
        best="a",
        lines=(r"a by site, exploratory", r"b by site, exploratory"),
        options="--by site",
    ),
}

ERRORS_OF_TABLES = {
    "a fold with exchanged labels": one(
        "9 of 10 are right in four folds, and 1 of 10 in the third: its labels were exchanged",
        mislabelled(calls(images((160, 160)), 0.9), 3, 0, 1),
        "better",
        says=r"Fold 3: balanced accuracy 6\.2 %, other folds 89\.1 %: labels may be exchanged",
    ),
    "a fold with two of three classes exchanged": one(
        "the third class is right in that fold, too, so all together are not below chance",
        mislabelled(calls(THIRDS, 0.9), 2, 0, 2),
        "better",
        says=r"Fold 2: balanced accuracy \d.*: benign and invasive may be exchanged",
    ),
    "all folds with exchanged labels": one(
        "no fold is unlike the others: the table is worse than chance",
        mislabelled(mislabelled(calls(images((160, 160), folds=2), 0.9), 1, 0, 1), 2, 0, 1),
        "worse",
        never=EXCHANGED,
    ),
    "a fold at chance": one(
        "half of a fold is right, and 9 of 10 elsewhere: that is no exchange",
        joined(GOOD, calls(HALF, 0.5), np.array(HALF.folds) == 2),
        "better",
        never=EXCHANGED,
    ),
    "a fold in which one class is called the other": one(
        "all of a fold are called benign, as a model with another threshold does: half is right, by class",
        joined(GOOD, always(HALF, 0), np.array(HALF.folds) == 2),
        "better",
        never=EXCHANGED,
    ),
    "a fold of one class, which is not found": one(
        "the malignant patients of a fold are called benign, and no other class is there to be exchanged with",
        joined(
            replace(GOOD, folds=[4 if k < 160 else 5 + k // 80 for k in range(320)]),
            always(HALF, 0),
            np.arange(320) >= 280,
        ),
        never=EXCHANGED,
        clear=False,
    ),
    "the surest are wrong": one(
        "7 of 10 are right at any confidence from 80 to 99.9 %: of the surest, which promise 99 %, too",
        sure(calls(images((200, 200), per=1), 0.7), least=0.8),
        "better",
        says=r"Surest tenth \(40 of 400\): confidence 98\.9 %, right \d\d\.\d %.*: overconfident",
    ),
    "the surest of three classes are wrong": one(
        "6 of 10 are right, and each promises 90 % or more",
        sure(calls(THIRDS, 0.6), least=0.9),
        "better",
        says=r"Surest tenth \(24 of 240\).*: overconfident",
    ),
    "the surest are right as often as they promise": one(
        "9 of 10 are right, and the confidence is 75 to 95 %", GOOD, "better", never=OVERCONFIDENT
    ),
    "a few of the surest are wrong": one(
        "of 3 images that promise 99 %, one is wrong: that may be by chance",
        sure(calls(images((15, 15), per=1), 0.8), least=0.6),
        clear=False,
        never=OVERCONFIDENT,
    ),
    "the surest of classes without probabilities": one(
        "nothing is promised", only_classes(calls(HALF, 0.7)), "better", never=OVERCONFIDENT
    ),
    "classes that no image tests": one(
        "of five classes three have images",
        with_class(with_class(calls(THIRDS, 0.9), "papillary"), "lobular"),
        "better",
        says=r"No image is of the class papillary, lobular: how well it is recognised is not known",
    ),
    "a class that no image tests, and none is called": one(
        "the column of its probabilities names it",
        with_class(calls(images((120, 120), classes=THREE[:2]), 0.9), "invasive"),
        "better",
        says=r"No image is of the class invasive",
    ),
    "a column of patients that repeats the names of files": one(
        "as many patients as images, each called as its image: nobody entered patients",
        replace(calls(images((100, 100)), 0.9), units=file_names(200), column="PatientID"),
        "better",
        unknown=UNKNOWN,
        says=NAMES_OF_FILES,
        values={"units.kind": "image"},
    ),
    "a column of cases that repeats the names of files without suffix": one(
        "the same in other words",
        replace(
            calls(images((100, 100)), 0.9),
            units=[name.removesuffix(".png") for name in file_names(200)],
            column="Case No",
        ),
        "better",
        unknown=UNKNOWN,
        says=NAMES_OF_FILES,
    ),
    "a column of slides that repeats the names of files": one(
        "slides are what was imaged, and the words are of slides",
        replace(calls(images((100, 100)), 0.9), units=file_names(200), column="slide"),
        "better",
        says=r"200 slides",
        never=(UNKNOWN, NAMES_OF_FILES),
    ),
    "patients who number their images": one(
        "the first image of a patient has the name of the patient",
        replace(
            GOOD,
            ids=[
                f"{unit}{'abcd'[k % 4] if k % 4 else ''}.png" for k, unit in enumerate(GOOD.units)
            ],
        ),
        "better",
        never=(UNKNOWN, NAMES_OF_FILES),
    ),
    "equal numbers of patients at two sites": one(
        "patient 1 of the one hospital is not patient 1 of the other: 40 patients look like 20",
        numbered(calls(images((80, 80)), 0.9), hospital=lambda k: "AB"[k // 20]),
        says=AT_SITES,
        clear=False,
    ),
    "equal numbers of patients at four sites": one(
        "ten at each",
        numbered(calls(HALF, 0.9), each=20, Zentrum=lambda k: f"z{k // 20}"),
        says=AT_SITES,
        clear=False,
    ),
    "patients at two sites whose names differ": one(
        "names that hold the hospital are of different patients",
        replace(GOOD, more={"hospital": [unit[:3] for unit in GOOD.units]}),
        "better",
        never=AT_SITES,
    ),
    "patients at two magnifications": one(
        "the same patients were imaged twice",
        numbered(calls(images((80, 80)), 0.9), magnification=lambda k: ("40x", "400x")[k // 20]),
        never=AT_SITES,
        clear=False,
    ),
    "each class is tested": one("three of three", calls(THIRDS, 0.9), "better", never=UNTESTED),
}

SITUATIONS = (
    GRADES
    | ERRORS_OF_TABLES
    | NEXT
    | SITES
    | PREVALENCE
    | PATIENTS
    | CLASSES
    | RANKS
    | FEW
    | SEVERAL
    | NAMES
)


# What is true, by other means than bchisto's.


def hits_of(table):
    return (table.truth == table.predicted).astype(float)


def units_of(table):
    """Return the independent unit of each row: its patient, or the image itself."""
    return np.array([unit or image for unit, image in zip(table.units, table.ids, strict=True)])


def balanced(table):
    """Return the mean recall of the classes that are true for some row."""
    present = np.unique(table.truth)
    return recall_score(
        table.truth, table.predicted, labels=present, average="macro", zero_division=0
    )


def over_patients(table, values):
    """Return the mean over patients, of those that are known, of the mean of their rows."""
    units = np.array([unit or "" for unit in table.units])
    return np.mean([values[units == unit].mean() for unit in set(table.units) - {None}])


def chance_by_patient(table):
    """Return what is right over patients if all rows are called the class that reaches most."""
    truth = range(len(table.classes))
    return max(over_patients(table, (table.truth == label) * 1.0) for label in truth)


def auc_within(table):
    """Return the share of pairs, of an image of each class in one fold, that the scores order; of any if none is."""
    folds = np.array(table.folds if table.folds is not None else [0] * len(table.truth))
    scores = table.shares[:, 1]
    for tested in (folds, np.zeros(len(folds))):
        right = pairs = 0.0
        for fold in np.unique(tested):
            high = scores[(tested == fold) & (table.truth == 1)][:, None]
            low = scores[(tested == fold) & (table.truth == 0)][None]
            right += (high > low).sum() + 0.5 * (high == low).sum()
            pairs += high.size * low.size
        if pairs:
            return right / pairs
    return None


def above_chance(table, by):
    """Return by how many standard errors a table is above chance: a jackknife that leaves a patient out each time.

    The error is raised by a quarter for folds, whose training sets overlap, and is at least that of one wrong patient.
    """
    hits = hits_of(table)
    _, member = np.unique(units_of(table), return_inverse=True)
    sizes = np.bincount(member)
    if by == "mean over patients":
        figures = np.bincount(member, hits) / sizes
        value, error = figures.mean(), figures.std(ddof=1) / len(figures) ** 0.5
        chance = chance_by_patient(table)
        fewest = len(sizes)
    else:
        value = balanced(table)
        recalls, patients = [], []
        for label in np.unique(table.truth):
            inside = table.truth == label
            right, rows = (np.bincount(member, inside * by_row) for by_row in (hits, hits * 0 + 1))
            recalls.append((right.sum() - right) / (rows.sum() - rows))
            patients.append((rows > 0).sum())
        left = np.mean(recalls, axis=0)
        error = ((len(left) - 1) * np.square(left - left.mean()).mean()) ** 0.5
        chance = 1 / len(recalls)
        fewest = min(patients) * len(recalls)
    return (value - chance) / max(1.25 * error, 1 / (fewest + 2))


CLEAR = [
    pytest.param(situation, id=name)
    for name, situation in SITUATIONS.items()
    if situation.clear and any(situation.verdicts)
]


@pytest.mark.parametrize("situation", CLEAR)
def test_a_situation_is_clear(situation):
    """Better and worse are so by four standard errors of another method, and chance is within one."""
    for table, verdict in zip(situation.tables, situation.verdicts, strict=True):
        table = drawn_rows(table)
        if verdict in ("better", "worse"):
            sign = 1 if verdict == "better" else -1
            assert sign * above_chance(table, situation.by) > 4, table.name
        elif verdict == "not shown":
            assert abs(above_chance(table, situation.by)) < 1, table.name


# What is said.


@dataclass(frozen=True)
class Said:
    """What the outputs say, and what ``metrics.json`` holds.

    Attributes
    ----------
    lines : list of str
        Of the terminal, as they stand; all other texts are one line.
    terminal, report, page, card : str
        The terminal; the first part of the report; all of it; the section of a model card on how good a model is, empty
        if there are several tables.
    brief : list of str
        Of the terminal, without ``-v``.
    result : dict
    marks : list of (str, str, str)
        Of each row of the first table of the report that is marked: its class, name and mark.
    """

    lines: list[str]
    terminal: str
    report: str
    page: str
    card: str
    brief: list[str]
    result: dict
    marks: list

    @property
    def outputs(self):
        """The texts that a person reads first, by the name of the output."""
        texts = {"terminal": self.terminal, "report": self.report, "card": self.card}
        return {output: text for output, text in texts.items() if text}


def words(text):
    """Return a text in one line."""
    return re.sub(r"\s+", " ", text.replace("\u00a0", " ").replace("\u202f", " ")).strip()


def shown(page):
    """Return what a page shows, without tags, styles and pictures."""
    page = re.sub(r"(?s)<(style|script|svg|title)\b.*?</\1>", " ", page)
    # a title is no verdict
    return words(html.unescape(re.sub(r"<[^>]*>", " ", page))).replace(LOOK, "")


def first_part(page):
    """Return a report up to its list of sections, or up to the part for the methods section."""
    ends = [page.find(mark) for mark in ("<nav", "For the methods section") if mark in page]
    return page[: min(ends)]


def card_of(metrics, name, folder):
    """Return the section of a model card on how good the model is."""
    from bchisto.core.models import BundleFacts
    from bchisto.evaluate.report import known_of, write_card

    model = folder / "model.bchisto"
    model.write_bytes(b"only its checksum is asked for")
    facts = BundleFacts(classes=tuple(metrics["classes"]), protocol=metrics["protocol"])
    known = {"tables": {name: metrics}, "run": {}}
    (folder / "metrics.json").write_text(json.dumps(known))
    write_card(folder / "card.md", model=model, bundle=facts, known=known_of(model))
    text = (folder / "card.md").read_text()
    return words(text.partition("## How good it is")[2].partition("\n## ")[0])


INSIDE = calls(HALF, 0.92, seed=3, name="inside")
"""What the models of the external test reached on the images of training."""


def told(name, folder, completed):
    """Evaluate a situation; return what was said."""
    situation = SITUATIONS[name]
    files = [table.write(folder) for table in situation.tables]
    if name == "rows without a label":
        with files[0].open("a") as handle:
            handle.writelines(f"new{k}.png,,new-{k},1,0.5,0.5\n" for k in range(20))
    options = situation.options.split(maxsplit=3)
    if options == ["--against"]:
        options.append(INSIDE.write(folder))
    if "--config" in options:
        config = folder / "options.yaml"
        config.write_text(options[-1])
        options[-1] = config
    out = folder / "out"
    if options or files[1:]:
        lines = "".join(completed("evaluate", "-v", *files, "--out", out, *options)).splitlines()
    else:
        lines = evaluated(files, out)
    page = (out / "report.html").read_text()
    result = read_json(out / "metrics.json")
    card = ""
    if len(result["tables"]) == 1:
        ((table, metrics),) = result["tables"].items()
        card = card_of(metrics, table, folder)
    marks = re.findall(
        r'<tr(?: class="(\w+)")?><th scope="row">([^<]*)</th>[^\n]*<td[^>]*>(best|highest)</td></tr>',
        first_part(page),
    )
    tables = TableChoice(by=["site"] if "site" in options else ())
    panels = evaluate(files, out=folder / "brief", bootstrap=0, tables=tables).panels
    short = answer_lines(panels, (), warnings(panels), room=11)
    parts = (words(" ".join(lines)), shown(first_part(page)), shown(page))
    return Said(lines, *parts, card, short, result, marks)


def evaluated(files, out):
    """Evaluate a table as a program does; return the lines of a terminal."""
    evaluation = evaluate(files, out=out, bootstrap=0)
    ((table, metrics),) = write_evaluation(evaluation)["tables"].items()
    return [*headline(table, metrics), *evaluation.notes]


def lacking(pattern, text, output):
    """Yield a complaint if a text does not say something."""
    if not re.search(pattern, text):
        yield f"{output} does not say {pattern!r}: {text[:1200]}"


def saying(pattern, text, output):
    """Yield a complaint if a text says something."""
    match = re.search(pattern, text)
    if match:
        around = text[max(0, match.start() - 160) : match.end() + 80]
        yield f"{output} says {match[0]!r}: ...{around}..."


def verdicts_said(situation, said):
    """The verdict is said in every output, with the figure that it rests on, and no other."""
    verdicts = set(situation.verdicts) - {""}
    alike = len(set(situation.verdicts)) == 1
    must = [pattern for verdict in verdicts for pattern in VERDICTS[verdict][0]]
    never = [OLD]
    if alike:
        never += [pattern for verdict in verdicts for pattern in VERDICTS[verdict][1]]
    if len(situation.tables) > 1 and NOT_SHOWN in never:
        # "none is the best: ... not shown" is true of tables that are worse, too
        never.remove(NOT_SHOWN)
    if alike and must:
        must.append(NAMED[situation.by])
    for output, text in said.outputs.items():
        for pattern in must:
            yield from lacking(pattern, text, output)
        for pattern in never:
            yield from saying(pattern, text, output)


def brief_said(situation, said):
    """Without ``-v`` the verdict is a sentence of 30 words, cautions are lines, and nothing else is called better."""
    verdict, _, _ = words(" ".join(said.brief)).partition(" right ")
    must, never = VERDICTS[situation.verdicts[0]]
    if len(situation.tables) == 1:
        if len(re.findall(r"\S*\w\S*", verdict)) > 30:
            yield f"more than 30 words: {verdict}"
        for pattern in must:
            yield from lacking(pattern, verdict, "brief")
        for pattern in never:
            yield from saying(pattern, verdict, "brief")
    for metrics in said.result["tables"].values():
        (heading,) = sentences("heading.txt", a=conclude(with_figures(metrics)))
        if len(heading.split()) > 12:
            yield f"more than twelve words: {heading}"
    if "\n".join(said.brief).count("\ncaution: ") > 3 or max(map(len, said.brief)) > 100:
        yield f"more than three lines of 100 signs: {said.brief}"


def sentences_said(situation, said):
    """What must be said is, and what must not is not."""
    for pattern in filter(None, (*each(situation.says), situation.unknown)):
        yield from lacking(pattern, said.terminal, "terminal")
        yield from lacking(pattern, said.report, "report")
    for pattern in each(situation.lines):
        yield from lacking(pattern, said.terminal, "terminal")
    for pattern in each(situation.page):
        yield from lacking(pattern, said.page, "whole report")
    for pattern in each(situation.never):
        for output, text in said.outputs.items():
            yield from saying(pattern, text, output)


def expectations_said(situation, said):
    """A number is expected of new patients only if these are known and whole, and it is that of the table."""
    for output, text in said.outputs.items():
        if situation.unknown:
            yield from saying(EXPECTED, text, output)
            yield from lacking(NOT_OF_NEW, text, output)
        elif len(situation.tables) == 1 and not situation.options:
            (table,) = situation.tables
            share = 100 * hits_of(table).mean()
            if any(table.units):
                share = 100 * over_patients(table, hits_of(table))
            for number in re.findall(rf"{EXPECTED} (\d+)", text):
                if abs(int(number) - share) > 0.51:
                    yield f"{output} expects {number}, not {share}"


def figures_right(situation, said):
    """The figures are those of another computation."""
    if "--level" in situation.options:
        return
    for table, metrics in zip(situation.tables, said.result["tables"].values(), strict=True):
        hits = hits_of(table)
        right = {
            "accuracy": accuracy_score(table.truth, table.predicted),
            BALANCED: balanced(table),
        }
        if metrics["units"]["kind"] == "group" and "patch" not in table.more:
            right["patient_recognition_rate"] = over_patients(table, hits)
            if metrics["chance"]["by_group"] != pytest.approx(chance_by_patient(table)):
                yield f"{table.name}: chance by patient is {metrics['chance']['by_group']}"
        if table.shares is not None and len(table.classes) == 2:
            right["auc"] = auc_within(table)
        for figure, value in right.items():
            if value is not None and metrics[figure]["value"] != pytest.approx(value, abs=1e-9):
                yield f"{table.name}: {figure} is {metrics[figure]['value']}, not {value}"
        chance = 1 / len(np.unique(table.truth))
        if metrics["chance"]["balanced"] != pytest.approx(chance):
            yield f"{table.name}: chance is {metrics['chance']['balanced']}, not {chance}"
        if np.diag(metrics["confusion"]).sum() != hits.sum():
            yield f"{table.name}: the confusion matrix has another number of right images"
    if len(situation.tables) == 1:
        if len(hits) < 1000 and len(set(table.ids)) == len(hits):
            for output, text in said.outputs.items():
                yield from lacking(f"{int(hits.sum())} of {len(hits)}", text, output)
        for path, value in situation.values.items():
            found = metrics
            for key in path.split("."):
                found = found and found[key]
            if found != value:
                yield f"metrics.json: {path} is {found}, not {value}"


def surest_right(situation, said):
    """The surest tenth, with those as sure as the last of it, is right as often as counted here."""
    for table, metrics in zip(situation.tables, said.result["tables"].values(), strict=True):
        scores = metrics["calibration"]
        if "--level" in situation.options or not scores:
            continue
        confidence = table.shares[np.arange(len(table.truth)), table.predicted]
        inside = confidence >= sorted(confidence)[::-1][-(-len(confidence) // 10) - 1]
        figures = [scores[f"surest_{name}"] for name in ("n", "confidence")]
        figures.append(scores["surest_right"]["value"])
        counted = [inside.sum(), confidence[inside].mean(), hits_of(table)[inside].mean()]
        if figures != pytest.approx(counted):
            yield f"{table.name}: the surest are {figures}, not {counted}"


def grades_right(situation, said):
    """Kappa of grades is 1 less the mean squared distance of calls over that of calls by chance (Cohen 1968)."""
    for table, metrics in zip(situation.tables, said.result["tables"].values(), strict=True):
        names = table.classes
        if "--ordered" in situation.options:
            names = [str(place) for place in range(len(names))]
        numbers = [re.fullmatch(r"(\D*)(\d+)", name) for name in names]
        stems = {match and match[1] for match in numbers}
        kappa = metrics["weighted_kappa"]
        if len(numbers) < 3 or len(stems) > 1 or None in stems:
            if kappa:
                yield f"{table.classes} have a weighted kappa, {kappa}"
            continue
        grades = np.array([int(match[2]) for match in numbers])
        true, called = grades[table.truth], grades[table.predicted]
        by_chance = np.square(true[:, None] - called).mean()
        value = 1 - np.square(true - called).mean() / by_chance
        low, high = kappa["interval"]
        if kappa["value"] != pytest.approx(value) or not low < value < high:
            yield f"weighted kappa is {kappa}, not {value}"


def shared_right(situation, said):
    """Tables that lack rows of one another are compared on the others, by what is right of these."""
    tables = {table.name: table for table in situation.tables}
    for pair in said.result["comparisons"]:
        first, second = (tables[pair[name]] for name in ("first", "second"))
        both = set(first.ids) & set(second.ids)
        if len(both) == len(first.ids) == len(second.ids):
            continue
        rates = [
            hits_of(part_of(table, [k in both for k in table.ids])).mean()
            for table in (first, second)
        ]
        change = pair["differences"]["accuracy"]["value"]
        if (pair["shared"], change) != (len(both), pytest.approx(rates[1] - rates[0])):
            yield f"{pair['shared']} rows, {change}; not {len(both)}, {rates}"


def drawn_figures_right(situation, said):
    """The figures of the images drawn at random are those of another computation, and lead."""
    for table, metrics in zip(situation.tables, said.result["tables"].values(), strict=True):
        drawn = drawn_rows(table)
        if len(drawn.truth) in (0, len(table.truth)) or "--level" in situation.options:
            continue
        if metrics["drawn"][BALANCED]["value"] != pytest.approx(balanced(drawn)):
            yield f"{table.name}: {metrics['drawn'][BALANCED]['value']} is not {balanced(drawn)}"
        if len(situation.tables) > 1 and table.shares is not None:
            yield from lacking(f"{auc_within(drawn):.3f}", said.report, "report")
        if len(situation.tables) == 1:
            right = f"{int(hits_of(drawn).sum())} of {len(drawn.truth)} image"
            for output, text in said.outputs.items():
                yield from lacking(f"{right}s? drawn at random", text, output)


def subgroups_said(situation, said):
    """Each site has a row in the terminal, with what other computations give."""
    for table, metrics in zip(situation.tables, said.result["tables"].values(), strict=True):
        if "site" not in situation.options:
            continue
        sites = np.array(table.more["site"])
        for entry in metrics["subgroups"]["site"]:
            part = part_of(table, sites == entry["value"])
            if entry[BALANCED]["value"] != pytest.approx(balanced(part)):
                yield f"{entry['value']}: {entry[BALANCED]['value']}, not {balanced(part)}"
            several_classes = len(np.unique(part.truth)) > 1
            if len(table.classes) == 2 and several_classes:
                auc = entry["auc"] and entry["auc"]["value"]
                if auc != pytest.approx(auc_within(part)):
                    yield f"{entry['value']}: AUC {auc}, not {auc_within(part)}"
            right = f"^ *{entry['value']} +{int(hits_of(part).sum())} of {len(part.truth)} +"
            for lines in (said.lines, said.brief):
                if not any(re.match(right, line) for line in lines):
                    yield f"no line {right}: {lines}"


def best_said(situation, said):
    """One of those that may lead is marked, none if none is better than chance, and the best only if it is shown."""
    names = {table.name for table in situation.tables}
    mark = r"(best|highest) {2,}(\S+)"
    marked = {
        "terminal": {match.groups() for line in said.lines if (match := re.match(mark, line))},
        "report": {(kind, name) for _, name, kind in said.marks},
    }
    for output, pairs in marked.items():
        leading = {name for _, name in pairs}
        if leading - set(each(situation.best)):
            yield f"{output} marks {leading} as the highest, not one of {situation.best}"
        if situation.best and "" not in each(situation.best) and not leading:
            yield f"{output} marks none as the highest, not even one of {situation.best}"
        for kind, name in pairs:
            if (kind == "best") != is_shown(name, names - leading, said.result["comparisons"]):
                yield f"{output} marks {name} as {kind}"
    for shape, name, kind in said.marks:
        if (shape == "best") != (kind == "best"):
            yield f"the row of {name} has the class {shape!r}"
    if situation.order:
        rows = [
            re.match(rf"(?:best {{2,}}|highest {{2,}}| {{6,}})({'|'.join(names)})\b", line)
            for line in said.lines
        ]
        order = [match[1] for match in rows if match]
        if order[: len(names)] != list(situation.order):
            yield f"the terminal has the order {order}"


def is_shown(name, others, comparisons):
    """Return whether what was tested of a table is shown to be higher than that of all others, if there are any."""
    signs = {
        frozenset((pair["first"], pair["second"])): pair["p_holm"] <= 0.05
        and (pair["second"] == name) == (pair["differences"][pair["tested"]]["value"] > 0)
        for pair in comparisons
    }
    return bool(others) and all(signs.get(frozenset((name, other))) for other in others)


def readable(situation, said):
    """Nothing that was not filled in is shown, and no fixed sentence that this table makes false."""
    for output, text in {**said.outputs, "whole report": said.page}.items():
        for pattern in (
            r"\bnan\b",
            r"\bNone\b(?! of)",
            r"\binf\b",
            r"\{\{|\}\}|\{%",
            r"Undefined",
            r"\b1 (?:patient|image|case)s\b",
        ):
            yield from saying(pattern, text, output)


WORDS = {"patient": "patient", "case": "case", "subject_id": "subject"}
"""What is said of a column of patients, by its name."""


def patients_called(situation, said):
    """The word of the user's column stands in every sentence; only an option is called group."""
    columns = {table.column for table in situation.tables}
    if len(columns) > 1 or not columns <= WORDS.keys():
        return
    for output, text in said.outputs.items():
        yield from saying(r"(?<!by )(?<!the )\bgroups?\b", text, output)
    for table in situation.tables:
        count = len(set(drawn_rows(table).units) - {None})
        if count > 1:
            yield from lacking(rf"\b{count:,} {WORDS[table.column]}s\b", said.report, "report")


def decided(situation, said):
    """Where Holm's p and the interval of a comparison disagree, the report says that p decides."""
    for pair in said.result["comparisons"]:
        ends = pair["differences"]["accuracy"]["interval"]
        if ends is not None and (ends[0] > 0 or ends[1] < 0) != (pair["p_holm"] <= 0.05):
            yield from lacking(r"p (?:after Holm )?decides", said.page, "whole report")


def choice_right(situation, said):
    """What is expected of the best of several is its corrected figure, and its interval is moved by as much."""
    if not any("hosen among" in pattern for pattern in each(situation.says)):
        return
    chosen = [entry for entry in said.result["tables"].values() if f"{BALANCED}_chosen" in entry]
    if len(chosen) != 1:
        yield f"metrics.json has the figure of a choice in {len(chosen)} tables"
        return
    figure, before = chosen[0][f"{BALANCED}_chosen"], chosen[0].get("drawn", chosen[0])[BALANCED]
    if chosen[0]["choice"]["count"] != len(situation.tables):
        yield f"metrics.json has a choice among {chosen[0]['choice']['count']}"
    if before["value"] < max(balanced(drawn_rows(table)) for table in situation.tables) - 1e-9:
        yield "the chosen one is not the first"
    accuracy = 100 * chosen[0]["accuracy_chosen"]["value"]
    for output, text in said.outputs.items():
        for number in re.findall(rf"{EXPECTED} (\d+)", text):
            if abs(int(number) - accuracy) > 0.51:
                yield f"{output} expects {number}, not {accuracy} of the chosen one"
    moved = figure["value"] - before["value"]
    if moved > 0.005 or np.ptp(np.subtract(figure["interval"], before["interval"])) > 1e-9:
        yield f"the interval {figure['interval']} is not {before['interval']} moved down by {-moved}"


def values_right(situation, said):
    """The conclusion is a value, and the same as the words."""
    from bchisto.evaluate import with_figures
    from bchisto.evaluate.conclusions import conclude

    figures = {
        "balanced accuracy": BALANCED,
        "mean over patients": "patient_recognition_rate",
    }
    for wanted, metrics in zip(situation.verdicts, said.result["tables"].values(), strict=True):
        conclusion = conclude(with_figures(metrics))
        verdict = conclusion.verdict
        if wanted and verdict.kind != wanted:
            yield f"the verdict is {verdict.kind!r}, not {wanted!r}"
        if wanted not in ("", "not estimable") and verdict.by != figures[situation.by]:
            yield f"the verdict is by {verdict.by!r}"
        if situation.unknown and (conclusion.unknown is None):
            yield "something is expected of new patients"
        if THRESHOLD in each(situation.says) and verdict.ranking is None:
            yield "the threshold is not wrong"
        if THRESHOLD in each(situation.never) and verdict.ranking is not None:
            yield "another threshold may be better"


CHECKS = (
    verdicts_said,
    brief_said,
    sentences_said,
    expectations_said,
    figures_right,
    surest_right,
    grades_right,
    shared_right,
    drawn_figures_right,
    subgroups_said,
    best_said,
    readable,
    patients_called,
    decided,
    choice_right,
    values_right,
)


@pytest.mark.parametrize("name", SITUATIONS)
def test_what_is_said_is_true(name, tmp_path, completed):
    said = told(name, tmp_path, completed)
    complaints = [text for check in CHECKS for text in check(SITUATIONS[name], said)]
    assert not complaints, "\n\n".join([SITUATIONS[name].why, *complaints])


def test_a_program_reads_what_was_drawn_at_random(tmp_path):
    """In a summary, and of a table that goes to pandas and back."""
    (table,) = read_predictions(SAMPLED.write(tmp_path))
    evaluation = evaluate([table], out=tmp_path / "out", bootstrap=0)
    (line,) = [line for line in evaluation.summary() if "balanced accuracy" in line]
    share = re.escape(f"{right_of(drawn_rows(SAMPLED)) / 80:.2f}")
    words_of_line = rf"accuracy {share}.*balanced accuracy {share}.*, of those drawn at random only"
    assert re.search(words_of_line, line)
    assert "corrected" not in line
    write_evaluation(evaluation)
    page = (tmp_path / "out" / "report.html").read_text()
    assert re.search(rf"Results: accuracy {100 * right_of(drawn_rows(SAMPLED)) / 80:.1f}", page)


# What a run offers next.


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a function that trains three classifiers on features that tell classes apart by so much."""
    made = {}

    def run(apart, completed):
        if apart not in made:
            folder = tmp_path_factory.mktemp("run")
            rng = np.random.default_rng(5)
            truth = np.repeat([0, 1], 32)
            features = rng.normal(size=(64, 6)).astype("float32")
            features[:, 0] += apart * truth
            np.savez(
                folder / "features.npz",
                features=features,
                image_id=[f"image{k:02d}" for k in range(64)],
                label=np.array(TWO)[truth],
                patient=[f"p{k // 4:02d}" for k in range(64)],
            )
            out, err = completed(
                "boost -v --features {} --out {} --folds 4 --head logistic --head lda --head svm",
                folder / "features.npz",
                folder / "run",
            )
            made[apart] = folder / "run", out.splitlines() + err.splitlines()
        return made[apart]

    return run


NOISE_FEATURES, GOOD_FEATURES = 0.0, 2.0


def run_texts(folder, lines):
    """Yield what the terminal, the reports and the cards of a run say, by their files."""
    yield "terminal", words(" ".join(lines))
    yield "report.html", shown(first_part((folder / "report.html").read_text()))
    for model in sorted((folder / "boost").iterdir()):
        yield f"{model.name}/report.html", shown(first_part((model / "report.html").read_text()))
        card = (model / "model-card.md").read_text()
        yield f"{model.name}/model-card.md", words(card.partition("## How good it is")[2])


def next_of(lines):
    """Return the line that offers what is next."""
    (following,) = [line for line in lines if line.startswith("next: ")]
    return following


def figures_of_run(folder):
    """Return the balanced accuracy of each result of a run, of its table of predictions."""
    figures = {}
    for path in (folder / "boost").glob("*/predictions.csv"):
        rows = [(row["label"], row["predicted"]) for row in rows_of(path)]
        truth, predicted = zip(*rows, strict=True)
        figures[path.parent.name] = balanced_accuracy_score(truth, predicted)
    return figures


def test_a_run_on_noise_offers_no_model(runs, completed):
    """Features that say nothing of the class: nothing is the best, and nothing is to be used next."""
    folder, lines = runs(NOISE_FEATURES, completed)
    assert not [line for line in lines if re.match("(best|highest) {2,}", line)]
    following = next_of(lines)
    assert "bchisto predict" not in following
    for name, text in run_texts(folder, lines):
        assert re.search(NOT_SHOWN, text), name
        assert not re.search(BETTER, text), name


def test_a_run_that_learnt_offers_its_best_model(runs, completed):
    """Features that tell 84 % apart."""
    folder, lines = runs(GOOD_FEATURES, completed)
    (best,) = [line for line in lines if re.match("(best|highest) {2,}", line)]
    following = next_of(lines)
    right = figures_of_run(folder)
    first = max(right, key=right.get)
    assert best.split()[1] in first
    assert f"bchisto predict {folder / 'boost' / first}" in following
    for name, text in run_texts(folder, lines):
        assert re.search(BETTER, text), name


def test_the_best_of_a_run_is_what_is_next_after_another_result_too(runs, run_copy, completed):
    """A classifier that another one beats is trained once more, in a command of its own."""
    folder, lines = runs(GOOD_FEATURES, completed)
    following = next_of(lines)
    copy = run_copy(folder)
    _, err = completed(
        "boost --features {} --out {} --folds 4 --head svm --name later",
        folder.parent / "features.npz",
        copy,
    )
    right = figures_of_run(copy)
    assert max(right, key=right.get) in following
    assert following.replace(str(folder), str(copy)) in err.splitlines()


@pytest.mark.parametrize("apart", [NOISE_FEATURES, GOOD_FEATURES])
def test_a_run_says_among_how_many_its_best_was_chosen(apart, runs, completed):
    """The terminal and the report of the run; those of each result name the latter."""
    folder, lines = runs(apart, completed)
    for name, text in run_texts(folder, lines):
        said = re.search(r"[Cc]ho(?:sen|ice) among 3", text) is not None
        assert said == ("/" not in name), name
        named = (
            re.search(r"report of (?:the|that) run\b.* corrected for the choice", text) is not None
        )
        assert named != said, name


def test_intervals_are_not_claimed_where_there_are_none(tmp_path):
    """The expected calibration error has no interval, so a form may not say that all figures have one."""
    table = GOOD.write(tmp_path)
    evaluated([table], tmp_path / "out")
    assert "95 % CIs throughout" not in shown((tmp_path / "out" / "report.html").read_text())
