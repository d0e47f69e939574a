"""The errors that bchisto raises on purpose, each with its exit code, and those of damaged files.

Each message is one line that names the file, the cause and the fix. ``exit_code`` is the exit code of the command
line: 2 if the input was refused before any work began (from tables and image headers), 1 if the work failed.
"""

from __future__ import annotations

import contextlib
import csv
import difflib
import errno
import functools
import os
import re
import shlex
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .messages import Message, message_of

DAMAGE = (
    OSError,
    EOFError,
    ValueError,  # text that is not UTF-8, JSON or a number; an array with a wrong header
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,  # a zip marked as encrypted, JSON nested too deeply, HDF5's own errors
    ArithmeticError,  # a size of 0, by which a reader divides
    MemoryError,  # a header that declares more than fits into memory
    SyntaxError,  # from NumPy, which parses an array's header
    struct.error,
    zlib.error,
    csv.Error,
    zipfile.BadZipFile,
)
"""Raised when a truncated, emptied, zeroed or altered file is read as a zip, NPZ, NPY, HDF5, JSON or CSV file.

Use it only in an ``except`` around the reading of a file, since these classes are broad.
"""

_REFUSED = (
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EROFS,
    errno.EINVAL,
    errno.ENOTEMPTY,
    errno.EBUSY,
    errno.ENXIO,
    errno.EILSEQ,
)
"""Errors in a name or its permissions; all others (disk full, input/output error) mean that the work failed."""

_FIXES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), "change its permissions"),
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EROFS: "this disk is read-only, choose a folder on another one",
    errno.ENOTDIR: "a part of this path is a file, choose another",
    errno.ENOENT: "check this path",
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT),
        "what is done is kept, free some space and run the command again",
    ),
    errno.EFBIG: "what is done is kept, allow larger files (ulimit -f) and run the command again",
}
"""What to do about a system error."""

_MEMORY = re.compile(
    r"bad_alloc|cannot allocate memory|unable to allocate|out of memory|insufficient memory|memory allocation failed"
    r"|failed to map segment|can't start new thread|OOM when allocating|RESOURCE_EXHAUSTED",
    re.IGNORECASE,
)
"""Matches the out-of-memory messages of Python, NumPy, OpenCV, HDF5, LightGBM, TensorFlow and the linker."""


def how_to_install(extra: str) -> str:
    """Return the command that installs the packages of an extra of bchisto, or one package that it needs.

    The command lists the packages that the extra requires, from the metadata of the installed bchisto. So it works
    wherever bchisto came from (an index, a clone, a wheel file that is gone). It also never replaces bchisto itself,
    whereas ``pip install 'CLONE[extra]'`` replaces an editable installation.

    Parameters
    ----------
    extra : str
        Name of the extra, or of the package, in ``pyproject.toml``.

    Returns
    -------
    str
        One line for a shell. If bchisto was never installed, and so has no metadata, it names the folder of its
        sources.

    Examples
    --------
    >>> how_to_install("excel").startswith("pip install ")
    True
    """
    from importlib import metadata

    mark = re.compile(rf"""^{extra}\b|extra\s*==\s*["']{extra}["']""")
    needs = []
    with contextlib.suppress(metadata.PackageNotFoundError):  # run from its sources
        for line in metadata.requires("bchisto") or ():
            if mark.search(line):
                needs.append(line.partition(";")[0].strip())
    if not needs:
        needs = [f"{Path(__file__).resolve().parents[1]}[{extra}]"]
    return shlex.join(["pip", "install", *needs])


# names of columns and classes come again and again
@functools.lru_cache(4096)
def letters_of(name: str) -> str:
    """Return a name without case and characters between words."""
    return re.sub(r"[\W_]+", "", name.casefold())


def closest(name: str, names: Iterable[str]) -> str | None:
    """Return the most similar of `names`, for a "did you mean"; None if none is similar.

    Examples
    --------
    >>> closest("ResNet-50", ["resnet50", "vgg16"])
    'resnet50'
    """
    candidates = {letters_of(candidate): candidate for candidate in names}
    matches = difflib.get_close_matches(letters_of(name), candidates, n=1, cutoff=0.7)
    if not matches:
        return None
    return candidates[matches[0]]


def one_of(name: str, names: Iterable[str], *, most: int = 1_000) -> str:
    """Return a hint with the most similar name, and the first `most` of the names to choose from.

    Examples
    --------
    >>> one_of("vgg", ["resnet50"]), one_of("resnet5", ["resnet50", "vgg16"])
    ('choose one of resnet50', 'did you mean resnet50? Choose one of resnet50, vgg16')
    """
    choices = list(names)
    similar = closest(name, choices)
    listing = few(choices, most=most)
    if similar is None:
        return f"choose one of {listing}"
    return f"did you mean {similar}? Choose one of {listing}"


def few(names: Iterable[str], *, most: int = 3) -> str:
    """Return the first `most` names, and how many more there are.

    Examples
    --------
    >>> few(["a.png", "b.png", "c.png", "d.png", "e.png"])
    'a.png, b.png, c.png and 2 more'
    """
    texts = list(names)
    text = ", ".join(texts[:most])
    if len(texts) > most:
        text += f" and {len(texts) - most} more"
    return text


NOT_UTF_8 = "this name is not UTF-8; rename the file or its folder"
"""Why a name cannot be printed or written."""
if sys.getfilesystemencoding() != "utf-8":
    NOT_UTF_8 = "this locale does not read names as UTF-8; export PYTHONUTF8=1"

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that a terminal acts on: control characters except the tab, and those that change the text direction."""


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return a text with control characters escaped, so that names in it cannot control a terminal or forge a log.

    Parameters
    ----------
    text : str
    lines : bool
        Keep line breaks; if False, they are escaped too.

    Examples
    --------
    >>> print(printable("benign\x1b[2Jall is well\n", lines=False))
    benign\x1b[2Jall is well\x0a
    """

    def escaped(match: re.Match[str]) -> str:
        sign = match[0]
        if lines and sign == "\n":
            return sign
        if ord(sign) < 256:
            return f"\\x{ord(sign):02x}"
        return f"\\u{ord(sign):04x}"

    return _CONTROL.sub(escaped, text)


class BchistoError(Exception):
    """Base of every error that bchisto raises on purpose.

    Parameters
    ----------
    text : str
        The message. With values or remedies, its template.
    *values : any
        Values for the placeholders of the template.
    remedies : sequence of str
        Suggestions that may help.
    """

    exit_code = 1

    def __init__(self, text: str, *values: Any, remedies: Sequence[str] = ()) -> None:
        if values or remedies:
            text = Message(text, *values, remedies=remedies)
        super().__init__(text)


class InputError(BchistoError, ValueError):
    """Invalid input: a table, an option, a label or an image header."""

    exit_code = 2


class MissingInputError(InputError, FileNotFoundError):
    """A file or folder that was named but does not exist, or is empty."""


class SettingsConflictError(InputError):
    """An existing output was made with other settings."""


class OverwrittenError(BchistoError):
    """The folder that this command works on was overwritten by another command."""


class ImageError(BchistoError, ValueError):
    """One image that cannot be decoded or used."""

    def skippable(self) -> ImageError:
        """Return the error with the option that leaves the image out."""
        remedy = Message("{skip_errors} leaves it out")
        return type(self)(Message("{}", message_of(self), remedies=[remedy]))


class TissueError(ImageError):
    """An image with too little tissue to estimate its stains."""


class RefusedImageError(ImageError, InputError):
    """A file that was refused before any work began: it is not an image, or too small."""


class StoreError(BchistoError, ValueError):
    """A feature file that is damaged, unfinished, of a newer schema, or not a feature file of bchisto."""

    exit_code = 2


class BundleError(BchistoError, ValueError):
    """A model file that is damaged, unsafe, of a newer schema, or not a model file of bchisto."""

    exit_code = 2


class WeightsError(BchistoError, ValueError):
    """Encoder weights that are missing or belong to another network."""

    exit_code = 2


class OutputError(BchistoError, OSError):
    """An output folder or file that cannot be written."""

    exit_code = 2


class DiskFullError(OutputError):
    """An output that cannot be written since the disk is full, a quota is used up or the device fails."""

    exit_code = 1


class ReportError(BchistoError):
    """A report or table that could not be written, although models, predictions and metrics were.

    Attributes
    ----------
    results : object
        The return value that the call would have had.
    """

    def __init__(self, message: str, results: Any = None) -> None:
        super().__init__(message)
        self.results = results


class DependencyError(BchistoError, ImportError):
    """A function that needs an optional package, which is not installed."""

    exit_code = 2


class Terminated(KeyboardInterrupt):
    """An interrupt like Ctrl-C, with its own exit code, for SIGTERM or SIGUSR1, which schedulers send before a kill."""

    exit_code = 143


def error_number(error: BaseException) -> int | None:
    """Return the number of a system error, which HDF5 often has only in its text; None if it is not a system error."""
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        return number
    match = re.search(r"errno = (\d+)", str(error))
    if match is None:
        return None
    return int(match[1])


def system_reason(error: OSError) -> str:
    """Return the system's text for an error, without the path."""
    return error.strerror or str(error)


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error from another package, or its class if it has no message."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _reason(error: BaseException, number: int | None) -> str:
    """Return why the system refused something."""
    if number is None:
        return first_line(error)
    return os.strerror(number)


def output_error(error: BaseException, what: str, *, then: str = "") -> OutputError:
    """Return the error to raise for a system error while writing.

    Parameters
    ----------
    error : Exception
        The system error; see `error_number`.
    what : str
        The path, and what could not be done.
    then : str
        The fix, if the disk is not full.

    Returns
    -------
    OutputError
        A `DiskFullError` unless the name or its permissions are the cause.
    """
    number = error_number(error)
    reason = _reason(error, number)
    if number in _REFUSED:
        remedy = then or _FIXES.get(number, "choose another path")
        return OutputError("{} ({})", what, reason, remedies=[remedy])
    fix = _FIXES[errno.ENOSPC]
    if number is not None:
        fix = _FIXES.get(number, fix)
    return DiskFullError(f"{what} ({reason}); {fix}")


def os_error(error: OSError) -> tuple[str, int]:
    """Return a one-line message that names the file of a system error, and the exit code: 2 for an unusable name."""
    number = error_number(error)
    line = _reason(error, number)
    names = []
    for name in (error.filename, error.filename2):
        if isinstance(name, str | bytes):
            names.append(os.fsdecode(name))
    if names:
        line = f"{' -> '.join(names)}: {line}"
    elif number is not None and error.strerror:  # a library may tell more than the system
        line = error.strerror.splitlines()[0]
    if number == errno.EMFILE:
        remedies = ["allow more open files (ulimit -n)", Message("use fewer {jobs}")]
        line = Message("{}", line, remedies=remedies)
    elif number in _FIXES and (names or number != errno.ENOENT):
        line += f"; {_FIXES[number]}"
    if names and number in _REFUSED:
        return line, 2
    return line, 1


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or one of its causes, means that memory ran out, whichever library raised it."""
    return any(
        isinstance(cause, MemoryError)
        or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM)
        or _MEMORY.search(str(cause)) is not None
        for cause in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes."""
    ids = set()
    while error is not None and id(error) not in ids:
        ids.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
