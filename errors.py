"""The errors that bchisto raises on purpose.

Each message is one line that names the file, the cause and the fix. ``exit_code`` is what the command line
ends with: 2 for input that was refused on what tables and image headers show before any work began, 1 for
work that failed.
"""

from __future__ import annotations

__all__ = [
    "BchistoError",
    "BundleError",
    "DependencyError",
    "ImageError",
    "InputError",
    "MissingInputError",
    "OutputError",
    "SettingsConflictError",
    "StoreError",
    "TissueError",
    "WeightsError",
]


class BchistoError(Exception):
    """Base of every error that bchisto raises on purpose."""

    exit_code = 1


class InputError(BchistoError, ValueError):
    """Input that does not fit: a table, an option, a label, an image header."""

    exit_code = 2


class MissingInputError(InputError, FileNotFoundError):
    """A file or folder that was named but does not exist, or is empty."""

    def __str__(self) -> str:
        # OSError would render a one-argument message the same way; said here so that it stays so.
        return str(self.args[0]) if self.args else ""


class SettingsConflictError(InputError):
    """An existing output was made with other settings."""


class ImageError(BchistoError, ValueError):
    """One image that cannot be decoded or used."""


class TissueError(ImageError):
    """An image with too little tissue to estimate its stains."""


class StoreError(BchistoError, ValueError):
    """A descriptor store that is damaged, foreign, unfinished or of a newer schema."""

    exit_code = 2


class BundleError(BchistoError, ValueError):
    """A model bundle that is damaged, foreign, unsafe or of a newer schema."""

    exit_code = 2


class WeightsError(BchistoError, ValueError):
    """Encoder weights that are missing or belong to another network."""

    exit_code = 2


class OutputError(BchistoError, OSError):
    """An output folder or file that cannot be written."""

    exit_code = 2

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class DependencyError(BchistoError, ImportError):
    """A feature whose optional package is not installed."""

    exit_code = 2
