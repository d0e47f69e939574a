"""Pictures of reports that are put together, but not rendered, which takes most of the time of a report."""

import base64
import contextlib

import pytest
from bchisto.evaluate.report import drawings
from matplotlib.figure import Figure

_drawn = drawings._drawn

OUTLINE = b'<svg xmlns="http://www.w3.org/2000/svg" width="260" height="245"/>'


def outlined(figure, target, **options):
    """Take the place of `matplotlib.figure.Figure.savefig`."""
    target.write(OUTLINE)


def described(draw, alt, caption, **size):
    """Take the place of `bchisto.evaluate.report.drawings._drawn`."""
    source = "data:image/svg+xml;base64," + base64.b64encode(OUTLINE).decode()
    return drawings.Drawing(source, alt, caption)


@contextlib.contextmanager
def in_outline(*, together):
    """Put pictures together in this block without rendering them; or not `together`, only describe them."""
    with pytest.MonkeyPatch.context() as patch:
        if not together:
            patch.setattr(drawings, "_drawn", described)
        patch.setattr(outlined, "savefig", Figure.savefig, raising=False)
        patch.setattr(Figure, "savefig", outlined)
        yield


@contextlib.contextmanager
def drawn():
    """Render pictures in this block all the same: of what tests share, whoever asks for it first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawings, "_drawn", _drawn)
        patch.setattr(Figure, "savefig", getattr(outlined, "savefig", Figure.savefig))
        yield
