"""``bchisto encoder``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click

from ..core import InputError, Message, aligned, converted, counted, reworded, written
from .ending import echo
from .options import Group, argument, flag, options_of
from .terminal import in_flags


def fetch_with_consent(name: str, *, revision: str | None = None, yes: bool) -> None:
    """Print licence and size of an encoder's weights, ask for consent, and download them, if they are not there.

    Raises
    ------
    InputError, WeightsError, DependencyError
        See `bchisto.encoders.fetch`.
    """
    from ..encoders import fetch_encoder

    def agrees(offer: str) -> bool:
        echo(offer, err=True)
        if not yes and not sys.stdin.isatty():
            raise InputError(Message("no terminal to confirm licence and size; add {yes}"))
        return yes or click.confirm("Fetch it?", err=True)

    echo(f"{name} is in {fetch_encoder(name, agrees=agrees, revision=revision)}", err=True)


def fetch_missing(encoders: Sequence[Any], weights: Sequence[str], *, yes: bool) -> None:
    """Download missing weights of encoders; if there is no terminal to ask on, only with ``--yes``."""
    from ..encoders import EncoderChoice, unfetched

    choices = converted(encoders, "encoders", tuple[EncoderChoice, ...])
    # `submit` checks commands with redirected output
    if yes or (sys.stdin.isatty() and sys.stderr.isatty()):
        for name in unfetched(choices, weights):
            fetch_with_consent(name, yes=yes)


def yes_flag() -> click.Option:
    """Return the option ``--yes``, with which a job downloads without asking."""
    return flag(
        "--yes", group="Features", is_flag=True, help="Download missing weights without asking."
    )


@click.group(cls=Group)
def encoder() -> None:
    """List encoders, show what one needs, try one."""


def _write(name: str, value: str) -> str:
    """Write a parameter as the flag of this command, or of `featurize`, of which encoders speak."""
    from .train import featurize

    return in_flags(click.get_current_context().command, featurize)(name, value)


_of_featurize = reworded(lambda text: written(text, _write))


@encoder.command("list")
def list_() -> None:
    """Print every encoder that there is a name for, and how to bring your own.

    \b
    Example: bchisto encoder list
    """
    from ..encoders import list_all_encoders

    _table(list_all_encoders())


@encoder.command()
@click.argument("name")
@_of_featurize
def show(name: str) -> None:
    """Print what an encoder takes and gives, its licence, and how to get its weights.

    \b
    Example: bchisto encoder show uni2-h
    """
    from ..encoders import describe_encoder

    _table((what, written(value, _write)) for what, value in describe_encoder(name))


def _fetch_options() -> Iterator[click.Parameter]:
    yield argument("name")
    yield flag(
        "--revision",
        group="Input",
        metavar="COMMIT",
        help="A commit, branch or tag; default: the newest one.",
    )
    yield flag(
        "--yes",
        group="Input",
        is_flag=True,
        help="Accept licence and size without a question, as a job must.",
    )


@encoder.command(options=_fetch_options)
@_of_featurize
def fetch(name: str, revision: str | None, yes: bool) -> None:
    """Fetch the weights of a published encoder, once: `--encoder NAME` takes them from then on, also without a network.

    They are kept in ~/.cache/bchisto/encoders, or in the folder that BCHISTO_ENCODERS names.

    \b
    Example: bchisto encoder fetch midnight-12k
    """
    fetch_with_consent(name, revision=revision, yes=yes)
    echo(f"next: bchisto encoder check {name}", err=True)


@encoder.command()
def clear() -> None:
    """Remove what was made on this machine, and is made again when it is needed: networks, and functions for a GPU.

    Converted networks are kept in ~/.cache/bchisto/networks, and what JAX compiled for a GPU in
    ~/.cache/bchisto/compiled, or below the folder that BCHISTO_CACHE or XDG_CACHE_HOME names.

    \b
    Example: bchisto encoder clear
    """
    from ..encoders import trim_kept

    removed = trim_kept(0)
    networks = counted(removed.count("networks"), "network")
    echo(f"removed: {networks}, {counted(removed.count('compiled'), 'compiled function')}")


def _check_options() -> Iterator[click.Parameter]:
    from ..featurize import FeaturizeSettings

    yield argument("name")
    yield flag("--weights", group="Features", default="imagenet", help="imagenet, random, or PATH.")
    yield from options_of(FeaturizeSettings, "engine", "precision")


@encoder.command(options=_check_options)
@_of_featurize
def check(name: str, weights: str, engine: str, precision: str) -> None:
    """Build an encoder and run it on noise: size, normalisation, speed, licence.

    \b
    Example: bchisto encoder check hub:dinov2-small
    """
    from ..encoders import EncoderChoice, check_encoder
    from ..featurize import best_engine

    if engine == "auto":
        engine = best_engine([EncoderChoice.parse(name)])
    _table(check_encoder(name, weights=weights, engine=engine, precision=precision))


def _table(lines: Iterable[tuple[str, str]]) -> None:
    """Print lines in two columns."""
    echo(*aligned([*lines]))
