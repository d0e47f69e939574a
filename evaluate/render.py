"""A page that loads nothing: one frame, with the style of reports, that the templates of every room fill."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from ..jobs import atomic_output


def render_page(
    path: Path,
    template: str,
    *,
    package: str | None,
    style: str = "",
    script: str | None = None,
    finalize: Callable[[Any], Any] | None = None,
    **values: Any,
) -> None:
    """Render a template that extends ``page.html``, and write it whole.

    Parameters
    ----------
    path : Path
    template : str
        A file of the folder ``templates`` of `package`.
    package : str or None
        As ``__package__`` of the caller.
    style : str
        A file there, added to the style of reports.
    script : str, optional
        A file there. With it, or empty, a content security policy allows what is within the page and nothing else;
        without, there is none.
    finalize : callable, optional
        What becomes of each value that is put in.
    **values
        Among them ``title`` and ``banners``.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    frame, own = (resources.files(name) / "templates" for name in (__package__, package or __package__))
    environment = Environment(
        loader=FunctionLoader(lambda name: _text(frame if name == "page.html" else own, name)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )
    sheet = _text(frame, "report.css") + (_text(own, style) if style else "")
    code, policy = _text(own, script) if script else "", ""
    if script is not None:
        policy = f"default-src 'none'; img-src data:; style-src {_source(sheet)}"
        policy += f"; script-src {_source(code)}" if code else ""
    page = environment.get_template(template).render(**values, style=sheet, script=code, policy=policy)
    with atomic_output(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _text(folder: Traversable, name: str) -> str:
    return (folder / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """Return what a content security policy calls an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
