"""Settings of the web page."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from ...core import InputError, Settings, option

_LEAST_TOKEN = 20
"""Least number of characters of a token, so that it cannot be guessed."""

_MOST_TOKEN = 1000


@dataclass(frozen=True)
class ServeSettings(Settings):
    """Settings of the web page: its address, its access token, and what it keeps."""

    runs: Path | None = option(
        None, group="Input", help="A folder of runs: list them on a second page, with state and report."
    )
    keep: Path | None = option(
        None,
        group="Output",
        help="Keep images, table and report in this new folder; default: nothing is kept.",
    )
    host: str = option(
        "127.0.0.1", group="Speed", help="Address to answer at; any but this machine's own needs a token file."
    )
    port: int = option(8600, group="Speed", least=0, most=65535, help="Port; 0 takes a free one.")
    token_file: Path | None = option(
        None,
        group="Input",
        file="input",
        help="A file with the token that the page asks for, at least 20 characters; default: a new one each time.",
    )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the page."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def validate(self) -> None:
        """Refuse an address that other machines can reach, unless there is a token file."""
        if not self.is_local and self.token_file is None:
            raise InputError(
                "{host} {}: others can reach this address; give a {token_file}, or leave it out and use ssh -L",
                self.host,
            )

    def token(self) -> str:
        """Return the token of the file.

        Raises
        ------
        InputError
            The file cannot be read, or its token is too short.
        """
        assert self.token_file is not None
        try:
            with self.token_file.open("rb") as handle:
                token = handle.read(_MOST_TOKEN).decode("ascii", errors="replace").strip()
        except OSError as error:
            raise InputError(f"{self.token_file}: cannot be read ({error.strerror})") from error
        if len(token) < _LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
            raise InputError(f"{self.token_file}: no token of at least {_LEAST_TOKEN} letters, digits and signs")
        return token
