"""The command line: commands are loaded when they are called, errors become one line and an exit code."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from importlib import import_module
from types import FrameType
from typing import Any

import click

from . import __version__
from .errors import BchistoError, Terminated, is_out_of_memory, os_error, readable_name

__all__ = ["cli", "main"]

_COMMANDS = ("demo", "data", "stain", "featurize", "boost", "finetune", "predict", "evaluate", "reproduce", "runs")
_INTERRUPTED = 130
_AGAIN_SECONDS = 0.05
"""After how long an interrupt that Python dropped is sent again (ours)."""


class _LazyGroup(click.Group):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(import_module(f".commands.{cmd_name}", __package__), cmd_name)
        return command if isinstance(command, click.Command) else None


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="bchisto")
def cli() -> None:
    """Classify breast-tissue images from a few hundred labelled ones, with numbers you can defend.

    \b
    Start with:  bchisto demo --out demo-run
    Your images: bchisto featurize --images DIR --out RUN
                 bchisto boost --out RUN
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    0 done, 1 work failed, 2 wrong usage or refused input, 130 after Ctrl-C, 143 after SIGTERM or SIGUSR1.
    """
    _set_up_logging()
    said: dict[str, Any] = {}  # what options left for the ends below
    for text in sys.argv[1:] if arguments is None else arguments:
        if readable_name(text) != text:  # neither a record nor a table could hold it
            click.echo(f"error: {readable_name(text)}: this name is not UTF-8; rename the file or folder", err=True)
            sys.exit(2)
    try:
        with _interruptible():
            status = cli.main(args=arguments, prog_name="bchisto", standalone_mode=False, obj=said)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt) as error:
        how = "without --overwrite to resume" if said.get("overwrite") else "again to resume"
        click.echo(f"interrupted; run the same command {how}", err=True)
        terminated = isinstance(error, Terminated) or isinstance(error.__cause__, Terminated)
        sys.exit(Terminated.exit_code if terminated else _INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        logging.getLogger(__package__).debug("the error in full", exc_info=True)
        line, code = _last_words(error)
        click.echo(f"error: {line}", err=True)
        sys.exit(code)
    sys.exit(status if isinstance(status, int) else 0)


def _last_words(error: Exception) -> tuple[str, int]:
    """Return the line on an error, and the exit code."""
    if isinstance(error, BchistoError):
        return str(error), error.exit_code
    if is_out_of_memory(error):
        return "out of memory; what is done is kept, run it again with fewer --jobs or a smaller --batch-size", 1
    if isinstance(error, OSError):
        return os_error(error)
    return f"unexpected {type(error).__name__}: {error}; this is a bug, please report it with the output of -v", 1


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGUSR1 end the command as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    hook = sys.unraisablehook
    first = True

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if first:  # what comes later must not disturb the end that has begun
            first = False
            raise Terminated(signal.Signals(number).name)

    def drop(unraisable: Any) -> None:
        # An interrupt that falls into a finaliser or a callback of C code is dropped there: send it again.
        nonlocal first
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            hook(unraisable)
            return
        first = True
        number = signal.SIGTERM if issubclass(unraisable.exc_type, Terminated) else signal.SIGINT
        threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), number)).start()

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as under nohup: what was told to ignore it goes on ignoring it
            signal.signal(number, interrupt)
    sys.unraisablehook = drop
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _set_up_logging() -> None:
    for stream in (sys.stdout, sys.stderr):
        # what the terminal's encoding lacks is written as an escape; a name must not end a command
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter())
    logging.getLogger().handlers[:] = [handler]
    logging.getLogger("bchisto").setLevel(logging.INFO)
    logging.captureWarnings(True)
    # Pillow warns of damaged tags just before the error that we report with the file's name.
    warnings.filterwarnings("ignore", module="PIL")


class _Formatter(logging.Formatter):
    """Messages as they are; warnings and errors say that they are."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno < logging.WARNING else f"{record.levelname.lower()}: {text}"
