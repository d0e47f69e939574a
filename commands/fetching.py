"""Downloads missing weights of published encoders, with the user's consent."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .ending import echo
from .options import flag

if TYPE_CHECKING:
    from ..encoders import EncoderChoice


def fetch_with_consent(name: str, *, revision: str | None = None, yes: bool) -> None:
    """Print licence and size of an encoder's weights, ask for consent, and download them.

    Raises
    ------
    InputError, WeightsError, DependencyError
        See `encoders.look_up_encoder` and `encoders.fetch_encoder`. A `WeightsError` also if the user declines.
    """
    from ..core import WeightsError
    from ..encoders import fetch_encoder, look_up_encoder

    offer = look_up_encoder(name, revision=revision)
    echo(f"{offer.named.title}: {offer.named.card.terms()}; {len(offer.files)} files, {offer.size / 1e6:,.1f} MB, "
         f"commit {offer.revision}", err=True)  # fmt: skip
    if not (yes or click.confirm("Fetch it?", err=True)):
        raise WeightsError(f"{name}: not fetched, since you did not agree")
    echo(f"wrote {fetch_encoder(offer)}", err=True)


def fetch_missing(encoders: Sequence[EncoderChoice], weights: Sequence[str], *, yes: bool) -> None:
    """Download missing weights of encoders; if there is no terminal to ask on, only with ``--yes``."""
    from ..encoders import unfetched

    if yes or (sys.stdin.isatty() and sys.stderr.isatty()):  # `submit` checks commands with redirected output
        for name in unfetched(encoders, weights):
            fetch_with_consent(name, yes=yes)


def yes_flag() -> click.Option:
    """Return the option ``--yes``, with which a job downloads without asking."""
    return flag("--yes", group="Features", is_flag=True, help="Download missing weights without asking.")
