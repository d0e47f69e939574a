"""Access control: checks host name, token, and that the page itself asks for changes; ends idle connections."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import resource
import secrets
import socket
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from ...core import Message as Advice
from ...core.formats import limits

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_PROXY = str(Advice("{serve.public-url:URL}"))

_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Headers of every answer, unless the answer sets them itself."""

_PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,"><title>bchisto</title>{}'

_ENTER = _PAGE.format(
    '<meta http-equiv="refresh" content="0;url={0}"><p><a href="{0}">Continue</a></p>'
)
"""A page that redirects to the start page: browsers do not send a strict cookie after a link from another site."""

_ASK = _PAGE.format(
    '<meta name="viewport" content="width=device-width"><main><h1>bchisto</h1>'
    "<p>Open the address that bchisto serve printed, send Authorization: Bearer TOKEN, or give the token.</p>"
    '<form method="post"><label>Token <input name="token" type="password" autocomplete="off"></label> '
    "<button>Open</button></form>"
)


class Guard:
    """Passes only authorised requests to an app, and adds security headers to the answers.

    Browsers see the app below a path that nobody can guess, and send its cookie only there. Otherwise they would send
    it to all ports of this machine, of which others may belong to other users.

    Parameters
    ----------
    app : callable
        The ASGI app.
    token : str
        Secret in the printed address, or in ``Authorization: Bearer``.
    csrf : str
        Secret that bchisto's page sends as ``X-CSRF`` with requests that change something.
    host : str
        Address of the server.
    public_url : str
        Address of the page behind a proxy, without a slash at its end; empty without a proxy.
    """

    def __init__(self, app: ASGIApp, *, token: str, csrf: str, host: str, public_url: str) -> None:
        self._app = app
        self._token = token
        self._csrf = csrf
        public = urlsplit(public_url)
        default_port = ":443" if public.scheme == "https" else ":80"
        address = public.netloc.casefold().removesuffix(default_port)
        self._origin = f"{public.scheme}://{address}"  # as browsers write it
        self._root = public.path  # as browsers write it
        self._prefix = unquote(public.path)  # as requests arrive
        self._folder = f"/{secrets.token_urlsafe(12)}"
        self._ticket = secrets.token_urlsafe(32)
        # checked since the host name of an attacker could point to this machine (DNS rebinding)
        names = ["127.0.0.1", "localhost", "::1", host, socket.gethostname()]
        if public.hostname:
            names.append(public.hostname)
        self._any = host in ("0.0.0.0", "::")  # nosec B104 - compared, not bound
        if self._any:
            names.append(socket.getfqdn())
        self._hosts = {name.casefold() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it to the app."""
        if scope["type"] != "http":  # the start and the end of the app; there are no web sockets
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        path = scope["path"].removeprefix(self._prefix).removeprefix(self._folder)
        scope = {**scope, "path": path or "/"}
        answer = await self._refusal(scope, receive) or self._app
        await answer(scope, receive, guarded)

    async def _refusal(self, scope: Scope, receive: Receive) -> ASGIApp | None:
        """Return the answer to a request that may not pass, or to the first with the token; None if it may pass."""
        headers = Headers(scope=scope)
        if not self._knows(headers.get("host", "")):
            return PlainTextResponse(
                f"This name is not one of this page; ask 127.0.0.1, or give {_PROXY}.\n", 421
            )
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        if kind.casefold() == "bearer" and _same(bearer.strip(), self._token):
            return None
        if _same(cookie_parser(headers.get("cookie", "")).get("bchisto", ""), self._ticket):
            if scope["method"] in ("GET", "HEAD"):
                return None
            if _same(headers.get("x-csrf", ""), self._csrf) and self._is_own(headers):
                return None
            return PlainTextResponse(
                f"Not asked by the page itself; behind a proxy, give {_PROXY}.\n", 403
            )
        form = await _form(scope, headers, receive)
        if _same(parse_qs(form.decode("latin-1")).get("token", [""])[0], self._token):
            root = f"{self._root}{self._folder}/"
            answer = HTMLResponse(_ENTER.format(root))
            answer.set_cookie("bchisto", self._ticket, path=root, httponly=True, samesite="strict")
            return answer
        return HTMLResponse(_ASK, 401, {"www-authenticate": "Bearer"})

    def _knows(self, asked: str) -> bool:
        """Return whether the Host header of a request names this server."""
        with contextlib.suppress(ValueError):  # not a name, or not a number
            name = (urlsplit(f"//{asked}").hostname or "").casefold()
            return name in self._hosts or (self._any and bool(ipaddress.ip_address(name)))
        return False

    def _is_own(self, headers: Headers) -> bool:
        """Return whether the Origin header names this page; programs send no such header."""
        origin = headers.get("origin")
        return origin in (None, self._origin) or urlsplit(origin).netloc == headers.get("host")


async def _form(scope: Scope, headers: Headers, receive: Receive) -> bytes:
    """Return what may hold a token: the body of a form that was sent, or else the query of the address."""
    if (
        scope["method"] == "POST"
        and headers.get("content-type") == "application/x-www-form-urlencoded"
    ):
        with contextlib.suppress(TimeoutError):  # nobody may hold a connection without a token
            async with asyncio.timeout(1):
                return bytes((await receive()).get("body", b""))
    return bytes(scope["query_string"])


def _same(secret: str, expected: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(secret.encode(), expected.encode())


def most_connections() -> int:
    """Return how many connections there may be, so that files can still be opened."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files <= 0:  # there is no limit
        return limits.SERVED_CONNECTIONS
    return min(limits.SERVED_CONNECTIONS, max(1, files // 4))


class Connection(H11Protocol):
    """A connection that ends if no request arrives; if there are too many connections, the oldest idle one ends."""

    def connection_made(self, transport: Any) -> None:
        """Begin the connection, and end the oldest idle one if there are too many."""
        super().connection_made(transport)
        self.begun = self.loop.time()
        if len(self.connections) > most_connections():
            idle = [
                other
                for other in self.connections
                if isinstance(other, Connection) and other.is_idle
            ]
            oldest = min(idle, key=lambda other: other.begun)  # this one itself is idle
            self.connections.discard(oldest)
            oldest.transport.abort()
        self.loop.call_later(limits.SERVED_IDLE_SECONDS, self._end_if_idle, None)

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _end_if_idle(self, before: Any) -> None:
        """End if no request has arrived since the last call; uvicorn waits without end for the rest of a header."""
        if self.is_idle and self.cycle is before:
            self.transport.close()
        elif not self.transport.is_closing():
            self.loop.call_later(self.timeout_keep_alive, self._end_if_idle, self.cycle)
