"""Plans a feature extraction: settings that fit the images, and an estimate of the time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from ...core import InputError, PathInput
from ...core.formats import ImageHeader
from ...core.jobs import Work
from ...data import Dataset, ImageSelection, find_layout, read_headers
from ...featurize import PRESETS, FeaturizeSettings, preset_options, resolve_settings
from .estimate import DescribingEstimate, estimate_describing
from .views import PlannedViews, Sizes, encoders_for_small, fitting_views, unscaled


def plan_describing(
    images: ImageSelection | PathInput,
    settings: FeaturizeSettings,
    *,
    fit: bool = True,
    keep: Collection[str] = (),
    work: Work | None = None,
) -> tuple[FeaturizeSettings, DescribingEstimate | None]:
    """Return settings with views that fit the images, and an estimate for them; this reads all image headers.

    Parameters
    ----------
    images : ImageSelection or path
    settings : FeaturizeSettings
        The views are kept if they fit all images; otherwise there are at most as many. If no view fits the encoders,
        encoders for small crops replace them. For images without stain, stain normalisation is turned off.
    fit : bool
        Whether to adapt the settings.
    keep : collection of str
        Fields that must not change: ``encoders``, ``stain``.
    work : Work, optional
        Sets the number of processes.

    Returns
    -------
    settings : FeaturizeSettings
    estimate : DescribingEstimate or None
        None if no image fits the views.

    Raises
    ------
    InputError
        The images are too small for any view.
    """
    dataset = ImageSelection.of(images).table()
    dataset, sizes = measured(dataset, read_headers(dataset.records))
    if fit:
        settings, fitting = fitted(dataset, sizes, settings, keep=keep)
        if fitting is None and (lacking := unscaled(dataset.records, settings.views)) is not None:
            raise InputError("{}", lacking)
        if fitting is None:
            raise InputError("{}: no view fits these images: every one is too small for {encoders}", dataset.root)
    records = [record for record in dataset.records if record.image_id in sizes]
    return settings, estimate_describing(records, sizes, settings, Work.of(work))


def measured(dataset: Dataset, headers: Mapping[str, ImageHeader]) -> tuple[Dataset, dict[str, tuple[int, int]]]:
    """Return the dataset with micrometres per pixel from the headers, and the sizes of images with a known header."""
    sizes = {
        record.image_id: record.sides(header.width, header.height)
        for record in dataset.records
        if (header := headers.get(record.image_id)) is not None
    }
    records = tuple(record.scaled_by(headers.get(record.image_id)) for record in dataset.records)
    return replace(dataset, records=records), sizes


def fitted(
    dataset: Dataset, sizes: Sizes, requested: FeaturizeSettings, *, keep: Collection[str] = ()
) -> tuple[FeaturizeSettings, PlannedViews | None]:
    """Return settings with views that fit, encoders for them, and no stain normalisation for images without stain."""
    mpp = {record.image_id: record.mpp for record in dataset.records}
    planned, fitting = requested, fitting_views(sizes, settings=requested, mpp=mpp)
    if fitting is None and "encoders" not in keep:
        planned = encoders_for_small(requested)
        fitting = fitting_views(sizes, settings=planned, mpp=mpp)
    if fitting is None:
        planned = requested
    else:
        fitting = replace(fitting, views=fitting.views[: len(requested.views)])
        planned = replace(planned, views=fitting.views)
    layout = find_layout(dataset.name)
    if layout is not None and not layout.stained and "stain" not in keep:
        planned = replace(planned, stain="none", color_range=(1.0, 1.0))
    return planned, fitting


def preset_seconds(dataset: Dataset, sizes: Sizes, work: Work) -> Iterator[tuple[str, float]]:
    """Yield each preset that has views for these images, and the seconds of its feature extraction."""
    for name in PRESETS:
        settings, _ = resolve_settings(preset_options(name), here=False)
        planned, fitting = fitted(dataset, sizes, settings)
        cost = None if fitting is None else estimate_describing(dataset.records, sizes, planned, work)
        if cost is not None:
            yield name, cost.seconds
