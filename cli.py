"""The command line: loads a command when it is called, and turns errors into one line and an exit code."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from types import FrameType
from typing import Any

from . import __version__
from .core import (
    NOT_UTF_8,
    BchistoError,
    Content,
    DependencyError,
    Message,
    Terminated,
    is_out_of_memory,
    message_of,
    one_of,
    os_error,
    printable,
    readable_name,
)

try:
    import click
    from click.exceptions import NoArgsIsHelpError  # click before 8.2 has none
except Exception as error:  # doctor, which names packages that do not load, is itself a command
    raise SystemExit(
        import_module(".apps.doctor.machine", __package__).click_trouble(error)
    ) from error

from .commands import WIDTH, Handler, count_repeated, echo, help_all, in_flags, invoked

__all__ = ["cli", "main"]

GROUPS = {
    "Start here": ("trial", "demo"),
    "Data": ("data", "stain", "slides"),
    "Train": (
        "featurize",
        "next",
        "boost",
        "finetune",
        "encoder",
        "features",
        "reproduce",
        "submit",
    ),
    "Use": ("predict", "serve", "evaluate", "explain", "export"),
    "Look": ("status", "doctor"),
}
"""Commands by group, in the order of the help."""

_COMMANDS = tuple(name for names in GROUPS.values() for name in names)
_MODULES = {
    **dict.fromkeys(("trial", "demo"), "reproduce"),
    **dict.fromkeys(("stain", "slides"), "data"),
    **dict.fromkeys(("featurize", "features", "encoder", "next", "boost", "finetune"), "train"),
    **dict.fromkeys(("predict", "explain", "serve", "export", "evaluate"), "use"),
    **dict.fromkeys(("status", "doctor"), "look"),
}
"""Commands in the module of another; every other command has a module of its name."""

_RENAMED = {
    "runs": "bchisto status FOLDER, status RUN --history or status RUN OTHER",
    "data list": "bchisto data check --table FILE",
    "data folds": "bchisto data check --write-folds FILE",
    "encoder list": "bchisto encoder",
    "encoder show": "bchisto encoder NAME",
    "encoder fetch": "bchisto encoder NAME --fetch",
    "encoder check": "bchisto encoder NAME --check",
    "encoder clear": "bchisto encoder --clear",
    "features show": "bchisto features SOURCE",
    "features export": "bchisto features SOURCE --out FILE",
    "slides contributions": "bchisto explain MODEL --fields DIR --features FILE",
}
"""What a command that is gone is called now."""

_INTERRUPTED = 130
_LONGEST_LINE = 4000
"""Largest number of characters of an error, which may quote a cell of a megabyte from a damaged table."""
_AGAIN_SECONDS = 5.0
"""Time after which a signal is sent again to a command that still runs: longer than an orderly end takes."""
_AT_ONCE_SECONDS = 0.05
"""The same time if the interrupt is known to be lost."""


class _LazyGroup(click.Group):
    """Imports a command's module only when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by group."""
        for title, names in GROUPS.items():
            rows = []
            for name in names:
                command = self.get_command(ctx, name)
                if command is not None:
                    rows.append((name, command.get_short_help_str(WIDTH)))
            with formatter.section(title):
                formatter.write_dl(rows, col_max=12)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f".commands.{_MODULES.get(cmd_name, cmd_name)}", __package__)
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command for the words; for an unknown command, raise an error with its new or similar names."""
        for old in (args[:1], args[:2]):
            name = " ".join(old)
            if name in _RENAMED:
                raise click.UsageError(f"{name!r} is now {_RENAMED[name]}", ctx)
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(
                f"No such command {args[0]!r}: {one_of(args[0], _COMMANDS)}.", ctx
            )
        return super().resolve_command(ctx, args)


@click.group(
    cls=_LazyGroup,
    params=[help_all()],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH},
)
@click.version_option(__version__, prog_name="bchisto")
def cli() -> None:
    """Classify breast-tissue images from a few hundred labelled ones, with numbers you can defend.

    \b
    Your images: bchisto trial --images DIR
    No images:   bchisto demo
    More:        bchisto featurize --images DIR --out RUN --preset standard
                 bchisto boost --out RUN --preset standard
    """
    import_module(".core.jobs", __package__).hush_readers()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Exit codes: 0 done, 1 work failed, 2 wrong usage or refused input, 130 after Ctrl-C, 143 after SIGTERM or SIGUSR1.
    """
    # bchisto syncs folders, watches processes and replaces files as in POSIX
    if sys.platform.startswith("win"):
        click.echo(
            "error: bchisto does not run on Windows; use WSL (Windows Subsystem for Linux)",
            err=True,
        )
        sys.exit(2)
    words = sys.argv[1:] if arguments is None else arguments
    _set_up_logging(words)
    for word in words:  # records and tables are UTF-8
        readable = readable_name(word)
        if readable != word:
            echo(f"error: {readable}: {NOT_UTF_8}", err=True)
            sys.exit(2)
    outcome: Content = {}  # facts for the message of an interrupt, see `Command.invoke`
    with _interruptible() as stop:
        try:
            status = cli.main(
                args=arguments, prog_name="bchisto", standalone_mode=False, obj=outcome
            )
        except click.ClickException as error:
            _show_usage(error)
            status = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            status = _interrupted(stop, outcome, words)
        except BrokenPipeError:
            sys.stderr.close()
            status = 1
        except Exception as error:
            logging.getLogger(__package__).debug("the error in full", exc_info=True)
            if stop.received is None:
                status = _failed(error, words)
            else:
                status = _interrupted(stop, outcome, words)
        finally:
            count_repeated()
    if not isinstance(status, int):  # what a command returns is not an exit code otherwise
        status = 0
    sys.exit(status)


def _interrupted(stop: _Stop, outcome: Mapping[str, Any], words: Sequence[str]) -> int:
    """Print how to resume, and return the exit code."""
    line = "interrupted; run the same command again to resume"
    if outcome.get("overwrite"):
        line = Message("interrupted; run the same command without {overwrite} to resume")
    echo(_spoken(line, words), err=True)
    if stop.received in (None, signal.SIGINT):
        return _INTERRUPTED
    return Terminated.exit_code


def _print_error(line: str) -> None:
    """Print an error, and leave it for the process that started this one."""
    echo(f"error: {line}", err=True)
    with contextlib.suppress(OSError, BchistoError):  # such as a full disk
        import_module(".core.runs", __package__).write_ending(line)


def _show_usage(error: click.ClickException) -> None:
    """Print an error of click in one line; the help, if a command was called without arguments."""
    if isinstance(error, NoArgsIsHelpError):
        echo(error.format_message(), err=True, lines=True)
        return
    if isinstance(error, click.NoSuchOption) and error.possibilities:
        error.possibilities[1:] = ()  # keep only the most similar one
    line = " ".join(error.format_message().split()).removesuffix(".")
    if isinstance(error, click.UsageError) and error.ctx:
        see = " See" if line.endswith("?") else "; see"
        line += f"{see} {error.ctx.command_path} --help"
    _print_error(printable(line))


def _spoken(text: Any, words: Sequence[str]) -> Any:
    """Return a message, or that of an error, with parameters written as flags of the command in `words`."""
    if isinstance(text, BchistoError):
        text = message_of(text)
    if isinstance(text, Message):
        return text.written(in_flags(invoked(cli, words)))
    return text


def _failed(error: Exception, words: Sequence[str]) -> int:
    """Print an error in one line, and return the exit code."""
    line, code = _described(error)
    text = printable(_spoken(line, words))
    if len(text) > _LONGEST_LINE:
        text = f"{text[: _LONGEST_LINE // 2]} ... {text[-_LONGEST_LINE // 2 :]}"
    _print_error(text)
    return code


def _described(error: Exception) -> tuple[str, int]:
    """Return the message of an error, and the exit code."""
    # a package that did not load for want of memory is not a missing package
    is_for_memory = is_out_of_memory(error)
    if isinstance(error, BchistoError) and not (
        isinstance(error, DependencyError) and is_for_memory
    ):
        return message_of(error), error.exit_code
    if is_for_memory:
        line = "out of memory, or of processes (ulimit -v, -u); what is done is kept"
        again = ["run it again when less else runs", Message("with fewer {jobs}")]
        return Message(line, remedies=again), 1
    if isinstance(error, OSError):
        return os_error(error)
    if isinstance(error, ImportError):
        line = (
            f"a package does not load ({error}); `bchisto doctor` names which one, and the remedy"
        )
        return line, 1
    line = f"unexpected {type(error).__name__}: {error}; this is a bug, please report it with the output of -v"
    return line, 1


class _Stop:
    """Turns signals into interrupts, and remembers the signal.

    C code may drop an exception that is raised inside it, or raise another error. So the signal is sent again while the
    command still runs, and any error after it counts as the interrupt.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._raised = -math.inf
        self._timer: threading.Timer | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self.received = number
            raise KeyboardInterrupt
        now = time.monotonic()
        # schedulers often signal a process and then its group
        if now - self._raised < _AGAIN_SECONDS:
            return
        self._raised = now
        self.again(number, _AGAIN_SECONDS + 0.1)
        self.received = number
        raise Terminated(signal.Signals(number).name)

    def again(self, number: int, seconds: float) -> None:
        """Send the signal again after some seconds."""
        self.cancel()
        self._timer = threading.Timer(seconds, os.kill, (os.getpid(), number))
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        """Stop sending the signal again."""
        if self._timer is not None:
            self._timer.cancel()

    def dropped(self, unraisable: Any) -> None:
        """Repeat an interrupt that was raised in a finaliser or a callback, where Python drops exceptions."""
        self._raised = -math.inf
        self.again(self.received or signal.SIGINT, _AT_ONCE_SECONDS)


@contextlib.contextmanager
def _interruptible() -> Iterator[_Stop]:
    """Let SIGTERM and SIGUSR1 end the command as Ctrl-C does."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    hook = sys.unraisablehook
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # a signal that is ignored, as with nohup, stays ignored
            signal.signal(number, stop)

    def unraisable(what: Any) -> None:
        if issubclass(what.exc_type, KeyboardInterrupt):
            stop.dropped(what)
        else:
            hook(what)

    sys.unraisablehook = unraisable
    try:
        yield stop
    finally:
        stop.cancel()
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _set_up_logging(words: Sequence[str]) -> None:
    for stream in (sys.stdout, sys.stderr):
        # escape characters that the terminal's encoding does not have, instead of failing because of a name
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    handler = Handler()
    handler.setFormatter(_Formatter(words))
    logging.getLogger().handlers[:] = [handler]
    logging.getLogger("bchisto").setLevel(logging.INFO)
    logging.captureWarnings(True)
    # joblib and loky warn with this of a full /dev/shm, for which bchisto has its own message
    warnings.filterwarnings("ignore", ".*joblib will operate in serial mode", UserWarning)


class _Formatter(logging.Formatter):
    """Formats messages: parameters as flags in those of bchisto, and the level in front of warnings and errors."""

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__()
        self._words = words

    def formatMessage(self, record: logging.LogRecord) -> str:
        if isinstance(record.msg, Message):
            record.message = _spoken(record.msg, self._words)
        elif isinstance(record.args, tuple) and record.args:
            record.message = record.msg % tuple(_spoken(item, self._words) for item in record.args)
        is_foreign = record.name.partition(".")[0] != "bchisto"
        return printable(super().formatMessage(record), lines=is_foreign)

    def format(self, record: logging.LogRecord) -> str:
        text = printable(super().format(record), lines=True)  # may include a traceback
        if record.levelno < logging.WARNING:
            return text
        return f"{record.levelname.lower()}: {text}"
