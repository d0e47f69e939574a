"""Options that several commands share."""

from __future__ import annotations

import contextlib
import functools
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from ..errors import InputError, closest, readable_name

F = TypeVar("F", bound=Callable[..., Any])


class _NamedPath(click.Path):
    """A path; an empty text, as of a variable that is not set, would be the present folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path, or refuse an empty text."""
        if value == "":
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


PATH = _NamedPath(path_type=Path)
FILE = _NamedPath(dir_okay=False, path_type=Path)


class Output(_NamedPath):
    """A file or folder that a command writes; whatever else is given to a command is what it reads."""


OUT_FILE = Output(dir_okay=False, path_type=Path)
OUT_FOLDER = Output(path_type=Path)

_CONFIG = f"{__package__}.config"
"""Where a context keeps the file of ``--config``, which is no value of the command."""

EAGER: dict[str, Any] = {"is_eager": True, "expose_value": False}
"""Of an option that does its part before the others are read, and is not passed to the command."""


def option(*names: str, **attributes: Any) -> Callable[[F], F]:
    """Return an option whose help says its default; those whose default stands for what the help tells are click's."""
    return click.option(*names, show_default=True, **attributes)


def choice_option(*names: str, choices: Sequence[str], **attributes: Any) -> Callable[[F], F]:
    """Return an option that takes one of several words, or more if `multiple`, of which the first is the default."""
    default = tuple(choices[:1]) if attributes.get("multiple") else choices[0]
    return option(*names, type=click.Choice(choices), default=default, **attributes)


def together(*parts: Callable[[Any], Any]) -> Callable[[F], F]:
    """Return a decorator that adds options and arguments in the order in which the help shows them."""

    def add(function: F) -> F:
        return functools.reduce(lambda found, part: part(found), reversed(parts), function)

    return add


def overwrite_option(text: str) -> Callable[[F], F]:
    """Return the option ``--overwrite``; an interrupted command says how to resume it."""

    def note(context: click.Context, _: click.Parameter, value: bool) -> bool:
        if isinstance(context.obj, dict):
            context.obj["overwrite"] = value
        return value

    return option("--overwrite", is_flag=True, callback=note, help=text)


group_by_option = option(
    "--group-by", type=click.Choice(["group", "none"]), help="Keep groups whole; default: where they are known."
)

split_options = together(
    option("--repeats", type=int, default=1, help="Splits: repeated cross-validation, where folds are drawn."),
    group_by_option,
)
"""How folds are drawn."""


class OpenChoice(click.Choice[str]):
    """A choice among names of ours, which the help lists, and those that other packages add.

    Parameters
    ----------
    names : sequence of str
        Ours.
    every : callable
        Returns all names; called where a name is none of ours.
    """

    def __init__(self, names: Sequence[str], *, every: Callable[[], list[str]]) -> None:
        super().__init__(names)
        self._every = every

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name, or refuse it with the list of all."""
        if value in self.choices:
            return super().convert(value, param, ctx)
        every = self._every()
        try:
            return click.Choice(every).convert(value, param, ctx)
        except click.BadParameter as error:
            if (like := closest(str(value), every)) is None:
                raise
            raise click.BadParameter(f"{error.message} Did you mean {like}?", ctx, param) from error


class RangedChoice(click.Choice[str]):
    """A choice among names, which a colon and a number may follow: the library reads that."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text, or refuse its name."""
        super().convert(str(value).partition(":")[0], param, ctx)
        return str(value)


jobs_option = option(
    "--jobs", type=int, help="Processes; default: one per core, for networks per GPU if Keras sees any."
)

dask_option = option("--dask", metavar="ADDRESS", help="Use the workers of this Dask scheduler.")

work_options = together(
    jobs_option,
    option("--shard", metavar="K/N", help="Do every N-th unit, from the K-th; 1/16 ... 16/16 do all."),
    dask_option,
    overwrite_option("Remove existing results first; default: resume."),
)
"""How the work is done; none of them changes its result."""

threads_option = option(
    "--threads",
    type=int,
    help="Of each process that trains networks on the CPU; results differ by it; default: 1, or cores / folds.",
)

explain_option = option(
    "--explain",
    type=click.IntRange(1, 10),
    metavar="N",
    help="Show the N surest right and N surest wrong cases of each class in the report, with maps by the models "
    "that did not train on them.",
)


def two_class_options(*, of_run: bool = False) -> Callable[[F], F]:
    """Return the options that say what the two-class view of a table is; `of_run`, by default what its run was told."""
    numbers = functools.partial(option, multiple=True, type=float)
    run, end = ("the run, else of ", "; default: the run's.") if of_run else ("", ".")
    return together(
        option(
            "--positive",
            multiple=True,
            metavar="CLASS",
            help=f"Positive class of a two-class view; repeatable; default: those of {run}a known dataset.",
        ),
        option(
            "--two-class",
            type=click.Choice(["sum", "max"]),
            default=None if of_run else "sum",
            help="Add the probabilities of a side, or take its largest and renormalise"
            + ("; default: as the run of a table did, else sum." if of_run else "."),
        ),
        numbers(
            "--threshold",
            "thresholds",
            help=f"Operating point{'' if of_run else ' of the two-class view'}; repeatable; default: "
            f"{'those of the run, else ' if of_run else ''}0.33 and 0.5 for the classes of BACH, else 0.5.",
        ),
        numbers(
            "--sensitivity",
            "sensitivities",
            help=f"Wanted sensitivity: each fold is called by a threshold fitted on the others; repeatable{end}",
        ),
        numbers(
            "--prevalence",
            "prevalences",
            help=f"Share of positives elsewhere, for which predictive values are given too; repeatable{end}",
        ),
    )


def _quiet(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        logging.getLogger("bchisto").setLevel(logging.WARNING)


def _verbose(context: click.Context, _: click.Parameter, value: int) -> None:
    if value >= 1:
        logging.getLogger("bchisto").setLevel(logging.DEBUG)
    if value >= 2:
        logging.getLogger().setLevel(logging.DEBUG)


def _config(context: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is None:
        return
    from ..arguments import named
    from ..runs import load_config

    context.meta[_CONFIG] = value
    with named(path="config"):
        options = load_config(value, command=context.info_name or "")
    known = {parameter.name: parameter for parameter in context.command.params}
    if unknown := sorted(options.keys() - known.keys()):
        names = ", ".join(sorted(str(name) for name in known.keys() - {"config", "quiet", "verbose"}))
        raise InputError(f"--config {value}: no option {unknown[0]} in `bchisto {context.info_name}`; it takes {names}")
    context.default_map = {
        name: _as_typed(context, known[name], found, f"--config {value}: {name}")
        for name, found in options.items()
        if found is not None
    }


def _as_typed(context: click.Context, parameter: click.Parameter, value: Any, what: str) -> Any:
    """Return a value of a file as the command line would give it: one value will do for an option of many."""
    several = parameter.multiple if isinstance(parameter, click.Option) else parameter.nargs == -1
    items = [_word(item, what) for item in (value if isinstance(value, list) else [value])]
    if isinstance(value, list) and parameter.callback is split_names:
        typed: Any = ",".join(items)
    elif not several and isinstance(value, list) != (parameter.nargs > 1):
        raise InputError(
            f"{what} takes {f'a list of {parameter.nargs} values' if parameter.nargs > 1 else 'one value'}"
        )
    else:
        typed = items if several or isinstance(value, list) else items[0]
    try:
        parameter.type_cast_value(context, typed)
    except click.BadParameter as error:
        raise InputError(f"{what}: {error.message}") from error
    return typed


def _word(value: Any, what: str) -> str:
    """Return a value as a word of a command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        kind = {dict: "a mapping", list: "a list in a list", type(None): "empty"}.get(type(value), "of another kind")
        raise InputError(f"{what} is {kind}; give a value or a list of them")
    if (text := str(value)) != readable_name(text) or "\0" in text:
        raise InputError(f"{what} holds characters that no command line can hold; remove them")
    return text


def split_names(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Split a comma-separated list of names."""
    return tuple(name.strip() for name in (value or "").split(",") if name.strip())


@contextlib.contextmanager
def _kept(context: click.Context) -> Iterator[None]:
    """Let nothing be written in the place of what the command is given to read, and refuse it now where it can be seen.

    A ``run.json`` that gives its options is the record that the command writes anew, with what it holds.
    """
    from ..jobs import check_output, named_files, reading

    written = [one for one in context.command.params if isinstance(one.type, Output)]
    names = {one.name for one in written}
    read = list(named_files(*(value for name, value in context.params.items() if name not in names)))
    config = context.meta.get(_CONFIG)
    if config is not None and b'"records"' not in config.read_bytes()[:100]:
        read.append(config)
    with reading(read):
        for one in written:
            path = context.params.get(one.name or "")
            if path is not None and one.type is OUT_FILE:
                check_output(path, name=one.name or "")
        yield


class Command(click.Command):
    """A command with ``--config``, ``-v`` and ``--quiet``; its temporary files go into a folder that is removed.

    What it is given and does not write, it reads: no file is written in its place.
    """

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.params += (
            click.Option(
                ["--config"],
                type=FILE,
                callback=_config,
                help="Options from a YAML file or a previous run.json; flags win.",
                **EAGER,
            ),
            click.Option(
                ["-v", "--verbose"], count=True, callback=_verbose, help="Say more; -vv for libraries too.", **EAGER
            ),
            click.Option(["--quiet"], is_flag=True, callback=_quiet, help="Only warnings and errors.", **EAGER),
        )

    def invoke(self, ctx: click.Context) -> Any:
        """Let temporary files of all libraries go into one folder of this process; keep what is read."""
        from ..jobs import scratch_folder

        with _kept(ctx):
            return self._invoke_in(ctx, scratch_folder())

    def _invoke_in(self, ctx: click.Context, scratch: contextlib.AbstractContextManager[Path]) -> Any:
        before = tempfile.tempdir
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # no room for one: whoever needs it says so
                tempfile.tempdir = str(stack.enter_context(scratch))
            try:
                return super().invoke(ctx)
            finally:
                tempfile.tempdir = before


class Group(click.Group):
    """A command of several."""

    command_class = Command
