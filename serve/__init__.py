"""The web page: images in, and what a model says of them; a page of runs; the same as JSON."""

from .run import serve
from .settings import ServeSettings

__all__ = ["ServeSettings", "serve"]
