"""Labelled images with their groups, and the facts about them that are kept beside features.

Facts are counts of images, further columns, patients, near-duplicates, and the parts of a given split.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..core import Banner, InputError, Kind, Message, Pairs, counted
from ..core.formats import PART, ImageHeader, Pixels, as_frame, read_json, unit_named
from ..core.jobs import write_json
from .classes import not_among, spell_labels
from .findings import Finding, has_errors, raise_errors

SYNTHETIC_BANNER = Banner(
    Kind.SYNTHETIC,
    "generated tissue, made to try the software; the results mean nothing for medicine.",
)
"""First line of every output about synthetic images."""

SYNTHETIC_MARK = "bchisto-synthetic.json"
"""File that `make_bach` writes next to synthetic images, so that reports do not mistake them for real ones."""

IMAGE_SUFFIXES = frozenset(
    {".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".dcm", ".dicom"}
)
IMAGE_KINDS = "TIFF, PNG, JPEG, BMP, WebP or DICOM"
"""The kinds of files of `IMAGE_SUFFIXES`, for messages."""

UNREAD = re.compile(
    r"\.(gif|j[2p][2ckfmx]|jp[cx]|jls|ljpeg|jx[lr]|wdp|hdp|hei[cf]|hif|avif|ps[bd]|xcf|tga|pcx|p[bgnp]m|pam|exr|hdr|dng|"
    r"cr[23]|ne[fw]|nrw|arw|orf|rw2|raf|pef|raw|dib|ico|sgi|lif|lsm|nd2|oi[bfr]|zvi|stk|mh[ad]|nii|nrrd|fi?ts?|qptiff|btf)"
)
"""Suffixes of pictures of other kinds, and of microscopes' files, that are not read."""


Box = tuple[int, int, int, int]
"""Left, top, right and bottom of an image within its file, in pixels."""


class Look(NamedTuple):
    """Sides of an image in pixels, bits of a sample, and micrometres per pixel; NaN if unknown."""

    short: float
    long: float
    bits: float
    mpp: float

    @property
    def field(self) -> float:
        """Shorter side in micrometres."""
        return self.short * self.mpp


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image.

    Attributes
    ----------
    image_id : str
        The file name with extension for published layouts, otherwise the POSIX path relative to the root.
    path : Path
        The file; for an array or a picture, its name.
    label : str or None
        The class, in the dataset's own spelling; None if unknown.
    group : str or None
        Patient or slide; None if unknown.
    magnification : int or None
        Nominal objective magnification.
    mpp : float or None
        Micrometres per pixel; None if neither the dataset nor the user states them, see `scaled_by`.
    source : str
        Name of the layout from which the image was read; ``given`` of arrays, and of images that a caller names.
    box : tuple of int, or None
        Left, top, right, bottom in pixels if the image is a part of its file, right and bottom exclusive; None for the
        whole file.
    frame, mask : Path or None
        For CBIS-DDSM, the mammogram from which the image was cut, and the mask of the abnormality in it.
    stretch : bool
        Whether 16-bit grey levels of a TIFF or PNG are stretched to their range, see `decode_image`.
    columns : tuple of (str, str)
        Further non-empty cells of a manifest: column key, see `column_key`, and value.
    line : int
        Line in the manifest; 0 without a manifest.
    header : ImageHeader or None
        What the file states; None until it is read, see `scaled_by`.
    pixels : ndarray of uint8, shape (height, width, 3), or None
        Pixels of an array or a picture that was given instead of a file.
    """

    image_id: str
    path: Path
    label: str | None
    group: str | None = None
    magnification: int | None = None
    mpp: float | None = None
    source: str = "folder"
    box: Box | None = None
    frame: Path | None = None
    mask: Path | None = None
    stretch: bool = False
    columns: Pairs = ()
    line: int = 0
    header: ImageHeader | None = None
    pixels: Pixels | None = field(default=None, compare=False, repr=False)

    @property
    def called(self) -> str:
        """The name of the image in messages, which is its path or the name that a caller gave with its pixels."""
        return f"{self.path}"

    @property
    def label_text(self) -> str:
        """The label as tables have it, empty if unknown."""
        return self.label or ""

    @property
    def group_text(self) -> str:
        """The patient or slide as tables have it, empty if unknown."""
        return self.group or ""

    def sides(self, header: ImageHeader) -> tuple[int, int]:
        """Return width and height of the image in pixels, given the header of its file."""
        left, top, right, bottom = self.box or (0, 0, *header.size)
        return right - left, bottom - top

    def scaled_by(self, header: ImageHeader | None) -> ImageRecord:
        """Return the record with a header, and with its micrometres per pixel unless they are already known."""
        if header is None:
            return self
        mpp = header.mpp if self.mpp is None else self.mpp
        return replace(self, header=header, mpp=mpp)

    @property
    def look(self) -> Look:
        """The sizes by which images of another microscope or export differ."""
        mpp = math.nan if self.mpp is None else self.mpp
        if self.header is None:
            return Look(math.nan, math.nan, math.nan, mpp)
        short, long = sorted(self.sides(self.header))
        return Look(short, long, 8 + 8 * self.header.deep, mpp)


@dataclass(frozen=True)
class Dataset:
    """A table of images, with its classes and the problems that were found in it.

    Attributes
    ----------
    name : str
        Name of the layout, see `list_layouts`.
    root : Path
        The folder or manifest from which it was read.
    records : tuple of ImageRecord
        Sorted by `image_id`, which is unique.
    classes : tuple of str
        Class order of every table and probability column.
    findings : tuple of Finding
        Problems that were found, and notes.
    synthetic : bool
        Whether the images were generated by ``bchisto data make``.
    patients_apart : bool
        Whether the groups come from another source than the images: published separately, see `LayoutSpec`,
        or named by an option.
    repeated : int
        Number of files that are left out, because a file with the same ID and content is in the table.
    """

    name: str
    root: Path
    records: tuple[ImageRecord, ...]
    classes: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    synthetic: bool = False
    patients_apart: bool = False
    repeated: int = 0

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, {str(self.root)!r}, {self.class_counts()})"

    def class_counts(self) -> dict[str, int]:
        """Return the number of images of each class, in class order."""
        counts = Counter(record.label for record in self.records)
        return {name: counts[name] for name in self.classes}

    @property
    def counts_text(self) -> str:
        """The number of images, and that of each class, in words."""
        classes = self.class_counts()
        counts = [f"{name} {count}" for name, count in classes.items()]
        unlabelled = len(self) - sum(classes.values())
        if unlabelled:
            counts.append(f"without a label {unlabelled}")
        return f"{counted(len(self), 'image')}: {', '.join(counts)}"

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` that `ImageSelection` takes again: path, label, group, image_id, mpp.

        The boxes of mammograms are not in it.

        Raises
        ------
        DependencyError
            pandas is not installed.
        """
        names = ("path", "label", "group", "image_id", "mpp")
        return as_frame(
            {name: [getattr(record, name) for record in self.records] for name in names}
        )

    @property
    def untrainable(self) -> str:
        """The reason why no model can be trained on these images, and what to do; empty if training is possible."""
        labels = {record.label for record in self.records if record.label is not None}
        if len(labels) < 2 and has_errors(self.findings):
            return "images without an error do not show two classes, so nothing can be trained yet; correct the errors"
        if not labels:
            return Message(
                "no image has a label, so nothing can be trained on them; put the images into a folder for each class, "
                "or fill in the column label of a manifest, or name the column that holds it with {label_column}"
            )
        cause = f"all labelled images are of class {min(labels)}, and training needs two classes; add images of another"
        return cause if len(labels) == 1 else ""

    def raise_errors(self) -> None:
        """Raise an error if the dataset has findings of level error.

        Raises
        ------
        InputError
            Contains the first of these findings and the number of others.
        """
        raise_errors(self.findings)

    def with_classes(self, classes: Sequence[str]) -> Dataset:
        """Return the dataset with its labels spelled and ordered as in `classes`.

        Raises
        ------
        InputError
            A label is not one of `classes`, or see `spell_labels`.
        """
        spelled = spell_labels((r.label for r in self.records if r.label is not None), classes)
        unknown_labels = sorted(label for label, name in spelled.items() if name is None)
        if unknown_labels:
            first = next(record for record in self.records if record.label == unknown_labels[0])
            raise InputError("{}: its {}", first.path, not_among(unknown_labels, classes))
        records = [
            r if r.label is None else replace(r, label=spelled[r.label]) for r in self.records
        ]
        return replace(self, records=tuple(records), classes=tuple(classes))


FACTS_FILE = "dataset.json"
"""Name of the file with the facts about a dataset, next to feature files and in the folder of networks."""

NO_FLOW: Mapping[str, int | None] = dict.fromkeys(
    ("found", "refused", "duplicates", "failed", "used")
)
"""Counts of images of which none is known, see `DatasetFacts.flow`."""

GIVEN = "folder"
"""Name of the protocol that uses the split that came with the images."""

PARTS = ("train", "val", "test")

_PART_NAME = re.compile(
    r"(?:(?P<train>train|training)|(?P<val>val|valid|validation|dev)|(?P<test>test|testing|eval|evaluation|hold[\W_]?out))"
    r"(?:[\W_\d]*(?:sets?|split|part|folder|data|images?|imgs?|pictures|patches|tiles))*[\W_\d]*[a-d]?"
)
"""Names of the parts of a split, with words and numbers that may follow."""


CHOSEN = "chosen"
"""Column in which ``bchisto next`` writes how an image was chosen, and in which round."""

DRAWN = "random"
NOT_DRAWN = "not random"
_MARK = re.compile(r"\w+ [1-9]\d*(, random [1-9]\d*)?")


@dataclass(frozen=True)
class DatasetFacts:
    """Facts about the images of a dataset in addition to their labels.

    Attributes
    ----------
    flow : mapping of str to (int or None)
        Numbers of images: ``found``, ``refused`` because of their headers, ``duplicates`` by content, and ``failed``
        while they were read; None if unknown. Also ``unlabelled`` if images have no label.
    columns : mapping of str to (mapping of str to str)
        Further columns of a manifest: column key, see `column_key`, to image ID to value. Empty cells are left out.
    groups : mapping of str to str
        Image ID to patient or slide, if known. Older feature files may lack patients that became known later.
    copies : tuple of (str, str), or None
        Pairs of image IDs of near-duplicates, see `find_copies`; None if they were not searched for.
    failed : collection of str
        Images that could not be used in this run. They are not written to the file.
    """

    flow: Mapping[str, int | None] = field(default_factory=lambda: dict(NO_FLOW))
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    copies: Pairs | None = None
    failed: Collection[str] = ()

    @property
    def group_is(self) -> str:
        """The word for one group, by the name of the column that holds the groups; empty if no column does."""
        shared = {
            column: len(cells.items() & self.groups.items())
            for column, cells in self.columns.items()
        }
        column = max(shared, key=shared.__getitem__, default="")
        return unit_named(column) if shared.get(column) else ""

    def used(self, images: int) -> dict[str, int | None]:
        """Return `flow` with the number of images that a protocol uses for training or test."""
        return {**NO_FLOW, **self.flow, "used": images}


def drawn_or_not(mark: str) -> str:
    """Return ``random`` or ``not random`` for a mark that ``bchisto next`` wrote; any other text unchanged.

    Examples
    --------
    >>> drawn_or_not("random 2"), drawn_or_not("doubt 1, random 2"), drawn_or_not("doubt 1"), drawn_or_not("yes")
    ('random', 'random', 'not random', 'yes')
    """
    match = _MARK.fullmatch(mark)
    if match is None:
        return mark
    if DRAWN in mark:
        return DRAWN
    return NOT_DRAWN


def chosen_notes(marks: Mapping[str, str], images: Collection[str]) -> tuple[Banner, ...]:
    """Return a warning if some images were not drawn at random, but chosen by a model or features.

    Parameters
    ----------
    marks : mapping of str to str
        Image ID to a cell of the column `CHOSEN`.
    images : collection of str
    """
    chosen = sum(drawn_or_not(marks.get(image, "")) == NOT_DRAWN for image in images)
    if chosen == 0:
        return ()
    end = "and none was drawn at random, so nothing is concluded"
    if any(drawn_or_not(marks.get(image, "")) == DRAWN for image in images):
        end = "and only those that were drawn at random count for conclusions; {evaluate.by:chosen} shows both"
    text = (
        "{} of {} images were labelled because a model doubted them or they are unlike others "
        f"(column chosen), so figures of all are not those of new images, {end}"
    )
    return (Banner(Kind.CHOSEN, Message(text, chosen, len(images)), chosen=chosen),)


def facts_of(dataset: Dataset, **further: Any) -> DatasetFacts:
    """Return the columns and groups that the records of a dataset have, and further facts."""
    columns: dict[str, dict[str, str]] = {}
    groups = {}
    for record in dataset.records:
        for name, value in record.columns:
            columns.setdefault(name, {})[record.image_id] = value
        if record.group is not None:
            groups[record.image_id] = record.group
    return DatasetFacts(columns=columns, groups=groups, **further)


def write_dataset_facts(path: Path, facts: DatasetFacts, *, images_sha256: str) -> None:
    """Write the facts as JSON, with the identity of the images (`images_sha256`)."""
    content = {name: value for name, value in asdict(facts).items() if name != "failed"}
    write_json(path, {"images_sha256": images_sha256, **content})


def facts_files(path: Path) -> list[Path]:
    """Return the paths at which a run may have the facts about images, given a table of its predictions."""
    return [
        part / FACTS_FILE for run in path.resolve().parents[1:3] for part in (run, run / "features")
    ]


def read_dataset_facts(path: Path, *, images_sha256: str) -> DatasetFacts:
    """Read the facts that `write_dataset_facts` wrote; empty facts if the file is missing or is about other images.

    Raises
    ------
    InputError
        The file is damaged.
    """
    if not path.is_file():
        return DatasetFacts()
    content = read_json(path)
    try:
        if content["images_sha256"] != images_sha256:
            return DatasetFacts()
        pairs = content["copies"]
        copies = None if pairs is None else tuple((first, second) for first, second in pairs)
        return DatasetFacts(content["flow"], content["columns"], content["groups"], copies)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "{}: damaged ({}); remove it and run bchisto featurize again", path, error
        ) from error


def part_of(name: str) -> str | None:
    """Return the part of a split that a folder or a cell names; None if it does not name one.

    Examples
    --------
    >>> part_of("Validation"), part_of("test_images"), part_of("Training Set"), part_of("benign")
    ('val', 'test', 'train', None)
    """
    match = _PART_NAME.fullmatch(name.strip().casefold())
    return match and match.lastgroup


def given_parts(facts: DatasetFacts) -> tuple[str, Mapping[str, str]] | None:
    """Return the column with the parts of a given split, and a dict from image ID to part; None if there is none."""
    for column in itertools.chain.from_iterable(PART.matching(facts.columns)):
        values = facts.columns[column]
        parts = {
            image: part for image, value in values.items() if (part := part_of(value)) is not None
        }
        if parts and len(parts) == len(values):
            return column, parts
    return None
