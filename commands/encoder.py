"""``bchisto encoder``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click

from ..core import InputError, Message, aligned, converted, counted, reworded, written
from .ending import echo, show_commands
from .options import argument, command, flag, options_of
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


def _options() -> Iterator[click.Parameter]:
    from ..featurize import FeaturizeSettings

    yield argument("name", required=False)
    yield flag("--fetch", group="Input", is_flag=True, help="Fetch its published weights, once.")
    yield flag(
        "--check",
        group="Input",
        is_flag=True,
        help="Build it and run it on noise: size, normalisation, speed, licence.",
    )
    yield flag(
        "--clear",
        group="Output",
        is_flag=True,
        help="Remove the converted networks of all encoders, and what JAX compiled for a GPU; they are made again.",
    )
    yield flag(
        "--yes",
        group="Input",
        is_flag=True,
        help="Accept licence and size without a question, as a job must.",
    )
    yield flag(
        "--revision",
        group="Input",
        metavar="COMMIT",
        help="A commit, branch or tag to fetch; default: the newest one.",
    )
    weights = "Of the encoder that is checked: imagenet, random, or PATH."
    yield flag("--weights", group="Features", default="imagenet", help=weights)
    yield from options_of(FeaturizeSettings, "engine", "precision", in_file=("engine", "precision"))


def write_flag(name: str, value: str) -> str:
    """Write a parameter as the flag of this command, or of `featurize`, of which encoders and `doctor` speak.

    A function of a module, which another process can find.
    """
    from .train import featurize

    return in_flags(encoder, featurize)(name, value)


@command(options=_options)
@reworded(lambda text: written(text, write_flag))
def encoder(
    name: str | None,
    fetch: bool,
    check: bool,
    clear: bool,
    yes: bool,
    revision: str | None,
    **options: str,
) -> None:
    """List encoders, show what one needs, fetch its weights, try one.

    Without NAME, prints every encoder that there is a name for, and how to bring your own. With it, prints what it
    takes and gives, its licence, and how to get its weights. Fetched weights are kept in ~/.cache/bchisto/encoders, or
    in the folder that BCHISTO_ENCODERS names, and need no network from then on.

    \b
    Example: bchisto encoder uni2-h
    Example: bchisto encoder midnight-12k --fetch
    """
    from ..encoders import describe_encoder, list_all_encoders, trim_kept

    if name is None:
        if fetch or check:
            raise InputError(Message("{fetch} and {check} need the name of an encoder"))
        if clear:
            removed = trim_kept(0)
            networks = counted(removed.count("networks"), "network")
            echo(f"removed: {networks}, {counted(removed.count('compiled'), 'compiled function')}")
        else:
            _table(list_all_encoders())
        return
    if clear:
        raise InputError(
            Message("{clear} removes what was made of all encoders; leave {} out", name)
        )
    if fetch:
        fetch_with_consent(name, revision=revision, yes=yes)
        if not check:
            show_commands([f"bchisto encoder {name} --check"], label="next: ", err=True)
    if check:
        _check(name, **options)
    if not (fetch or check):
        _table((what, written(value, write_flag)) for what, value in describe_encoder(name))


def _check(name: str, *, weights: str, engine: str, precision: str) -> None:
    """Build an encoder, run it on noise, and print what was measured."""
    from ..encoders import EncoderChoice, check_encoder
    from ..featurize import best_engine

    if engine == "auto":
        engine = best_engine([EncoderChoice.parse(name)])
    _table(check_encoder(name, weights=weights, engine=engine, precision=precision))


def _table(lines: Iterable[tuple[str, str]]) -> None:
    """Print lines in two columns."""
    echo(*aligned([*lines]))
