"""Texts for people: messages that keep their parts, counted nouns, and tables for files, terminals and notebooks.

The same parameter is a keyword in Python and a flag on the command line, and a prediction has other options than the
training of its model. A `Message` therefore keeps its parts, and the caller that shows it decides how to write them.

A text that begins like a formula, and is not a number, gets an apostrophe in front, as spreadsheets mark text. So does
a text that begins with apostrophes and then like a formula. Reading removes one apostrophe, which restores the text.
"""

from __future__ import annotations

import contextlib
import re
import string
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import islice
from typing import Any

Content = dict[str, Any]
"""What a file of JSON, a table of settings, or a header holds: values by their names."""

Entries = Mapping[str, Any]
"""The same, only to be read."""

Pairs = tuple[tuple[str, str], ...]
"""Pairs of texts, such as images that cannot be used, and why."""

_INNER = "\ue000"
"""A blank within a value that is filled in, for a `Write`; blanks of a template are between values of an option."""

Write = Callable[[str, str], str]
"""A function that writes a parameter, from its name and the value to set (as typed), or an empty text."""


@dataclass(frozen=True)
class Writer:
    """A `Write` for a reader who lacks some parameters: remedies that need one of these are left out.

    Attributes
    ----------
    write : callable
        Writes a parameter.
    lacks : callable
        Returns whether the reader lacks a parameter, from its name.
    """

    write: Write
    lacks: Callable[[str], bool]

    def __call__(self, name: str, value: str) -> str:
        """Return a parameter as it is written for this reader."""
        return self.write(name, value)

    def can_follow(self, remedy: str) -> bool:
        """Return whether the reader has every parameter of a remedy."""
        return not isinstance(remedy, Message) or not any(map(self.lacks, remedy.names()))


@dataclass(frozen=True)
class Parameter:
    """A parameter or field whose name is a variable, so that it cannot be part of the template."""

    name: str

    def __str__(self) -> str:
        return in_python(self.name, "")


class Names(str):
    """The part of a message that names images or patients; `public` leaves it out."""


def in_python(name: str, value: str) -> str:
    """Return a parameter as it is written in Python code.

    Examples
    --------
    >>> in_python("jobs", ""), in_python("jobs", "1"), in_python("pad", "reflect"), in_python("color_range", "1 1")
    ('`jobs`', '`jobs=1`', '`pad="reflect"`', '`color_range=(1, 1)`')
    """
    if not value:
        return f"`{name}`"
    words = value.split()
    if not all(word.isdecimal() or word in ("True", "False") for word in words):
        return f'`{name}="{value}"`'
    if len(words) == 1:
        return f"`{name}={words[0]}`"
    return f"`{name}=({', '.join(words)})`"


class Message(str):
    """A text that keeps its parts; as a string it is the message for callers of the Python API.

    Examples
    --------
    >>> print(Message("{views} {}: write SCALE:CROP", "0.5x"))
    `views` 0.5x: write SCALE:CROP

    Parameters
    ----------
    template : str
        ``{}`` is the next value, ``{name}`` a parameter, and ``{name:value}`` a parameter with a value, as typed.
        ``{command.flag:words}`` is the line of another command, ``bchisto command --flag words``.
    *values : any
        Values to fill in: any object, another message, an error with a message, or a `Parameter`.
    remedies : sequence of str
        Suggestions that may help; those with parameters that the caller does not have are left out.
    parameters : frozenset of str, optional
        Parameters that the caller has; all others belong to a trained model. None means all.
    """

    template: str
    parts: tuple[Any, ...]
    remedies: tuple[str, ...]
    parameters: frozenset[str] | None

    def __new__(
        cls,
        template: str,
        *values: Any,
        remedies: Sequence[str] = (),
        parameters: frozenset[str] | None = None,
    ) -> Message:
        """Create the message, with its parameters written as in Python code."""
        draft = super().__new__(cls)
        draft.template = template
        draft.parts = values
        draft.remedies = tuple(remedies)
        draft.parameters = parameters
        message = super().__new__(cls, draft.written(in_python))
        vars(message).update(vars(draft))
        return message

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], Content]:
        keywords = {"remedies": self.remedies, "parameters": self.parameters}
        return (self.template, *self.parts), keywords

    def written(self, write: Write) -> str:
        """Return the text with its parameters written by `write`, and the remedies that the reader can follow."""
        remedies = [
            written(remedy, write)
            for remedy in self.remedies
            if not isinstance(write, Writer) or write.can_follow(remedy)
        ]
        return "; ".join(filter(None, [self._filled(write), ", or ".join(remedies)]))

    def _filled(self, write: Write) -> str:
        """Fill the template; parameters that are not among `parameters` belong to a model."""
        pieces = []
        values = iter(self.parts)
        for literal, name, form, conversion in string.Formatter().parse(self.template):
            pieces.append(literal)
            if name is None or form is None:  # the end of the template
                continue
            value = Parameter(name) if name else _parts_of(next(values))
            while "{}" in form:  # as in {dataset:{}}
                form = form.replace("{}", str(next(values)).replace(" ", _INNER), 1)
            if name and "." in name:
                command, _, flag = name.partition(".")
                pieces.append(f"bchisto {command} --{flag} {form}".rstrip())
            elif (
                isinstance(value, Parameter)
                and self.parameters is not None
                and value.name not in self.parameters
            ):
                pieces.append(f"this model's {value.name} {form}".rstrip())
            elif isinstance(value, Parameter):
                pieces.append(write(value.name, form))
            elif isinstance(value, Message):
                pieces.append(value.written(write))
            elif conversion == "r":
                pieces.append(repr(value))
            else:
                pieces.append(format(value, form))
        return "".join(pieces).replace(_INNER, " ")

    def names(self) -> set[str]:
        """Return the names of the parameters in the message."""
        parameters = set()

        def collect(name: str, value: str) -> str:
            parameters.add(name)
            return name

        self.written(collect)
        return parameters

    def limited(self, parameters: Collection[str]) -> Message:
        """Return the message for a caller that has only these parameters.

        Examples
        --------
        >>> remedies = [Message("use a smaller {views}"), "leave it out"]
        >>> text = Message("{}: {mode:dense} needs more", "a.png", remedies=remedies)
        >>> print(text)
        a.png: `mode="dense"` needs more; use a smaller `views`, or leave it out
        >>> print(text.limited({"images"}))
        a.png: this model's mode dense needs more; leave it out
        """
        values = [limited(_parts_of(value), parameters) for value in self.parts]
        reader = Writer(in_python, lacks=lambda name: name not in parameters)
        remedies = [remedy for remedy in self.remedies if reader.can_follow(remedy)]
        return Message(self.template, *values, remedies=remedies, parameters=frozenset(parameters))

    def public(self) -> Message:
        """Return the message without the names of images and patients."""
        values = [public(_parts_of(value)) for value in self.parts]
        return Message(self.template, *values, remedies=self.remedies, parameters=self.parameters)


def written(text: str, write: Write) -> str:
    """Return a text; if it is a `Message`, with its parameters written by `write`."""
    if isinstance(text, Message):
        return text.written(write)
    return text


def public(text: str) -> str:
    """Return a text that can be passed on: a `Message` without the names of images and patients.

    Examples
    --------
    >>> public(Message("{} images are left out{}", 2, Names(" (a.png, b.png)")))
    '2 images are left out'
    """
    if isinstance(text, Names):
        return ""
    if isinstance(text, Message):
        return text.public()
    return text


def limited(text: str, parameters: Collection[str]) -> str:
    """Return a text; if it is a `Message`, for a caller that has only these parameters, see `Message.limited`."""
    if isinstance(text, Message):
        return text.limited(parameters)
    return text


@contextlib.contextmanager
def reworded(change: Callable[[str], str]) -> Iterator[None]:
    """Rewrite the messages of bchisto's errors raised inside the block with `change`."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "exit_code") and error.args and isinstance(error.args[0], str):
            text = change(error.args[0])
            if text != error.args[0]:  # an unchanged message keeps its parts
                error.args = (text, *error.args[1:])
        raise


def message_of(error: Exception) -> str:
    """Return the message of an error, as a `Message` if it has one."""
    message = _parts_of(error)
    if isinstance(message, Message):
        return message
    return str(error)


def none_usable(reasons: Sequence[str]) -> Message:
    """Return the message that no image can be used, with the reason of the first.

    Examples
    --------
    >>> print(none_usable(["a.png: is empty", "b.png: is too small"]))
    none of 2 images can be used; first: a.png: is empty
    """
    return Message("none of {} can be used; first: {}", counted(len(reasons), "image"), reasons[0])


def _parts_of(value: Any) -> Any:
    """Return the `Message` of an error; any other value is returned unchanged."""
    if isinstance(value, Exception) and value.args and isinstance(value.args[0], Message):
        return value.args[0]
    return value


def readable_name(text: str) -> str:
    r"""Return a file name as readable text; bytes that are not UTF-8 (surrogates in Python) become ``\xe9``.

    Examples
    --------
    >>> print(readable_name("caf\udce9.png"))
    caf\xe9.png
    """
    if re.search("[\ud800-\udfff]", text) is None:
        return text  # a `Message` keeps its parts
    readable = re.sub("[\udc80-\udcff]", lambda sign: f"\\x{ord(sign[0]) - 0xDC00:02x}", text)
    # other surrogates cannot come from a file name
    return readable.encode("utf-8", "backslashreplace").decode()


def counted(number: int, name: str) -> str:
    """Return a number with its noun, in the singular or plural.

    Examples
    --------
    >>> counted(1, "patch"), counted(2564, "patch")
    ('1 patch', '2,564 patches')
    """
    if number == 1:
        return f"1 {name}"
    return f"{number:,} {plural(name)}"


def plural(name: str) -> str:
    """Return the plural of an English noun.

    Examples
    --------
    >>> plural("patient"), plural("patch"), plural("epoch"), plural("mouse")
    ('patients', 'patches', 'epochs', 'mice')
    """
    irregular = {"mouse": "mice", "epoch": "epochs"}
    if name in irregular:
        return irregular[name]
    if name.endswith(("ch", "ss")):
        return f"{name}es"
    return f"{name}s"


def listed(items: Sequence[str]) -> str:
    """Join words with commas and "and".

    Examples
    --------
    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))


_MARK = "'"
_FORMULA = frozenset("=+-@\t\r\n＝＋－＠")
"""Characters that begin a formula; spreadsheets treat full-width characters like the usual ones."""
_BEGIN = {*_FORMULA, _MARK}


def neutral(cell: Any) -> Any:
    """Return a cell as it is written to a table; numbers, also as text, are not changed.

    Examples
    --------
    >>> neutral("=1+1"), neutral("'=1+1"), neutral("-1.5"), neutral("benign"), neutral(-2)
    ("'=1+1", "''=1+1", '-1.5', 'benign', -2)
    """
    if isinstance(cell, str) and cell[:1] in _BEGIN and _is_formula(cell):
        return _MARK + cell
    return cell


def unneutral(cell: str) -> str:
    """Return the value of a cell that was read from a table, whichever program wrote it.

    Examples
    --------
    >>> unneutral("'=1+1"), unneutral("''=1+1"), unneutral("=1+1"), unneutral("'benign'")
    ('=1+1', "'=1+1", '=1+1', "'benign'")
    """
    if cell[:1] == _MARK and _is_formula(cell):
        return cell[1:]
    return cell


def _is_formula(cell: str) -> bool:
    """Return whether a cell, without leading apostrophes, begins like a formula and is not a number."""
    text = cell.lstrip(_MARK)
    if text[:1] not in _FORMULA:
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False


MOST_SHOWN = 20
"""Rows of a table that a notebook shows (bchisto's choice)."""


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines of text with aligned columns.

    Examples
    --------
    >>> aligned([["", "f1"], ["model", "9"]])
    ['       f1', 'model  9']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def html_table(caption: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an HTML table of the first `MOST_SHOWN` rows, with all texts escaped.

    Examples
    --------
    >>> html_table("1 image", ["image"], [["<b>"]]).partition("<tbody>")[2]
    '<tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = ""
    for row in islice(rows, MOST_SHOWN):
        cells = "".join(f"<td>{escape(str(cell))}</td>" for cell in row)
        body += f"<tr>{cells}</tr>"
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_lines(lines: Iterable[str]) -> str:
    """Return lines of text as preformatted HTML, escaped."""
    return f"<pre>{escape(chr(10).join(lines))}</pre>"
