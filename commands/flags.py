"""Names in messages of the library, as the command line has them.

The library speaks Python: it names a parameter in backquotes, `` `jobs` ``, and a value as `` `seeds=5` ``. Here, and
nowhere else, these become ``--jobs`` and ``--seeds 5``. Which flag a name has follows from what is declared
already: the options of the command that was called, and the fields of the settings that it has loaded.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

import click

_NAMED = re.compile(r"`([A-Za-z_]\w*)(?:=([^`]*))?`")


def as_flags(text: str, command: click.Command) -> str:
    """Return a message with the flags of a command in place of the parameters that it names.

    Parameters
    ----------
    text : str
    command : click.Command
        A name that is no option of it stays as it is; a word that such a name is said to be loses its quotes.

    Examples
    --------
    >>> command = click.Command("cut", params=[click.Option(["--side-length"]), click.Option(["--keep"], is_flag=True)])
    >>> as_flags("use a smaller `side_length`, `side_length=4` or `keep=True`; `depth` is no option", command)
    'use a smaller --side-length, --side-length 4 or --keep; `depth` is no option'
    """
    return _NAMED.sub(lambda found: _written(command, found[1], found[2]) or _plain(found), text)


def invoked(command: click.Command, words: Sequence[str]) -> click.Command:
    """Return the command that the words of a command line call."""
    for word in words:
        found = command.get_command(click.Context(command), word) if isinstance(command, click.Group) else None
        if found is None:
            break
        command = found
    return command


def _plain(found: re.Match[str]) -> str:
    """Return a value that no option takes without its quotes; all else as it was written."""
    value = re.fullmatch(r'"(\w+)"', found[2] or "")
    return f"{found[1]} {value[1]}" if value else found[0]


def _written(command: click.Command, name: str, value: str | None) -> str | None:
    """Return a flag, with its value if there is one; None where the command has none."""
    options = [one for one in command.params if isinstance(one, click.Option)]
    for one in (
        *(o for o in options if o.name == name),
        *(o for o in options if f"--{name.replace('_', '-')}" in o.opts),
    ):
        flag = max(one.opts, key=len)  # of -v and --verbose the long one
        if value is None:
            return flag
        try:
            meant = ast.parse(value, mode="eval").body
        except SyntaxError:  # no value, but text that happens to stand in backquotes
            return None
        if isinstance(meant, ast.Constant) and isinstance(meant.value, bool):
            flags = [flag] if meant.value else one.secondary_opts
            return flags[0] if flags else None
        words = _words(meant)
        if one.nargs > 1:
            return " ".join([flag, *words])
        return " ".join(f"{flag} {word}" for word in words)
    return None


def _words(value: ast.expr) -> list[str]:
    """Return a value as one writes it after a flag; names, such as PATH, stand for what is to be filled in."""
    if isinstance(value, (ast.Tuple, ast.List)):
        return [word for item in value.elts for word in _words(item)]
    if isinstance(value, ast.Dict):
        pairs = zip(value.keys, value.values, strict=True)
        return ["=".join(word for item in pair if item is not None for word in _words(item)) for pair in pairs]
    return [str(value.value) if isinstance(value, ast.Constant) else ast.unparse(value)]
