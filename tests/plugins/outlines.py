"""Pictures of reports that are put together, but not rendered, which takes most of the time of a report."""

OUTLINE = b'<svg xmlns="http://www.w3.org/2000/svg" width="260" height="245"/>'


def outlined(figure, target, **options):
    """Take the place of `matplotlib.figure.Figure.savefig`."""
    target.write(OUTLINE)
