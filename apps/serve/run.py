"""``bchisto serve``: its settings, and the web page until it is interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import re
import secrets
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...core import (
    DependencyError,
    InputError,
    Many,
    Message,
    OptionalPath,
    PathInput,
    Settings,
    TextInput,
    converted,
    how_to_install,
    option,
)
from ...core.formats import limits
from ...core.jobs import ensure_folder, scratch_folder

_ADDRESS = r"https?://(?:(?![/?#@])[!-~])+(/(?!\.\.?(/|$))[\w.~%@:+!$&'()*,;=-]*)*"
"""An address without a query and without the parts "." and ".."."""

_LEAST_TOKEN = 20
"""Least number of characters of a token, so that it cannot be guessed."""


@dataclass(frozen=True)
class ServeSettings(Settings):
    """Settings of the web page: its address, its access token, and what it keeps."""

    keep: OptionalPath = option(
        None,
        group="Output",
        help="Keep images, table and report in this new folder; default: nothing is kept.",
    )
    label: bool = option(
        False,
        group="Training",
        help="Label the images of a run that next chooses, in place of predictions.",
    )
    slides: OptionalPath = option(
        None, group="Input", help="Also show the maps in this folder, made by slides map."
    )
    host: str = option(
        "127.0.0.1", group="Speed", help="Address to answer at; a public one needs a token file."
    )
    port: int = option(8600, group="Speed", least=0, most=65535, help="Port; 0 takes a free one.")
    token_file: OptionalPath = option(
        None,
        group="Input",
        file="input",
        help="A file with the token that the page asks for, at least 20 characters; default: a new one each time.",
    )
    public_url: str | None = option(
        None,
        group="Speed",
        metavar="URL",
        help="Address of the page behind a proxy, such as https://HOST/PATH/.",
    )

    def __post_init__(self) -> None:
        """Refuse an invalid public URL, a folder without maps, and an address open to others without a token file."""
        super().__post_init__()
        if self.public_url and not re.fullmatch(_ADDRESS, self.public_url, re.ASCII):
            raise InputError(
                "{public_url} {}: give an address such as https://HOST/PATH/", self.public_url
            )
        if self.slides is not None and not (self.slides / "maps").is_dir():
            raise InputError(
                "{slides} {}: holds no maps; give the folder that bchisto slides map made",
                self.slides,
            )
        is_local = self.host == "localhost"
        with contextlib.suppress(ValueError):  # other names than localhost count as open to others
            is_local = is_local or ipaddress.ip_address(self.host).is_loopback
        if not is_local and self.token_file is None:
            raise InputError(
                "{host} {}: others can reach this address; give a {token_file}, or leave it out and use ssh -L",
                self.host,
            )

    def token(self) -> str:
        """Return the token of the file, or a new one without a file.

        Raises
        ------
        InputError
            The file cannot be read, or its token is too short.
        """
        if self.token_file is None:
            return secrets.token_urlsafe(24)
        try:
            with self.token_file.open("rb") as handle:
                token = handle.read(1000).decode("ascii", errors="replace").strip()
            if self.token_file.stat().st_mode & 0o077:
                _log.warning(
                    "%s: others can read the token; chmod 600 keeps it yours", self.token_file
                )
        except OSError as error:
            raise InputError(f"{self.token_file}: cannot be read ({error.strerror})") from error
        if len(token) < _LEAST_TOKEN or not re.fullmatch("[!-~]+", token):
            raise InputError(
                f"{self.token_file}: no token of at least {_LEAST_TOKEN} letters, digits and signs"
            )
        return token


_log = logging.getLogger(__name__)

_END_SECONDS = 3
"""Time in which open requests must end when the server stops."""

_KEPT = 4
"""How many times longer a connection waits for its next request than for its first: programs pause, and a connection
that is closed just then resets their request."""


def serve(
    models: Many[PathInput],
    *,
    weights: Many[TextInput] = (),
    settings: ServeSettings | None = None,
    ready: Callable[[str], object] = lambda address: None,
) -> bool:
    """Serve the web page, until interrupted.

    Parameters
    ----------
    models : sequence of path
        Model files, or run folders with a model file; with `label` one run with features.
    weights : sequence of str
        As in `bchisto.predict.predict`.
    settings : ServeSettings, optional
    ready : callable
        Called with the address, including the token, once the server is ready.

    Returns
    -------
    bool
        Whether all that is to be kept was written in the end.

    Raises
    ------
    DependencyError
        The extra ``serve`` is not installed.
    BundleError, WeightsError
        As in `bchisto.predict.predict`.
    InputError
        The address is in use, or is not an address of this machine.
    """
    settings = ServeSettings.of(settings)
    paths = converted(models, "models", tuple[Path, ...])
    options = converted(weights, "weights", tuple[str, ...])
    if not all(map(find_spec, ("fastapi", "uvicorn"))):
        raise DependencyError(f"the page needs FastAPI and uvicorn: {how_to_install('serve')}")
    keep = settings.keep
    if settings.label and (len(paths) > 1 or options or keep or settings.slides):
        raise InputError(
            Message("{label}: takes one run; leave out {weights}, {keep} and {slides}")
        )
    if keep is not None:
        if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
            raise InputError("{keep} {}: holds other files; give a new folder", keep)
        ensure_folder(keep)
    token = settings.token()
    # read after an interrupt, which is the normal end and leaves no return value
    sessions: list[Any] = []
    with (
        contextlib.suppress(KeyboardInterrupt),
        _listening(settings) as listener,
        scratch_folder() as folder,
    ):
        asyncio.run(_serve(paths, options, settings, listener, folder, token, ready, sessions))
    return all(session.is_kept for session in sessions)


def _listening(settings: ServeSettings) -> socket.socket:
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise InputError(
            "{host} {}, {port} {}: cannot answer there ({})",
            settings.host,
            settings.port,
            error.strerror,
        ) from error


async def _serve(
    paths: Sequence[Path],
    options: Sequence[str],
    settings: ServeSettings,
    listener: socket.socket,
    folder: Path,
    token: str,
    ready: Callable[[str], object],
    sessions: list[Any],
) -> None:
    import uvicorn

    from .app import make_app
    from .engine import Engine
    from .rounds import Rounds
    from .security import Connection, Guard, most_connections
    from .session import Session, load_models

    engine = Engine(folder, seconds=limits.SERVED_WORK_SECONDS)
    try:
        rounds = None
        if settings.label:
            rounds = Rounds(paths[0], engine, folder)
            paths = ()
        models = await load_models(engine, paths, options, folder)
        session = Session(engine, models, folder, keep=settings.keep)
        sessions.append(session)
        root = (settings.public_url or "").rstrip("/")
        csrf = secrets.token_urlsafe(24)
        app = make_app(session, rounds, csrf=csrf, slides=settings.slides)
        config = uvicorn.Config(
            Guard(app, token=token, csrf=csrf, host=settings.host, public_url=root),
            http=Connection,
            access_log=False,
            log_level="critical",
            server_header=False,
            proxy_headers=False,
            lifespan="on",
            ws="none",
            timeout_keep_alive=_KEPT * limits.SERVED_IDLE_SECONDS,
            timeout_graceful_shutdown=_END_SECONDS,
            log_config=None,
            backlog=max(1, most_connections() // 3),  # asyncio accepts so many before it makes room
        )
        server = uvicorn.Server(config)
        # a closed terminal ends the page too; with nohup it is ignored
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            asyncio.get_running_loop().add_signal_handler(
                signal.SIGHUP, server.handle_exit, signal.SIGTERM, None
            )
        # a task, so that repeated interrupts end it
        server_task = asyncio.create_task(server.serve(sockets=[listener]))
        address = f"{root or _address(listener, settings.host)}/"
        if settings.token_file is None:  # that of a file would stay in the history of the browser
            address += f"?token={token}"
        ready(address)
        await server_task
    finally:
        engine.stop()


def _address(listener: socket.socket, host: str) -> str:
    """Return the address of the page for a browser."""
    if host in ("0.0.0.0", "::"):  # nosec B104 - compared, not bound
        host = socket.getfqdn()
        if host.startswith("localhost"):
            host = socket.gethostname()
    if ":" in host:
        host = f"[{host}]"
    return f"http://{host}:{listener.getsockname()[1]}"
