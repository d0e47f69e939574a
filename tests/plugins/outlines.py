"""Pictures of reports that nobody looks at: what is drawn is called, but neither laid out nor rendered."""

import contextlib

import pytest

OUTLINE = b'<svg xmlns="http://www.w3.org/2000/svg" width="260" height="245"/>'


class Blank:
    """Axes, two of them, and all that belongs to them: each call is taken, and nothing is drawn."""

    def __getattr__(self, name):
        return self

    def __call__(self, *arguments, **options):
        return self

    def __iter__(self):
        return iter((self, self))


def outlined(figure, target, **options):
    """Take the place of `matplotlib.figure.Figure.savefig`."""
    target.write(OUTLINE)


STANDING_IN = {"savefig": outlined, "subplots": lambda *arguments: Blank()}
REAL = {}


@contextlib.contextmanager
def in_outline():
    """Render no picture in this block, which takes most of the time of a report."""
    from matplotlib.figure import Figure

    REAL.update((name, getattr(Figure, name)) for name in STANDING_IN if name not in REAL)
    with pytest.MonkeyPatch.context() as patch:
        for name, other in STANDING_IN.items():
            patch.setattr(Figure, name, other)
        yield


@contextlib.contextmanager
def drawn():
    """Render pictures in this block all the same: of what tests share, whoever asks for it first."""
    from matplotlib.figure import Figure

    with pytest.MonkeyPatch.context() as patch:
        for name, real in REAL.items():
            patch.setattr(Figure, name, real)
        yield
