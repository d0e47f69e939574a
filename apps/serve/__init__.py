"""The web page, with a JSON API: predicts dropped images, shows maps of slides, or lets people label images."""

from .run import ServeSettings, serve
