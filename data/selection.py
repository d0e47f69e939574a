"""A selection of images: the options of a user, and the images that can be used."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ..core import (
    IN_FILE,
    Content,
    Converted,
    ImageError,
    InputError,
    Many,
    Message,
    OptionalPath,
    Pairs,
    PathInput,
    RefusedImageError,
    Settings,
    Texts,
    converted,
    limited,
    message_of,
    none_usable,
    option,
)
from ..core.formats import FramePath, limits
from ..core.jobs import ensure_folder, in_turn, refuse_overwriting
from ..stains import TREATMENTS, get_stain
from .check import sign_findings
from .dataset import (
    FACTS_FILE,
    IMAGE_SUFFIXES,
    Dataset,
    DatasetFacts,
    ImageRecord,
    facts_of,
    read_dataset_facts,
    write_dataset_facts,
)
from .findings import pairs_alike, report_findings, warn_left_out
from .frames import Frame
from .images import (
    Fingerprint,
    ImageFiles,
    UniqueImages,
    find_copies,
    header_findings,
    headers_of,
    unique_images,
)
from .layouts import LABEL_LEVELS, LESIONS, built_in_layouts, find_layout, list_layouts
from .mammograms import CONTEXTS
from .names import only_listed
from .read import read_images
from .walk import other_pictures

_log = logging.getLogger(__name__)

_MOST_DEEP = 100
"""Number of 16-bit images whose pixels are checked before the work starts; `data check` checks all."""


_MAGNIFICATIONS = (40, 100, 200, 400)
"""Magnifications of BreakHis."""


class LeastSize(Protocol):
    """Interface of a requirement on the size and scale of images, such as a `View` or patches."""

    def misfit(self, record: ImageRecord, *, width: int, height: int) -> str | None:
        """Return the reason why an image of this size (pixels) cannot be used, such as a small size; else None."""


class OpenedImages(NamedTuple):
    """Images that are ready for use: headers are checked, and repeated images are removed.

    Attributes
    ----------
    source : Dataset
        All selected images.
    unique : UniqueImages
        The images to use, their checksums, and the identity of the dataset.
    refused : tuple of (image_id, message)
        Images that are left out because their header shows that they cannot be used.
    """

    source: Dataset
    unique: UniqueImages
    refused: Pairs

    def settle(
        self, path: Path, *, failed: int, fingerprints: Mapping[str, Fingerprint] | None = None
    ) -> DatasetFacts:
        """Return all facts about the images, including near-duplicates, and write them to a file.

        Parameters
        ----------
        path : Path
            The file to write. If it has near-duplicates of the same images from an earlier run, these are reused.
        failed : int
            Number of images that failed while they were read.
        fingerprints : mapping, optional
            Fingerprints of images that were decoded already, see `find_copies`.
        """
        copies = read_dataset_facts(path, images_sha256=self.unique.digest).copies
        if copies is None:
            pairs = find_copies(self.unique.dataset.records, known=fingerprints)
            if pairs is not None:
                copies = tuple((copy.first, copy.second) for copy in pairs)
        if copies:
            _log.warning(
                "%s, first %s; `bchisto data check` names them",
                pairs_alike(len(copies)),
                " and ".join(copies[0]),
            )
        facts = replace(self.known(failed=failed), copies=copies)
        write_dataset_facts(path, facts, images_sha256=self.unique.digest)
        return facts

    def is_settled(self, path: Path) -> bool:
        """Return whether a file has these facts, however many images failed while they were read."""
        facts = read_dataset_facts(path, images_sha256=self.unique.digest)
        failed = facts.flow.get("failed") or 0
        return facts == replace(self.known(failed=failed), copies=facts.copies)

    def known(self, *, failed: int) -> DatasetFacts:
        """Return the facts about the images, except near-duplicates.

        Parameters
        ----------
        failed : int
            Number of images that failed while they were read.
        """
        flow = {
            "found": len(self.source.records) + self.source.repeated,
            "refused": len(self.refused),
            "duplicates": self.source.repeated + len(self.unique.repeated),
            "failed": failed,
        }
        unlabelled = sum(record.label is None for record in self.unique.dataset.records)
        if unlabelled:
            flow["unlabelled"] = unlabelled
        return facts_of(self.unique.dataset, flow=flow)


@dataclass(frozen=True)
class ImageSelection(Settings):
    """A selection of images, and options for reading them.

    `images` may also be a data frame with the columns of a manifest, whose paths start at the working folder.
    """

    images: Converted[PathInput | Frame, Path] = option(
        group="Input", help="A folder, or a manifest path,label,group[,image_id]."
    )
    dataset: str | None = option(
        None,
        group="Particular data sets",
        choices=tuple(spec.name for spec in built_in_layouts()),
        more=list_layouts,
        help="Layout of the data set; default: detected.",
    )
    label_level: str = option(
        "class",
        group="Particular data sets",
        choices=LABEL_LEVELS,
        help="BreakHis: benign against malignant, or the eight tumour types.",
    )
    context: str = option(
        "tight",
        group=IN_FILE,
        choices=CONTEXTS,
        help="DDSM and CBIS-DDSM: only the abnormality, 50 pixels more, or twice its box.",
    )
    lesions: Texts = option(
        (),
        group=IN_FILE,
        flag="lesion",
        choices=LESIONS,
        help="DDSM and CBIS-DDSM: keep these abnormalities; default: both.",
    )
    magnifications: Converted[Many[int], tuple[int, ...]] = option(
        (),
        group="Particular data sets",
        flag="magnification",
        choices=_MAGNIFICATIONS,
        help=f"BreakHis: keep these of {', '.join(map(str, _MAGNIFICATIONS))}; default: all.",
    )
    classes: Texts = option((), commas=True, help="Class order; default: the dataset's own.")
    labels: OptionalPath = option(
        None,
        group="Input",
        file="input",
        help="Labels of a folder of images: a table image_id,label[,group][,mpp], which names them by file, with or "
        "without suffix.",
    )
    group_from: str | None = option(
        None,
        group="Input",
        metavar="LEVEL|PATTERN",
        help="Patient or slide by the path of an image: a level of folders (1 is the first, -1 the one that holds the "
        "image), a regular expression, whose first group counts, or none. Default: published names (BreakHis, TCGA).",
    )
    label_from: str | None = option(
        None, metavar="LEVEL|PATTERN", help="The same for labels; default: the class folder."
    )
    path_column: str | None = option(
        None, metavar="NAME", help="Column of a manifest that holds the path."
    )
    label_column: str | None = option(
        None, metavar="NAME", help="Column of a manifest that holds the label."
    )
    group_column: str | None = option(
        None,
        metavar="NAME",
        help="Column of a manifest that holds patient or slide; site+patient if each site counts its own.",
    )
    mpp: float | None = option(
        None,
        group="Input",
        least=limits.LEAST_MPP,
        most=limits.MOST_MPP,
        help="Micrometres per pixel of all images; default: those of the dataset, of the column mpp of a manifest, or "
        "of each TIFF or DICOM.",
    )
    only: OptionalPath = option(
        None, file="input", help="CSV with a column image_id: use only these images."
    )

    def __post_init__(self) -> None:
        if hasattr(self.images, "columns"):
            object.__setattr__(self, "images", FramePath.of(self.images))
        super().__post_init__()

    def __repr__(self) -> str:
        given = "".join(f", {name}={value!r}" for name, value in self.given.items())
        return f"ImageSelection({str(self.images)!r}{given})"

    @property
    def given(self) -> Content:
        """The options that differ from their defaults."""
        return {
            member.name: getattr(self, member.name)
            for member in fields(self)[1:]
            if getattr(self, member.name) != member.default
        }

    def read_once(self) -> ImageSelection:
        """Return a selection that reads its images only once, for commands with several stages."""
        return _ReadOnce(**{member.name: getattr(self, member.name) for member in fields(self)})

    def refuse_as_run(self, out: Path) -> None:
        """Refuse an output folder that contains the images, or whose files would overwrite an input list.

        Images in a run folder would be skipped the next time they are read. A folder with an existing run is accepted.

        Raises
        ------
        InputError
        """
        if out.is_dir() and self.images.is_dir() and not (out / "run.json").exists():
            is_inside = out.resolve().is_relative_to(self.images.resolve())
            has_images = any(path.suffix.casefold() in IMAGE_SUFFIXES for path in out.iterdir())
            if out.samefile(self.images) or (is_inside and has_images):
                raise InputError(
                    "{out} {}: the images are there; name another folder, which may be inside this one",
                    out,
                )
        outputs = (
            out / "failures.csv",
            out / "features" / "images.csv",
            out / "features" / FACTS_FILE,
        )
        refuse_overwriting(
            outputs, [path for path in (self.images, self.labels, self.only) if path is not None]
        )

    @property
    def reading(self) -> Content:
        """Options that a model file stores, so that new images are read in the same way."""
        return {"label_level": self.label_level, "context": self.context}

    def table(self) -> Dataset:
        """Read the images; problems are kept as findings of the dataset.

        Raises
        ------
        MissingInputError, InputError
            See `bchisto.data.read_dataset`; or `only` names an image that is not there.
        """
        dataset = read_images(vars(self), self.given)
        if self.only is not None:
            dataset = only_listed(dataset, self.only)
        pictures = other_pictures([record.image_id for record in dataset.records])
        return replace(dataset, findings=(*dataset.findings, *pictures))

    def read(self, *, labels: bool = True) -> Dataset:
        """Read the images, raise an error for findings of level error, and log all others.

        Parameters
        ----------
        labels : bool
            Whether labels matter. If not, errors that concern only labels are logged as warnings.

        Raises
        ------
        MissingInputError, InputError
            See `table`; or the images have an error.
        """
        dataset = self.table()
        report_findings(dataset.findings, labels=labels)
        return dataset

    def open(
        self,
        *,
        cache: Path,
        stain: str,
        colours: bool,
        colours_off: str,
        needs: Sequence[LeastSize],
        skip_errors: bool,
        keep_refused: bool = False,
    ) -> OpenedImages:
        """Read the images and check stains, headers, sizes and repeated images before the work starts.

        Parameters
        ----------
        cache : Path
            File that stores checksums and headers between runs. Its folder is created after all checks have passed. If
            several shards start at once, the first one reads the images, and the others wait for its cache.
        stain : str
            Stain method that will be applied to the images.
        colours : bool
            Whether stain colours will be varied.
        colours_off : str
            The option that turns this variation off, for a message.
        needs : sequence of LeastSize
            Requirements on the size of every image.
        skip_errors : bool
            Leave out images that cannot be used.
        keep_refused : bool
            With `skip_errors`: do not check headers here, so that unusable images remain a part of the identity.

        Raises
        ------
        MissingInputError, InputError, ImageError
            No image can be used, or an image cannot be used and `skip_errors` is False.
        """
        dataset = self.table()
        report_findings(dataset.findings)
        if dataset.untrainable:
            _log.warning("%s: %s", self.images, dataset.untrainable)
        layout = find_layout(dataset.name)
        if layout is not None and not layout.stained and (colours or get_stain(stain).checked):
            text = (
                "{}: the images of {} have no stain; use {stain:none} (or a treatment: {}) and {}"
            )
            treatments = ", ".join(TREATMENTS)
            raise InputError(text, self.images, dataset.name, treatments, colours_off)
        files = ImageFiles(cache)
        with contextlib.ExitStack() as turn:
            if not cache.is_file() or not files.know(dataset.records):
                turn.enter_context(in_turn(cache.parent))
                files = ImageFiles(cache)
            usable, refused = check_headers(
                dataset.records, needs=needs, skip_errors=skip_errors, files=files
            )
            report_findings(sign_findings(replace(dataset, records=usable)))
            if keep_refused and skip_errors:
                sound = {record.image_id: record for record in usable}
                usable = tuple(sound.get(record.image_id, record) for record in dataset.records)
                refused = ()
            ensure_folder(cache.parent)
            return OpenedImages(
                dataset, unique_images(replace(dataset, records=usable), cache=files), refused
            )


class _ReadOnce(ImageSelection):
    @functools.cached_property
    def _read(self) -> Dataset:
        return super().table()

    def table(self) -> Dataset:
        return self._read


def read_dataset(images: PathInput, **options: Any) -> Dataset:
    """Read images in a published layout, in a folder per class, or from a manifest.

    Parameters
    ----------
    images : str or Path
    **options : any
        Fields of `ImageSelection`.

    Returns
    -------
    Dataset
        Sorted by image ID. It contains the findings; call `Dataset.raise_errors` before using the images.

    Raises
    ------
    MissingInputError
        `images` does not exist or is an empty folder.
    InputError
        The images do not have the layout ``dataset``, an option does not apply to the layout, or a label is not one of
        ``classes``.
    """
    return ImageSelection(converted(images, "images", Path), **options).table()


def check_headers(
    records: Sequence[ImageRecord],
    *,
    needs: Sequence[LeastSize],
    skip_errors: bool,
    parameters: Collection[str] | None = None,
    files: ImageFiles | None = None,
) -> tuple[tuple[ImageRecord, ...], Pairs]:
    """Check the header of every image before the work starts.

    Parameters
    ----------
    records : sequence of ImageRecord
    needs : sequence of LeastSize
        Requirements on the size of every image, such as crops that must fit; any object with a method `misfit`.
    skip_errors : bool
        Leave out images that cannot be used, instead of raising an error.
    parameters : collection of str, optional
        Those that the caller has, see `bchisto.core.Message.limited`; by default all.
    files : ImageFiles, optional
        Cached headers of the files.

    Returns
    -------
    tuple of ImageRecord, tuple of (image_id, message)
        The usable images, with their headers, and those that are left out.

    Raises
    ------
    RefusedImageError
        An image cannot be used and `skip_errors` is False, or no image can be used.
    """
    usable = []
    unusable: dict[str, str] = {}
    files = files or ImageFiles()
    for record, header in zip(records, headers_of(records, files.header), strict=True):
        if isinstance(header, ImageError):
            unusable[record.image_id] = message_of(header)
            continue
        scaled = record.scaled_by(header)
        width, height = record.sides(header)
        for need in needs:
            misfit = need.misfit(scaled, width=width, height=height)
            if misfit is not None:
                if parameters is not None:
                    misfit = limited(misfit, parameters)
                unusable[record.image_id] = misfit
                break
        else:
            usable.append(scaled)
    if unusable and not skip_errors:
        first, *others = unusable.values()
        more: str = ""
        if len(unusable) == len(records) > 1:
            more = Message(" (nor can the {} others be used)", len(others))
        elif others:
            text = " ({} more cannot be used; {skip_errors} leaves them out)"
            more = Message(text, len(others))
        elif len(records) > 1:
            raise RefusedImageError(first).skippable()
        raise RefusedImageError("{}{}", first, more)
    warn_left_out(unusable)
    if unusable and not usable:
        raise RefusedImageError(none_usable(list(unusable.values())))
    report_findings(header_findings(usable, most=_MOST_DEEP))
    return tuple(usable), tuple(unusable.items())
