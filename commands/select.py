"""``--select DATASET:KEY=VALUE``: what only one data set has, as one option.

A field of a settings value that declares ``select`` has no option of its own. What is selected is put among the options
under the field's name, as ``--config`` gives it, too; the data set that it names is the one that is read.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field
from typing import Any

import click

from ..core import InputError, Option, declared_options, one_of
from .help import GroupedOption

Key = tuple[Field[Any], Any, Option]


class SelectOption(GroupedOption):
    """The option; `keys` has the field, type and declaration of each key."""

    def __init__(self, kind: Any) -> None:
        self.keys: Mapping[str, Key] = {each[2].select: each for each in declared_options(kind) if each[2].select}
        super().__init__(
            ["--select"],
            group="Particular data sets",
            multiple=True,
            metavar="DATASET:KEY=VALUE",
            help=f"What only one data set has; repeatable. {' '.join(self._sentences())}",
        )

    @property
    def names(self) -> dict[str, str]:
        """The fields, and the key of each."""
        return {field.name: key for key, (field, _, _) in self.keys.items()}

    def _sentences(self) -> Iterator[str]:
        from ..data import layouts_with

        for key, (field, _, option) in self.keys.items():
            datasets = ", ".join(layouts_with(field.name))
            yield f"{datasets}: {key}={'|'.join(map(str, option.choices))}, {option.help}"

    def options(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return the options that texts stand for, with the data set that they name.

        Raises
        ------
        InputError
            No such data set, key or value; two data sets; or two values of what has one.
        """
        from ..data import find_layout, layouts_with

        chosen: dict[str, Any] = {}
        for text in texts:
            dataset, _, rest = text.partition(":")
            key, equals, value = rest.partition("=")
            if not (dataset and key and equals and value):
                raise InputError(f"--select {text}: write DATASET:KEY=VALUE, for example breakhis:magnification=200")
            layout = find_layout(dataset)
            if layout is None:
                names = dict.fromkeys(name for field in self.names for name in layouts_with(field))
                raise InputError(f"--select {text}: {one_of(dataset, list(names))}")
            theirs = [known for field, known in self.names.items() if field in layout.options]
            if not theirs:
                raise InputError(f"--select {text}: there is nothing to select of {dataset}; leave it out")
            if key not in theirs:
                raise InputError(f"--select {text}: {one_of(key, theirs)}")
            field, hint, option = self.keys[key]
            if value not in (values := list(map(str, option.choices))):
                raise InputError(f"--select {text}: {one_of(value, values)}")
            if chosen.setdefault("dataset", dataset) != dataset:
                raise InputError(f"--select {text}: names another data set than {chosen['dataset']}; give one")
            origin: Any = typing.get_origin(hint)
            if origin is tuple:
                chosen[field.name] = (*chosen.get(field.name, ()), value)
            elif chosen.setdefault(field.name, value) != value:
                raise InputError(f"--select {text}: and {key}={chosen[field.name]}; give one")
        return chosen


def select_option(command: click.Command) -> SelectOption | None:
    """Return the option of a command, if it has it."""
    return next((option for option in command.params if isinstance(option, SelectOption)), None)


def put_selected(context: click.Context, recorded: Mapping[str, Any]) -> None:
    """Put what is selected among the options of a command; what is typed wins over what was recorded.

    Raises
    ------
    InputError
        See `SelectOption.options`; or another ``--dataset``.
    """
    option = select_option(context.command)
    if option is None:
        return
    chosen = option.options(context.params["select"])
    dataset = context.params.get("dataset")
    if dataset is not None and chosen.get("dataset", dataset) != dataset:
        raise InputError(f"--select {context.params['select'][0]}: is not for --dataset {dataset}; give one of them")
    context.params.update({**recorded, **chosen})
