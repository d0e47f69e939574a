"""Cross-validation of any kind of model: training over the folds, results and outputs.

`bchisto.boost` and `bchisto.finetune` define what they train, as subclasses of `Training`. This package holds what both
share: shards, resuming, outputs and reports.
"""

from .outputs import (
    CrossValidation,
    Outputs,
    chosen_anew,
    citation_of,
    in_order,
    offered,
    summary_of,
    table_rows,
    write_table,
)
from .training import LabelledImages, Training, cross_validate

__all__ = ["CrossValidation"]
__dir__ = __all__.copy
