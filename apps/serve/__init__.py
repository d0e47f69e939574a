"""The web page: predicts images that are dropped on it, lists runs, and has the same functions as a JSON API."""

from .run import ServeSettings, serve
