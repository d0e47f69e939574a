"""What changed between the images that something was made of and those that are there now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Known = tuple[str, str]
"""Label and group of an image; empty where unknown."""

_NAMED = 20
"""Removed images that are named on one line."""


@dataclass(frozen=True)
class ImageChange:
    """How a set of images changed.

    Attributes
    ----------
    added, removed : tuple of str
        Ids of images that one of the two sets lacks.
    relabelled, regrouped : tuple of str
        Ids of images of both, whose label or group is another.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = ()
    regrouped: tuple[str, ...] = ()

    @classmethod
    def between(cls, old: Mapping[str, Known], new: Mapping[str, Known]) -> ImageChange:
        """Compare two sets: image id to label and group.

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
                # what is gone is named, what is there can be looked at
                shown = images[: _NAMED if images is self.removed else 1]
                more = len(images) - len(shown)
                named = f"first {shown[0]}" if more and len(shown) == 1 else ", ".join(shown)
                named += f" and {more} more" if more and len(shown) > 1 else ""
                yield f"{len(images)} {noun}{'' if len(images) == 1 else 's'} {what} ({named})"

    def json(self) -> dict[str, Any]:
        """Return all of it, for a record."""
        return {name: list(images) for name, images in vars(self).items() if images}
