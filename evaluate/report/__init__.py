"""Outputs for people: the report, its figures, tables as CSV, and the lines of a terminal.

Everything is made from the tables, metrics and comparisons of `bchisto.evaluate`, which knows nothing of this room.
"""

from .answer import answer_lines, comparison_lines, drops, headline, warnings, wrapped
from .methods import CARD, known_of, measured, write_card
from .page import (
    Block,
    Drawing,
    Section,
    page_templates,
    render_page,
    style_of,
    template_text,
    write_page,
)
from .recorded import RecordedEvaluation, is_evaluated
from .report import (
    choose_samples,
    reporting,
    surest,
    thumbnail,
    write_evaluation,
    write_report,
    write_run_report,
)
from .sections import class_grid
from .tables import PublishedFigure, PublishedTable, write_published

__all__ = ["PublishedTable", "write_evaluation"]
__dir__ = __all__.copy
