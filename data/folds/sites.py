"""Leave one site out: a fold for each value of a column of the manifest."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...errors import InputError
from ..csvtable import column_key
from ..findings import few
from ..particulars import Particulars
from .plans import FoldPlan, spread

SITES = "site:"
"""What a protocol that leaves one site out begins with; the name of the column follows."""


def site_plan(column: str, *, image_ids: Sequence[str], known: Particulars) -> FoldPlan:
    """Make a fold for each value of a column, sorted, in which its images test and all others train.

    Parameters
    ----------
    column : str
        Of the manifest; case, and ``_`` for spaces and hyphens, do not count.
    image_ids : sequence of str
    known : Particulars

    Raises
    ------
    InputError
        No such column, an image without a value, or fewer than two values.
    """
    if not column.strip():
        raise InputError(f"`spec` {SITES}: name a column of the manifest, such as {SITES}hospital")
    try:
        values = known.column(column)
    except InputError as error:
        raise InputError(f"`spec` {SITES}{error}") from error
    column = column_key(column)
    empty = [image for image in image_ids if not values.get(image)]
    if empty:
        raise InputError(
            f"`spec` {SITES}{column}: {len(empty)} of {len(image_ids)} images have no value in this column, first "
            f"{empty[0]}; fill it in"
        )
    sites = sorted({values[image] for image in image_ids})
    if len(sites) < 2:
        raise InputError(f"`spec` {SITES}{column}: all images are of {sites[0]}; leaving one site out needs two")
    number = {site: place for place, site in enumerate(sites, start=1)}
    named = few((f"{place} {site}" for site, place in number.items()), most=10)
    return FoldPlan(
        "site-" + re.sub(r"[^\w.-]+", "-", column),
        tuple(spread([(image, number[values[image]], "") for image in image_ids])),
        partition=True,
        origin="site",
        source=f"{column}; {named}",
    )
