"""``--select DATASET:KEY=VALUE``: one option for all settings that only a particular data set has.

A field of a settings class that declares ``select`` has no option of its own. Its selected value is added to the
options under the field's name, as ``--config`` does too. The named data set becomes the value of ``--dataset``.
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
    """The option ``--select``; `keys` contains the field, type and declaration of each key."""

    def __init__(self, kind: Any) -> None:
        self.keys: Mapping[str, Key] = {each[2].select: each for each in declared_options(kind) if each[2].select}
        text = f"What only one data set has; repeatable. {' '.join(self._sentences())}"
        form = "DATASET:KEY=VALUE"
        super().__init__(["--select"], group="Particular data sets", multiple=True, metavar=form, help=text)

    @property
    def names(self) -> dict[str, str]:
        """Name of each field to its key."""
        return {field.name: key for key, (field, _, _) in self.keys.items()}

    def _sentences(self) -> Iterator[str]:
        from ..data import layouts_with

        for key, (field, _, option) in self.keys.items():
            datasets = ", ".join(layouts_with(field.name))
            yield f"{datasets}: {key}={'|'.join(map(str, option.choices))}, {option.help}"

    def options(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return the values of fields that texts select, with the data set.

        Raises
        ------
        InputError
            A data set, key or value does not exist, or there are two data sets, or two values for a single-valued key.
        """
        from ..data import find_layout, layouts_with

        chosen: dict[str, Any] = {}
        for text in texts:
            dataset, _, setting = text.partition(":")
            key, equals, value = setting.partition("=")
            if not (dataset and key and equals and value):
                raise InputError(f"--select {text}: write DATASET:KEY=VALUE, for example breakhis:magnification=200")
            layout = find_layout(dataset)
            theirs = [known for field, known in self.names.items() if layout is not None and field in layout.options]
            if not theirs:
                names = dict.fromkeys(name for field in self.names for name in layouts_with(field))
                raise InputError(f"--select {text}: {one_of(dataset, names)}")
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
    """Return the option ``--select`` of a command; None if it has none."""
    return next((option for option in command.params if isinstance(option, SelectOption)), None)


def put_selected(context: click.Context, recorded: Mapping[str, Any]) -> None:
    """Add selected values to the options of a command; typed values replace recorded ones.

    Raises
    ------
    InputError
        See `SelectOption.options`; or ``--dataset`` names another data set.
    """
    option = select_option(context.command)
    if option is None:
        return
    chosen = option.options(context.params["select"])
    dataset = context.params.get("dataset")
    if dataset is not None and chosen.get("dataset", dataset) != dataset:
        raise InputError(f"--select {context.params['select'][0]}: is not for --dataset {dataset}; give one of them")
    context.params.update({**recorded, **chosen})
