"""Checks this machine, its packages and a user's files for what would make a command fail, and suggests fixes."""

from .check import Check, as_json, as_lines
from .named import examine
