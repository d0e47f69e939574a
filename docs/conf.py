"""Sphinx configuration."""

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
# The address of the source code gives each page a link to edit it; docs/releasing.md lists it among the blanks to fill.
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
