"""Sphinx configuration."""

import inspect
import re

import bchisto

project = "bchisto"
author = "The bchisto developers"
copyright = "2026, The bchisto developers"
version = release = bchisto.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "samples"]
html_theme = "furo"
html_logo = html_favicon = "images/logo.svg"
html_static_path, html_css_files = ["static"], ["site.css"]
# The address of the source code gives each page a link to edit it (a blank of .github/releasing.md).
SOURCE = ""
html_theme_options = (
    {"source_repository": SOURCE, "source_branch": "main", "source_directory": "docs/"}
    if SOURCE
    else {}
)
html_title = f"bchisto {release}"
myst_heading_anchors = 3
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_typehints = "description"
autodoc_typehints_description_target = (
    "documented_params"  # attributes of a dataclass are not listed twice
)
autodoc_member_order = "bysource"
nitpicky = False
# an attribute that several classes have, such as `name`, is not a link
suppress_warnings = ["ref.python"]


class Omitted:
    """A default value that nobody types, such as a function or an object."""

    def __repr__(self):
        return "..."


def is_typed(value):
    """Return whether a default value is one that a reader can type."""
    if isinstance(value, tuple):
        return all(map(is_typed, value))
    return value is None or isinstance(value, (bool, int, float, str))


def signature_of(item):
    """Return the signature of a function or class without types, and with `...` for defaults that nobody types."""
    parameters = []
    for parameter in inspect.signature(item).parameters.values():
        default = parameter.default
        if default is not inspect.Parameter.empty and not is_typed(default):
            default = Omitted()
        parameters.append(parameter.replace(annotation=inspect.Parameter.empty, default=default))
    if parameters and parameters[0].name == "self":
        del parameters[0]
    return str(inspect.Signature(parameters))


def process_signature(app, what, name, item, options, signature, returned):
    """Replace the signature that Sphinx made, with the representation of each default."""
    if signature and (inspect.isclass(item) or callable(item)):
        return signature_of(item), returned
    return None


def process_docstring(app, what, name, item, options, lines):
    """Keep names that share a line (`low, high : float`) together: Sphinx takes the first for a type."""
    for place, line in enumerate(lines):
        if field := re.match(r":(?:ivar|vartype) [\w, ]+:", line):
            lines[place] = field[0].replace(", ", ",\u200b") + line[field.end() :]


def skip_member(app, what, name, item, skip, options):
    """Leave out the fields of a named tuple, which its text lists: Sphinx calls each an alias for a number."""
    return True if type(item).__name__ == "_tuplegetter" else None


def setup(app):
    from sphinx.domains.python import PyObject

    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
    app.connect("autodoc-process-signature", process_signature)
    app.connect("autodoc-process-docstring", process_docstring, priority=600)
    app.connect("autodoc-skip-member", skip_member)
