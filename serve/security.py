"""Who may ask: the host that was asked, the token, and that a page of ours asks for what changes something."""

from __future__ import annotations

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
"""What every answer says, unless it says something itself."""

_SAFE = ("GET", "HEAD")

_ENTER = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,">'
    '<meta http-equiv="refresh" content="0;url=/"><title>bchisto</title><p><a href="/">Go on</a></p></html>'
)
"""A page of ours that leads on: a cookie that is only for us does not come with a link from elsewhere."""


def known_hosts(host: str) -> frozenset[str]:
    """Return the names under which the page may be asked for; of an address that stands for all, every number.

    What a browser asks for is checked since a name of a stranger may lead to this machine (DNS rebinding).
    """
    names = {"127.0.0.1", "localhost", "::1", host, socket.gethostname()}
    return frozenset(name.casefold() for name in names)


class Guard:
    """Lets requests through that may pass, and says what a browser may do with the answers.

    Parameters
    ----------
    app : callable
        What answers.
    token : str
        In the address that is printed, or as ``Authorization: Bearer``.
    csrf : str
        What a page of ours sends along as ``X-CSRF`` where something is changed.
    host : str
    cookie : str
        Name of the cookie: a browser has one for all ports.
    """

    def __init__(self, app: ASGIApp, *, token: str, csrf: str, host: str, cookie: str) -> None:
        self._app, self._token, self._csrf, self._cookie = app, token, csrf, cookie
        self._hosts = known_hosts(host)
        self._any = host in ("0.0.0.0", "::")  # nosec B104 - compared, not bound
        self._ticket = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
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
        if cookie_parser(headers.get("cookie", "")).get(self._cookie, "") and self._holds_ticket(headers):
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

    def _holds_ticket(self, headers: Headers) -> bool:
        return _same(cookie_parser(headers.get("cookie", "")).get(self._cookie, ""), self._ticket)

    def _knows(self, asked: str) -> bool:
        try:
            name = (urlsplit(f"//{asked}").hostname or "").casefold()
        except ValueError:
            return False
        return name in self._hosts or (self._any and _is_number(name))


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same(given: str, wanted: str) -> bool:
    """Compare in a time that tells nothing."""
    return hmac.compare_digest(given.encode(), wanted.encode())


def _same_origin(headers: Headers) -> bool:
    """Whether a browser says that the page itself asks; programs say nothing."""
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")
