"""The images of a run with all that is known of them: features, patients, near-duplicates, and cells of tables.

A pool are images that a run does not have. Its folder holds their features, computed once as those of the run.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core import Entries, InputError, Pairs, from_options
from ...core.formats import Floats32, is_missing, read_csv, read_rows
from ...core.jobs import atomic_output, write_rows
from ...data import ImageFiles, ImageSelection, likeness, report_findings, spell_labels
from ...evaluate import PredictionTable
from ...featurize import AT_ONCE, FeaturizeSettings, Store, featurize, known_facts, open_store

_CHOSEN = re.compile(r"\w+ [1-9]\d{0,5}(, random [1-9]\d{0,5})?")
"""What the column ``chosen`` holds: how an image was chosen, and in which round."""

Cells = dict[str, dict[str, str]]
"""Column to image to cell; an empty cell is left out."""


@dataclass(frozen=True)
class RunImages:
    """The images of a feature file.

    Attributes
    ----------
    names : list of str
        Ids of the images, in the order of the file.
    rows : ndarray of float32, shape (images, d)
        The mean over the augmentations of each image.
    twins : list of set of int
        Positions of each image and of its near-duplicates.
    copies : tuple of (str, str), or None
        Near-duplicates by names.
    cells : dict of str to (dict of str to str)
        What tables hold: path, label, image_id, group and further columns, chosen and why.
    """

    names: list[str]
    rows: Floats32
    twins: list[set[int]]
    copies: Pairs | None
    cells: Cells

    def labelled(self) -> PredictionTable:
        """Return the images that have a label, each predicted as it is; one without a patient is a patient."""
        labels_of = self.cells["label"]
        names = [name for name in self.names if name in labels_of]
        groups = [self.cells["group"].get(name) or None for name in names]
        if any(groups):
            groups = [group or name for group, name in zip(groups, names, strict=True)]
        classes, labels = np.unique([labels_of[name] for name in names], return_inverse=True)
        return PredictionTable(
            "",
            tuple(classes),
            tuple(names),
            labels,
            None,
            labels,
            (None,) * len(names),
            tuple(groups),
        )

    def begin_round(self) -> int:
        """Return the number of the next round, which is the last one if none of its images is answered."""
        if not self.cells["chosen"]:
            return 1
        last, names = last_round(self.cells["chosen"])
        if not names.isdisjoint({*self.cells["label"], *self.cells.get("cannot_be_told", ())}):
            return last + 1
        for column in ("chosen", "why"):
            cells = self.cells[column].items()
            self.cells[column] = {
                name: cell.removesuffix(f", random {last}")
                for name, cell in cells
                if name not in names
            }
        return last

    def in_order(self, seed: int) -> list[int]:
        """Return all positions in an order that follows from the seed and the names, so that further images fit in."""
        return sorted(
            range(len(self.names)),
            key=lambda position: hashlib.sha256(f"{seed} {self.names[position]}".encode()).digest(),
        )

    def write(self, path: Path, names: Iterable[str]) -> None:
        """Write the cells of some images as a manifest."""
        cells = ([values.get(name, "") for values in self.cells.values()] for name in names)
        write_rows(path, [*self.cells], cells)


def last_round(marks: Mapping[str, str]) -> tuple[int, set[str]]:
    """Return the number of the last round, and the ids of its images.

    Parameters
    ----------
    marks : mapping of str to str
        What the column ``chosen`` holds of each image that was chosen.

    Raises
    ------
    ValueError
        There is none, or it ends with no number.
    """
    number = max(int(mark.split()[-1]) for mark in marks.values())
    return number, {name for name, mark in marks.items() if mark.partition(" ")[2] == str(number)}


def run_of(store: Path) -> Path:
    """Return the folder of the run that a feature file is of."""
    if store.parent.name == "features":
        return store.parents[1]
    return store.parent


def read_images(path: Path, manifest: Path) -> RunImages:
    """Read a feature file, and what a person wrote into a manifest of earlier rounds, if there is one.

    Raises
    ------
    StoreError
        See `open_store`.
    InputError
        The manifest cannot be read, or two labels fit one class.
    """
    with open_store(path) as store:
        facts = known_facts(store)
        names = store.image_ids
        starts = range(0, len(names), AT_ONCE)
        blocks = [
            store.features(range(len(names))[start : start + AT_ONCE]).mean(axis=1)
            for start in starts
        ]
        groups = dict(facts.groups) or dict(zip(names, store.groups, strict=True))
        cells = _cells(store, groups, facts.columns)
        classes = store.header["classes"]
    if manifest.is_file():
        path = manifest
        _add_written(cells, manifest, classes)
    for cell in cells["chosen"].values():
        if not _CHOSEN.fullmatch(cell):
            raise InputError(
                "{}: its column chosen has {}, and bchisto next writes there what it chose, such as doubt 1; "
                "give that column another name",
                path,
                cell,
            )
    numbers = {name: position for position, name in enumerate(names)}
    twins = [{position} for position in range(len(names))]
    for pair in facts.copies or ():
        if numbers.keys() >= {*pair}:  # an image of a pair may have failed
            first, second = (numbers[name] for name in pair)
            twins[first].add(second)
            twins[second].add(first)
    return RunImages(names, np.concatenate(blocks), twins, facts.copies, cells)


def _cells(store: Store, groups: dict[str, str], further: Mapping[str, Mapping[str, str]]) -> Cells:
    """Return what a feature file and the files beside it hold of images."""
    names = store.image_ids
    files = {row["sha256"]: row["path"] for row in read_rows(store.path.parent / "images.csv")}
    paths = [files.get(sha256.decode(), "") for sha256 in store.images("sha256")]
    scales = store.images("look")[:, 3].tolist()
    return {
        "path": dict(zip(names, paths, strict=True)),
        "chosen": {},
        "why": {},
        **{column: dict(values) for column, values in further.items()},
        "image_id": dict(zip(names, names, strict=True)),
        "mpp": {
            name: repr(mpp) for name, mpp in zip(names, scales, strict=True) if np.isfinite(mpp)
        },
        "group": groups,
        "label": {name: label for name, label in zip(names, store.labels, strict=True) if label},
    }


def _add_written(cells: Cells, manifest: Path, classes: Sequence[str]) -> None:
    """Add the cells of a manifest; a label that means unknown is none.

    Raises
    ------
    InputError
        It cannot be read, was cut, or names an image twice; labels fit one class, or one may be a typing error.
    """
    table = read_csv(
        manifest, needed=("image_id", "label", "chosen"), expected="image_id,label,chosen"
    )
    if not manifest.read_bytes().endswith(b"\n"):
        raise InputError(
            f"{manifest}: its last line has no end; if the file was cut, restore it, else end that line"
        )
    rows = {row["image_id"]: row for _, row in table.rows}
    if len(rows) < len(table.rows):
        raise InputError(f"{manifest}: has two rows of one image; remove one of them")
    spelled = spell_labels((row["label"] for row in rows.values() if row["label"]), classes)
    names = [*classes]
    for label, spelling in spelled.items():
        if spelling is None and not is_missing(label):
            for name in names:
                why = likeness(name, label, rare=True)
                if why:
                    text = (
                        "{}: its label {}: did you mean {}? They {}; if it is a class of its own, name all in "
                        "{featurize.classes}"
                    )
                    raise InputError(text, manifest, label, name, why)
            names.append(label)
            spelled[label] = label
    for name, row in rows.items():
        row["label"] = spelled.get(row["label"]) or ""
        for column, cell in row.items():
            if cell:
                cells.setdefault(column, {})[name] = cell


def join_pool(
    store: Path, folder: Path, images: Path | None, options: Entries
) -> tuple[Path, set[str]]:
    """Return a feature file of the images of a run and of its pool, and which only the pool has.

    The folder of the pool is a run of all these images, and lists its own in ``added.csv``. Its feature files begin as
    copies of those of the run, and grow, so that near-duplicates are found among all.

    Parameters
    ----------
    store : Path
        A feature file of the run, which is returned if there is no pool.
    folder : Path
        Of the pool.
    images : Path or None
        A folder or a table of images, which join the pool without their labels.
    options : mapping
        Those that made the features of the run.

    Raises
    ------
    InputError, ImageError
        The run has features of other programs; or images cannot be used, see `featurize`.
    """
    listed = folder / "added.csv"
    sources = {}
    if listed.is_file():
        sources[""] = ImageSelection(listed)
    if images is not None:
        sources[f"{images.absolute().stem}/"] = ImageSelection(
            images, group_from=options.get("group_from"), mpp=options.get("mpp")
        )
    present = {row["sha256"] for row in read_rows(store.parent / "images.csv")}
    table = read_images(store, Path())
    added = []
    for prefix, selection in sources.items():
        dataset = selection.table()
        # the rule is that of the run, and `featurize` below names the images without a patient
        findings = [each for each in dataset.findings if "`group_from`" not in each.message]
        report_findings(findings, labels=False)
        records = dataset.records
        for record, sha256 in zip(records, ImageFiles().hashes(records), strict=True):
            if sha256 in present:
                continue
            present.add(sha256)
            name = prefix + record.image_id
            added.append(name)
            table.cells["image_id"][name] = name
            table.cells["path"][name] = str(record.path.absolute())
            table.cells["group"][name] = record.group_text
            table.cells["mpp"][name] = str(record.mpp or "")
    if not added:
        return store, set()
    if not options:
        raise InputError("{}: not by bchisto featurize, so that a pool gets no features", store)
    for file in store.parent.glob("*.h5"):
        copy = folder / "features" / file.name
        if not copy.exists():
            with atomic_output(copy) as temporary:
                shutil.copyfile(file, temporary)
    table.write(folder / "images.csv", [*table.names, *added])
    featurize(
        folder / "images.csv",
        out=folder,
        settings=from_options(FeaturizeSettings, options),
    )
    table.write(listed, added)
    return folder / "features" / store.name, set(added)
