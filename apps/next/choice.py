"""Choose images to label next, and write them as a manifest and a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...core import (
    Content,
    Entries,
    ImageError,
    InputError,
    OptionalPath,
    PathInput,
    Settings,
    converted,
    counted,
    few,
    option,
)
from ...core.formats import Floats
from ...core.jobs import (
    UnderWayError,
    ensure_folder,
    in_turn,
    named_files,
    refuse_overwriting,
    write_json,
)
from ...core.runs import load_config
from ...data import ImageSelection, decode_image
from ...evaluate.report import render_page, thumbnail
from ...featurize import only_store
from .curve import LearningCurve, learning_curves, train_model
from .images import RunImages, join_pool, read_images, run_of
from .strategies import DIVERSITY, RANDOM, STRATEGIES, Candidates, Strategy

MANIFEST = "manifest.csv"
ALL_IMAGES = "images.csv"
OPTIONS = "featurize.json"


@dataclass(frozen=True)
class NextSettings(Settings):
    """How images are chosen."""

    count: int = option(20, group="Training", least=1, help="Number of images.")
    strategy: str = option(
        RANDOM.name,
        group="Training",
        choices=tuple(STRATEGIES),
        help="Images of which a model is least sure (the largest probability, or the two largest), that are unlike all "
        "with a label, or drawn at random.",
    )
    random_share: float = option(
        0.2,
        group="Training",
        least=0,
        most=1,
        help="Part that is drawn at random, to measure a model by.",
    )
    seed: int = option(0, help="Random seed of the part that is drawn.")
    images: OptionalPath = option(
        None,
        group="Input",
        help="Further images, a folder or a table: a pool of which images are chosen, too, at later calls as well.",
    )
    curve: bool = option(
        False, help="Measure what the labels so far gained, and new patients; takes about a minute."
    )


class NextImage(NamedTuple):
    """An image that was chosen: its id, how and in which round, why, and its picture, empty if there is none."""

    image_id: str
    chosen: str
    why: str
    picture: str


@dataclass(frozen=True)
class NextImages:
    """What to label next.

    Attributes
    ----------
    folder : Path
        It holds ``manifest.csv`` (the images of all rounds), ``images.csv`` (all images of the run and those chosen
        from its pool, with the labels so far), ``featurize.json`` (the options of `featurize` that take these into the
        run), and ``index.html``.
    number : int
        The round, from 1.
    images : list of NextImage
        The images of this round.
    unlabelled : int
        Number of images of the run without a label.
    labels : mapping of str to int
        Number of labels of each class.
    notes : list of str
        Notes on what differs from the request, such as too few images.
    curves : list of LearningCurve
        By labels and by patients, if they are wanted and there are enough labels.
    """

    folder: Path
    number: int
    images: list[NextImage]
    unlabelled: int
    labels: dict[str, int]
    notes: list[str]
    curves: list[LearningCurve]

    def __str__(self) -> str:
        methods = Counter(image.chosen.split()[0] for image in self.images)
        parts = ", ".join(f"{count} by {method}" for method, count in methods.items())
        total = counted(self.unlabelled, "image")
        return f"round {self.number}: {len(self.images)} of {total} without a label ({parts})"


def choose_next(
    run: PathInput, *, out: PathInput | None = None, settings: NextSettings | None = None
) -> NextImages:
    """Choose images of a run to label next, and write them to a manifest and a page.

    Labels that a person wrote into the manifest of earlier rounds count. If no image of the last round is answered yet,
    it is chosen anew, else the next round begins. The random images of all rounds together are a sample of those that
    had no label at first: an image that would be drawn, but was chosen by a strategy, also gets ``random`` in
    ``chosen``.

    Parameters
    ----------
    run : str or Path
        The folder of a run with one feature file, or a feature file.
    out : str or Path, optional
        Folder for the manifest and the page; by default ``next`` in the run.
    settings : NextSettings, optional

    Raises
    ------
    InputError
        There are several feature files, or none; all images have a label or were chosen before; the manifest of
        earlier rounds cannot be read; or ``images.csv`` in `out` is the table that lists the images of the run.
    StoreError
        See `open_store`.
    UnderWayError
        Another process chooses images in the same folder.
    """
    settings = NextSettings.of(settings)
    store = converted(run, "run", Path)
    if store.is_dir():
        store = only_store(store)
    folder = run_of(store) / "next"
    if out is not None:
        folder = converted(out, "out", Path)
    with in_turn(folder) as has_turn:
        if not has_turn:
            raise UnderWayError("{}: another process works there; try again later", folder)
        return choose_in_turn(store, folder, settings)


def choose_in_turn(store: Path, folder: Path, settings: NextSettings) -> NextImages:
    """Choose images as `choose_next` does, in a folder that no other program changes meanwhile, see `in_turn`."""
    run_folder = run_of(store)
    options: Content = {}
    with suppress(InputError):  # features of other programs, which no featurize made
        options = load_config(run_folder / "run.json", command="featurize")
    manifest = folder / MANIFEST
    if not manifest.is_file():
        refuse_overwriting([folder / ALL_IMAGES], named_files(*options.values()))
    store, pool_names = join_pool(store, run_folder / "pool", settings.images, options)
    table = read_images(store, manifest)
    new_round = _Round(table, settings)
    if not new_round.free():
        if manifest.is_file():  # the labels of the last round come into the run, too
            table.write(folder / ALL_IMAGES, table.names)
        text = "{}: each of its {} images has a label, was chosen before, or is a near-duplicate of one that was"
        raise InputError(text, run_folder, len(table.names))
    lost_names = table.cells["label"].keys() - {*table.names}
    if lost_names:
        new_round.notes.append(
            f"labels of images that the run lacks do not count: {few(sorted(lost_names))}"
        )
    new_round.choose()
    curves = []
    if settings.curve:
        curves = learning_curves(table, seed=settings.seed)
        if not curves:
            new_round.notes.append("too few labels, or patients, for a learning curve")
    result = NextImages(
        folder,
        new_round.number,
        new_round.images,
        len(table.names) - len(new_round.truth),
        new_round.counts,
        new_round.notes,
        curves,
    )
    image_options = {field.name for field in fields(ImageSelection)} - {"classes"}
    options = {name: value for name, value in options.items() if name not in image_options}
    if options:
        options["images"] = str((folder / ALL_IMAGES).absolute())
        options["out"] = str(run_folder.absolute())
    pool_names -= table.cells["chosen"].keys()
    _write(result, table, [name for name in table.names if name not in pool_names], options)
    return result


class _Round:
    """A round of choices. Images are numbered by their positions in the feature file."""

    def __init__(self, table: RunImages, settings: NextSettings) -> None:
        self.table = table
        self.settings = settings
        self.number = table.begin_round()
        self.order = table.in_order(settings.seed)
        self.marks = table.cells["chosen"]
        self.truth = table.labelled()
        self.classes = self.truth.classes
        self.counts = Counter(self.classes[label] for label in sorted(self.truth.labels))
        seen = {*self.truth.image_ids, *self.marks}
        self.seen = {position for position, name in enumerate(table.names) if name in seen}
        self.images: list[NextImage] = []
        self.notes: list[str] = []

    def free(self) -> list[int]:
        """Return the images that may be chosen, in the order of the draw."""
        return [
            position for position in self.order if self.table.twins[position].isdisjoint(self.seen)
        ]

    def choose(self) -> None:
        """Draw images at random, then choose others by the strategy, or without a model by diversity."""
        count = self.settings.count
        strategy = STRATEGIES[self.settings.strategy]
        at_random = round(count * self.settings.random_share)
        if strategy is RANDOM:
            at_random = count
        probabilities = np.empty((0, 0))
        self._take(RANDOM, at_random, probabilities)
        self._mark_passed()
        if strategy.asks_model:
            try:
                labelled = self.table.rows[np.isin(self.table.names, self.truth.image_ids)]
                probabilities = train_model(
                    labelled, self.truth, seed=self.settings.seed
                ).predict_proba(self.table.rows[self.free()][:, np.newaxis])
            except InputError:
                self.notes.append(
                    "too few labels for a model, which needs at least two classes, and of each several patients: "
                    "chosen by diversity"
                )
                strategy = DIVERSITY
        self._take(strategy, count, probabilities)
        if len(self.images) < count:
            self.notes.append(f"only {counted(len(self.images), 'image')} can be chosen")
        if self.table.copies is None:
            self.notes.append("near-duplicates are not known, and may be among these images")

    def _take(self, strategy: Strategy, count: int, probabilities: Floats) -> None:
        """Choose the first images of a ranking until there are `count`, without near-duplicates of each other.

        Of each it is noted how it was chosen, and why.
        """
        candidates = Candidates(self.table.rows, sorted(self.seen), self.free(), probabilities)
        for position in strategy.rank(candidates):
            if len(self.images) == count:
                break
            if self.table.twins[position].isdisjoint(self.seen):
                self.seen.add(position)
                reason = strategy.reason
                if strategy.asks_model:
                    reason += self._between(probabilities[candidates.free.index(position)])
                name = self.table.names[position]
                mark = f"{strategy.name} {self.number}"
                picture = ""  # if its file is not known, or gone
                path = self.table.cells["path"][name]
                if path:
                    with suppress(ImageError, OSError):
                        picture = thumbnail(decode_image(path))
                self.marks[name] = mark
                self.table.cells["why"][name] = reason
                self.images.append(NextImage(name, mark, reason, picture))

    def _mark_passed(self) -> None:
        """Mark as random the images that precede a drawn one in the order of the draw, but were chosen otherwise."""
        mark = f"{RANDOM.name} {self.number}"
        precedes = False
        for position in reversed(self.order):
            name = self.table.names[position]
            cell = self.marks.get(name, RANDOM.name)
            precedes |= cell == mark
            if precedes and RANDOM.name not in cell:
                self.marks[name] = f"{cell}, {mark}"

    def _between(self, shares: Floats) -> str:
        """Return the two most probable classes, and how many labels they have."""
        return ", ".join(
            f"{self.classes[k]} {100 * shares[k]:.0f} % ({counted(self.counts[self.classes[k]], 'label')})"
            for k in np.argsort(-shares, kind="stable")[:2]
        )


def _write(result: NextImages, table: RunImages, names: Sequence[str], options: Entries) -> None:
    """Write the tables and the page; the manifest comes last, from which the next round starts."""
    folder = result.folder
    ensure_folder(folder)
    table.write(folder / ALL_IMAGES, names)
    if options:
        write_json(folder / OPTIONS, options)
    render_page(
        folder / "index.html",
        "next.html",
        package=__package__,
        style="next.css",
        script="",
        result=result,
    )
    new_names = [image.image_id for image in result.images]
    old_names = [name for name in table.cells["chosen"] if name not in new_names]
    table.write(folder / MANIFEST, [*new_names, *old_names])
