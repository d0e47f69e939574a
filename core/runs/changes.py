"""Differences between the images that a result was computed from and the images of now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Known = tuple[str, str]
"""Label and group of an image; empty if unknown."""

_NAMED = 20
"""Largest number of removed images that one line names."""


@dataclass(frozen=True)
class ImageChange:
    """The differences between an old and a new set of images.

    Attributes
    ----------
    added, removed : tuple of str
        Ids of images that are only in the new set, or only in the old set.
    relabelled, regrouped : tuple of str
        Ids of images in both sets whose label, or group, has changed.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = ()
    regrouped: tuple[str, ...] = ()

    @classmethod
    def between(cls, old: Mapping[str, Known], new: Mapping[str, Known]) -> ImageChange:
        """Compare two sets of images, each given as image id to label and group.

        Examples
        --------
        >>> str(ImageChange.between({"a": ("x", ""), "b": ("x", "")}, {"b": ("y", ""), "c": ("x", "")}))
        '1 image added (c), 1 image removed (a), 1 label changed (b)'
        """
        both = [image for image in new if image in old]
        return cls(
            tuple(image for image in new if image not in old),
            tuple(image for image in old if image not in new),
            tuple(image for image in both if old[image][0] != new[image][0]),
            tuple(image for image in both if old[image][1] != new[image][1]),
        )

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def __str__(self) -> str:
        return ", ".join(self._parts())

    def _parts(self) -> Iterator[str]:
        for images, noun, what in (
            (self.added, "image", "added"),
            (self.removed, "image", "removed"),
            (self.relabelled, "label", "changed"),
            (self.regrouped, "group", "changed"),
        ):
            if images:
                # removed images are named, since they cannot be looked up any more
                shown = images[: _NAMED if images is self.removed else 1]
                more = len(images) - len(shown)
                named = f"first {shown[0]}" if more and len(shown) == 1 else ", ".join(shown)
                named += f" and {more} more" if more and len(shown) > 1 else ""
                yield f"{len(images)} {noun}{'' if len(images) == 1 else 's'} {what} ({named})"

    def json(self) -> dict[str, Any]:
        """Return all non-empty fields as lists, JSON-ready."""
        return {name: list(images) for name, images in vars(self).items() if images}
