"""Options that several commands share."""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import tempfile
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ..core import (
    IN_FILE,
    Content,
    Entries,
    InputError,
    Message,
    Option,
    declared_options,
    plain_value,
    readable_name,
)
from ..core.jobs import check_output, named_files, reading, scratch_folder, use_scratch
from .help import EAGER, EVERY, WIDTH, GroupedOption, help_all, sections
from .help import flag as flag  # commands import it from this module


class _NamedPath(click.Path):
    """A path that is not empty: an empty text, as from an unset variable, would mean the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path, or refuse an empty text."""
        if value == "":
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


Options = Iterator[click.Parameter]
"""The options of a command, and its arguments."""

PATH = _NamedPath(path_type=Path)
FILE = _NamedPath(dir_okay=False, path_type=Path)


class Output(_NamedPath):
    """A file or folder that a command writes; all other paths of a command are inputs."""


OUT_FILE = Output(dir_okay=False, path_type=Path)
OUT_FOLDER = Output(path_type=Path)

CONFIG = f"{__package__}.config"
"""Key of a context's ``meta``: the file of ``--config``, which is not passed to the command."""

OF_FILE = f"{__package__}.of_file"
"""Key of a context's ``meta``: the names of the options that this file sets."""


def argument(name: str, **attributes: Any) -> click.Argument:
    """Return a positional argument."""
    return click.Argument([name], **attributes)


class Offered(click.Choice[str]):
    """Choices for help and completion. Other words are passed on, and the library refuses them with a suggestion."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word unchanged."""
        return str(value)


_TYPES: Mapping[Any, Any] = {int: int, float: float, Path: PATH}
_FILES: Entries = {"input": FILE, "output": OUT_FILE}


def options_of(
    kind: Any,
    *names: str,
    but: Sequence[str] = (),
    in_file: Sequence[str] = (),
    **changed: Content,
) -> Iterator[click.Option]:
    """Yield the options that the fields of a settings class declare.

    Parameters
    ----------
    kind : type
        The settings class.
    *names : str
        Fields to include, in this order; by default all.
    but : sequence of str
        Fields to leave out.
    in_file : sequence of str
        Fields that this command reads only from a file of ``--config``.
    **changed : dict
        Field to attributes of `click.Option` that this command changes.
    """
    declared = {field.name: (field, hint, option) for field, hint, option in declared_options(kind)}
    for field_name in names or (name for name in declared if name not in but):
        field, hint, option = declared[field_name]
        name = option.flag or field_name.replace("_", "-")
        flags = f"--{name}"
        default = () if field.default is MISSING else plain_value(field.default)
        attributes: Content = {
            "group": option.group,
            "help": option.help + _ONLY_HERE.get(field_name, ""),
            "metavar": option.metavar or None,
            "show_default": default not in (None, "", [], ()) and "efault:" not in option.help,
        }
        if hint is bool:
            attributes |= {"is_flag": True, "default": default}
            if default is True:
                flags += f"/--no-{name}"
        elif option.commas:
            attributes |= {"callback": split_names, "metavar": "A,B,..."}
        else:
            attributes |= _of_values(field, hint, option, default)
        attributes |= changed.get(field_name, {})
        if field_name in in_file:
            attributes["group"] = IN_FILE
        if attributes.get("multiple"):
            attributes["help"] = f"{attributes['help'].removesuffix('.')}; repeatable."
        yield GroupedOption([flags, field_name], **attributes)


_ONLY_HERE = {
    "preset": " They also set classifiers (svm and lightgbm) and seeds (2 and 1).",
    "views": " Or auto, two views that fit the images; auto:1 is the smaller one.",
}
"""Sentence for the help of an option with which commands do more than the library, by the name of its field."""


def _of_values(field: Field[Any], hint: Any, option: Option, default: Any) -> Content:
    """Return the attributes of an option that takes values: their type, their number and the default."""
    origin = typing.get_origin(hint)
    several = origin in (tuple, Mapping)
    parts = [part for part in typing.get_args(hint) if part is not type(None)]
    attributes = {"type": _type_of(parts[0] if parts else hint, option)}
    if origin is tuple and parts[-1] is not Ellipsis:
        attributes["nargs"] = len(parts)
    elif several:
        attributes["multiple"] = True
    if field.default is MISSING and field.default_factory is MISSING:
        attributes["required"] = True
    elif default is not None:
        attributes["default"] = tuple(default) if several else default
    return attributes


def _type_of(kind: Any, option: Option) -> Any:
    """Return click's type for the values of an option."""
    if option.file:
        return _FILES[option.file]
    names = option.choices
    if option.more is not None:
        names = option.more()
    if names and kind is str:
        return Offered(names)
    if "|" in option.metavar:
        return str
    return _TYPES.get(kind, str)


def out_flag(help_text: str, **attributes: Any) -> click.Option:
    """Return the option ``--out`` of commands that write: a folder that must be named, unless `attributes` differ."""
    return flag(
        "--out",
        help=help_text,
        **{"group": "Output", "type": OUT_FOLDER, "required": True, **attributes},
    )


def weights_flag() -> click.Option:
    """Return the option ``--weights`` of commands that take a model."""
    return flag(
        "--weights",
        group="Features",
        multiple=True,
        help="imagenet, PATH, or ENCODER=PATH; repeatable. Must be the weights of training.",
    )


def bundle_options() -> Options:
    """Yield the parameters of commands that use a model file: the file, new images, and the weights of its encoders."""
    yield argument("model", type=PATH, metavar="MODEL|RUN")
    yield flag(
        "--images",
        group="Input",
        multiple=True,
        type=PATH,
        help="A folder, manifest or image; repeatable.",
    )
    yield argument("more_images", nargs=-1, type=PATH, metavar="[IMAGE...]")
    yield weights_flag()


def images_of(options: Entries) -> tuple[Path, ...]:
    """Return the new images that `bundle_options` names, by the option or as arguments."""
    return (*options["images"], *options["more_images"])


_PRESETS = (
    "Settings by one name, which other options change: quick takes minutes, standard is the most accurate that was "
    "measured, published is Rakhlin et al. 2018"
)


def preset_option(default: str) -> click.Option:
    """Return the option ``--preset`` of commands that extract features, whose help ends with its default."""
    from ..featurize import PRESETS, preset_options

    return flag(
        "--preset",
        group="Features",
        type=Offered(PRESETS),
        help=f"{_PRESETS}{default}",
        **preset_flag(preset_options),
    )


def preset_flag(values: Callable[[str], Entries]) -> Content:
    """Return attributes for the option ``--preset``, which sets other options if it is named, unless they are typed.

    Parameters
    ----------
    values : callable
        Returns the values of options for the name of a preset.
    """

    def choose(context: click.Context, option: click.Parameter, name: str | None) -> str | None:
        source = context.get_parameter_source(option.name or "")
        if name is not None and source != ParameterSource.DEFAULT:
            context.default_map = {**values(name), **(context.default_map or {})}
        return name

    return {"is_eager": True, "callback": choose}


def _quiet(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        logging.getLogger("bchisto").setLevel(logging.WARNING)


def _verbose(context: click.Context, _: click.Parameter, value: int) -> None:
    if value >= 1:
        logging.getLogger("bchisto").setLevel(logging.DEBUG)
    if value >= 2:
        logging.getLogger().setLevel(logging.DEBUG)


def _config(context: click.Context, _: click.Parameter, value: Path | None) -> None:
    """Make the options of the file of ``--config`` the defaults of a command."""
    if value is None:
        return
    from ..core.runs import load_config

    context.meta[CONFIG] = value
    options = load_config(value, command=context.info_name or "")
    options = {name: setting for name, setting in options.items() if setting is not None}
    parameters = {parameter.name or "": parameter for parameter in context.command.params}
    unknown = sorted(options.keys() - parameters.keys())
    if unknown:
        names = ", ".join(sorted(parameters.keys() - {"config", "quiet", "verbose"}))
        raise InputError(
            "{config} {}: no option {} in `bchisto {}`; it takes {}",
            value,
            unknown[0],
            context.info_name,
            names,
        )
    context.meta[OF_FILE] = options.keys()
    defaults = dict(context.default_map or {})
    for name, setting in options.items():
        what = Message("{config} {}: {}", value, name)
        # as the command line would pass it
        defaults[name] = _typed_words(parameters[name], setting, what)
        try:
            parameters[name].type_cast_value(context, defaults[name])
        except click.BadParameter as error:
            raise InputError("{}: {}", what, error.message) from error
    context.default_map = defaults


def _typed_words(parameter: click.Parameter, value: Any, what: str) -> str | list[str]:
    """Return the words of a value; an option that can be repeated accepts a single one."""
    is_list = isinstance(value, list)
    words = [_word(item, what) for item in (value if is_list else [value])]
    if parameter.callback is split_names and is_list:
        return joined_names(words)
    if parameter.multiple or parameter.nargs != 1:
        return words
    if is_list:
        raise InputError("{} takes one value", what)
    return words[0]


def _word(value: Any, what: str) -> str:
    """Return a value of a file as a word of the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise InputError("{} has no such value; give a text, a number or a list of them", what)
    text = str(value)
    if text != readable_name(text) or "\0" in text:
        raise InputError("{} holds characters that no command line can hold; remove them", what)
    return text


def split_names(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, ...]:
    """Split a comma-separated list of names, in which a comma of a name is written ``\\,``."""
    names = re.split(r"(?<!\\),", value or "")
    return tuple(name.strip().replace("\\,", ",") for name in names if name.strip())


def joined_names(names: Sequence[object]) -> str:
    """Return what `split_names` splits."""
    return ",".join(str(name).replace(",", "\\,") for name in names)


@contextlib.contextmanager
def _inputs_protected(context: click.Context) -> Iterator[None]:
    """Protect the command's inputs from being overwritten, and refuse output files at once that are inputs.

    A ``run.json`` as ``--config`` is not protected, since the command may write it again, including its old records.
    """
    outputs = [
        parameter for parameter in context.command.params if isinstance(parameter.type, Output)
    ]
    names = {parameter.name for parameter in outputs}
    values = (value for name, value in context.params.items() if name not in names)
    inputs = list(named_files(*values))
    config = context.meta.get(CONFIG)
    if config is not None and b'"records"' not in config.read_bytes()[:100]:
        inputs.append(config)
    with reading(inputs):
        for parameter in outputs:
            path = context.params.get(parameter.name or "")
            if path is not None and parameter.type is OUT_FILE:
                check_output(path, name=parameter.name or "")
        yield


class Command(click.Command):
    """A command with ``--config``, ``-v`` and ``--quiet``, whose ``-h`` lists its options by group.

    Its temporary files are in a folder that is removed at the end. All its paths except outputs are inputs, which are
    never overwritten.

    Parameters
    ----------
    *arguments, **attributes : any
        Those of `click.Command`.
    options : callable
        Yields its parameters.
    first : sequence of str
        Names of the most used options, at most five.
    """

    def __init__(
        self,
        *arguments: Any,
        options: Callable[[], Iterable[click.Parameter]] = tuple,
        first: Sequence[str] = (),
        **attributes: Any,
    ) -> None:
        super().__init__(*arguments, **attributes)
        self.first = first
        self._declared = self.params
        self._options = options
        del self.params  # computed on first use, see below

    @functools.cached_property
    def params(self) -> list[click.Parameter]:  # type: ignore[override]
        """The options, computed on first use: `bchisto --help` must not import the packages of the settings."""
        return [
            *self._declared,
            *self._options(),
            flag(
                "--config",
                type=FILE,
                callback=_config,
                help="Options from a YAML file or a previous run.json; flags win.",
                **EAGER,
            ),
            flag(
                "-v",
                "--verbose",
                count=True,
                callback=_verbose,
                show_default=False,
                help="Print more; -vv for libraries too.",
                **EAGER,
            ),
            flag(
                "--quiet", is_flag=True, callback=_quiet, help="Only warnings and errors.", **EAGER
            ),
            help_all(),
        ]

    def get_short_help_str(self, limit: int = 0) -> str:
        """Return the first sentence of the help, which is never cut: a list of commands wraps it."""
        return super().get_short_help_str(2 * WIDTH)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line; for an option that only files set, the error shows how to write it into a file."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            for option in self.params:
                if error.option_name in (*option.opts, *option.secondary_opts):
                    text = "{}: write {} into a file, and give {config:FILE}"
                    raise InputError(text, error.option_name, option.name) from error
            raise

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """Return the flags of the help; click itself would cache those of the first context."""
        return ["-h", "--help"]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by group, and how to show the remaining ones."""
        is_full = ctx.meta.get(EVERY, False)
        for title, options in sections(self.get_params(ctx), first=self.first, every=is_full):
            records = [option.get_help_record(ctx) for option in options]
            with formatter.section(title):
                formatter.write_dl([record for record in records if record is not None])
        if not is_full:
            formatter.write_paragraph()
            formatter.write_text(
                "Every command also has --config FILE, -v, --quiet, -h. --help-all shows every option."
            )

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command with its own folder for temporary files, and with its inputs protected."""
        if isinstance(ctx.obj, dict):  # the message of an interrupt depends on it
            ctx.obj["overwrite"] = ctx.params.get("overwrite")
        folder = tempfile.tempdir
        with _inputs_protected(ctx), contextlib.ExitStack() as stack:
            # without room for a folder, only code that needs it fails
            with contextlib.suppress(OSError):
                use_scratch(stack.enter_context(scratch_folder()))
            try:
                return super().invoke(ctx)
            finally:
                tempfile.tempdir = folder


def command(**attributes: Any) -> Callable[[Callable[..., Any]], Command]:
    """Return the decorator that makes a `Command` of a function."""
    return click.command(cls=Command, **attributes)


class Group(click.Group):
    """A command with subcommands."""

    command_class = Command
