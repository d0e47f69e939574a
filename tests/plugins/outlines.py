"""Pictures of reports that are put together, but not rendered, which takes most of the time of a report."""

import contextlib

import pytest

OUTLINE = b'<svg xmlns="http://www.w3.org/2000/svg" width="260" height="245"/>'


def outlined(figure, target, **options):
    """Take the place of `matplotlib.figure.Figure.savefig`."""
    target.write(OUTLINE)


@contextlib.contextmanager
def in_outline():
    """Put pictures together in this block without rendering them."""
    from matplotlib.figure import Figure

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outlined, "savefig", Figure.savefig, raising=False)
        patch.setattr(Figure, "savefig", outlined)
        yield


@contextlib.contextmanager
def drawn():
    """Render pictures in this block all the same: of what tests share, whoever asks for it first."""
    from matplotlib.figure import Figure

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", getattr(outlined, "savefig", Figure.savefig))
        yield
