"""A run as a chain of jobs, and the progress of a run, read from its files.

A plan is in ``RUN/jobs/<id>``. A scheduler submits its scripts (`slurm`, or `local` on this machine). Each task is a
command that a person could type. Whether it is done is read from the files of its units.
"""

from .plan import SINGLE, STAGES, JobStage, Plan, new_folder, typed
from .planning import StageCommand, TaskOptions, cancel, options_of, plan_chain, refuse_live
from .scheduler import preview, start
from .status import RunStatus, ShardState, Stage, read_status, status_lines

__all__ = ["RunStatus", "ShardState", "Stage", "read_status"]
__dir__ = __all__.copy
