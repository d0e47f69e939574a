"""A run as a chain of jobs, and the progress of a run, read from its files.

A plan is in ``RUN/jobs/<id>``. A scheduler submits its scripts (`slurm`, or `local` on this machine). Each task is a
command that a person could type. Whether it is done is read from the files of its units.
"""

from .plan import (
    SINGLE,
    STAGES,
    JobStage,
    Plan,
    is_made,
    last_stages,
    new_folder,
    read_plans,
    typed,
)
from .scheduler import memory, settings
from .status import RunStatus, ShardState, Stage, read_status, status_lines
from .submission import (
    cancel,
    describe,
    divide,
    options_of,
    preview,
    refuse_full,
    refuse_live,
    start,
)

__all__ = ["RunStatus", "ShardState", "Stage", "read_status"]
