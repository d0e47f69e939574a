"""Pictures of reports that are put together, but not rendered, which takes most of the time of a report."""

import contextlib

import pytest

OUTLINE = b'<svg xmlns="http://www.w3.org/2000/svg" width="260" height="245"/>'


def outlined(figure, target, **options):
    """Take the place of `matplotlib.figure.Figure.savefig`."""
    target.write(OUTLINE)


def no_objects(figure, match):
    """Take the place of `matplotlib.figure.Figure.findobj`, which makes every tick of the axes."""
    return []


@contextlib.contextmanager
def in_outline():
    """Put pictures together in this block without rendering them."""
    from matplotlib.figure import Figure

    with pytest.MonkeyPatch.context() as patch:
        for name, stand_in in (("savefig", outlined), ("findobj", no_objects)):
            patch.setattr(stand_in, "replaced", getattr(Figure, name), raising=False)
            patch.setattr(Figure, name, stand_in)
        yield


@contextlib.contextmanager
def drawn():
    """Render pictures in this block all the same: of what tests share, whoever asks for it first."""
    from matplotlib.figure import Figure

    with pytest.MonkeyPatch.context() as patch:
        for stand_in in (outlined, no_objects):
            replaced = getattr(stand_in, "replaced", None)
            if replaced is not None:
                patch.setattr(Figure, replaced.__name__, replaced)
        yield
