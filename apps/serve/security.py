"""Access control: checks the host name, the token, and that changes are requested by bchisto's own page."""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import secrets
import socket
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

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

_SAFE = ("GET", "HEAD")

_ENTER = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,">'
    '<meta http-equiv="refresh" content="0;url=/"><title>bchisto</title><p><a href="/">Continue</a></p></html>'
)
"""A page that redirects to the start page: browsers do not send a strict cookie after a link from another site."""


class Guard:
    """Passes only authorised requests to an app, and adds security headers to the answers.

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
    cookie : str
        Name of the cookie. It includes the port, since browsers share cookies between ports.
    """

    def __init__(self, app: ASGIApp, *, token: str, csrf: str, host: str, cookie: str) -> None:
        self._app, self._token, self._csrf, self._cookie = app, token, csrf, cookie
        # checked since the host name of an attacker could point to this machine (DNS rebinding)
        names = ("127.0.0.1", "localhost", "::1", host, socket.gethostname())
        self._hosts = frozenset(name.casefold() for name in names)
        self._any = host in ("0.0.0.0", "::")  # nosec B104 - compared, not bound
        self._ticket = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it to the app."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._refusal(scope) or self._app
        await answer(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        if not self._knows(headers.get("host", "")):
            return PlainTextResponse("This name is not one of this page; ask for 127.0.0.1.\n", 421)
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        if kind.casefold() == "bearer" and _same(bearer.strip(), self._token):
            return None
        if _same(cookie_parser(headers.get("cookie", "")).get(self._cookie, ""), self._ticket):
            own = _same(headers.get("x-csrf", ""), self._csrf) and _same_origin(headers)
            if scope["method"] in _SAFE or own:
                return None
            return PlainTextResponse("This was not asked by the page itself; load it again.\n", 403)
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and scope["method"] in _SAFE and _same(given, self._token):
            answer = HTMLResponse(_ENTER)
            answer.set_cookie(self._cookie, self._ticket, httponly=True, samesite="strict")
            return answer
        why = "Open the address that bchisto serve printed, with its token, or send Authorization: Bearer TOKEN.\n"
        return PlainTextResponse(why, 401, {"www-authenticate": "Bearer"})

    def _knows(self, asked: str) -> bool:
        with contextlib.suppress(ValueError):  # not a name, or not a number
            name = (urlsplit(f"//{asked}").hostname or "").casefold()
            return name in self._hosts or (self._any and bool(ipaddress.ip_address(name)))
        return False


def _same(given: str, wanted: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(given.encode(), wanted.encode())


def _same_origin(headers: Headers) -> bool:
    """Return whether the Origin header names this page; programs send no such header."""
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")
