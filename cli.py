"""The command line: commands are loaded when they are called, errors become one line and an exit code."""

from __future__ import annotations

import logging
import sys
import warnings
from importlib import import_module

import click

from . import __version__
from .errors import BchistoError

__all__ = ["cli", "main"]

_COMMANDS = ("demo", "data", "stain", "featurize", "boost", "finetune", "predict", "evaluate", "reproduce", "runs")
_INTERRUPTED = 130


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
    """Run the command line and exit: 0 done, 1 work failed, 2 wrong usage or refused input, 130 interrupted."""
    _set_up_logging()
    try:
        status = cli.main(args=arguments, prog_name="bchisto", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; run the same command again to resume", err=True)
        sys.exit(_INTERRUPTED)
    except BchistoError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except MemoryError:
        click.echo("error: out of memory; use fewer --jobs or a smaller --batch-size", err=True)
        sys.exit(1)
    except Exception as error:
        logging.getLogger(__package__).debug("unexpected error", exc_info=True)
        name = type(error).__name__
        click.echo(
            f"error: unexpected {name}: {error}; this is a bug, please report it with the output of -v", err=True
        )
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def _set_up_logging() -> None:
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
