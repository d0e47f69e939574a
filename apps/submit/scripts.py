"""The job script of a stage, which a person can read and run by hand."""

from __future__ import annotations

import shlex

from ...core.jobs import atomic_output
from .plan import MERGE, Plan

_SCRIPT = """\
#!/bin/bash
# Stage {number} of {count}, written by bchisto submit; {use}
# {line}
cd -- {cwd} || exit 1
exec {python} -m bchisto.apps.submit {folder} {position} "${{1:-$SLURM_ARRAY_TASK_ID}}"
"""


def write_scripts(plan: Plan) -> None:
    """Write the scripts of all stages."""
    for position in range(len(plan.stages)):
        with atomic_output(plan.script(position)) as temporary:
            temporary.write_text(script(plan, position), encoding="utf-8")


def script(plan: Plan, position: int) -> str:
    """Return the script of a stage. Its argument is the shard; without one, the number of the array's task is."""
    stage = plan.stages[position]
    use = f"task K does shard K of {stage.shards}, and the task {MERGE} puts them together:"
    return _SCRIPT.format(
        number=position + 1,
        count=len(plan.stages),
        use=use if stage.shards else f"one job, the task {MERGE}, does it:",
        line=shlex.join(["bchisto", stage.command, *stage.words]).replace("\n", " "),
        cwd=shlex.quote(plan.cwd),
        python=shlex.quote(plan.python),
        folder=shlex.quote(str(plan.folder)),
        position=position,
    )
