"""``bchisto submit``: a run as a chain of jobs, checked before it is submitted."""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..core import BchistoError, InputError, from_options, items_of
from ..core.jobs import NOTHING_NEW, UnderWayError, in_turn
from .ending import done, echo, given_options, quoted
from .options import Options, Output, argument, command, flag, options_of
from .terminal import in_flags, invoked

if TYPE_CHECKING:
    from ..apps.submit import Plan, StageCommand


def _options() -> Options:
    from ..apps.submit import TaskOptions

    yield flag(
        "--scheduler",
        type=click.Choice(["slurm", "local"]),
        default="slurm",
        help="local: this machine.",
    )
    yield flag(
        "--at-once",
        type=click.IntRange(1),
        help="Tasks that run at the same time, at most; default: all.",
    )
    yield from options_of(TaskOptions)
    yield flag(
        "--before",
        multiple=True,
        metavar="LINE",
        help="A line of shell first, as 'module load x'; repeatable.",
    )
    yield flag(
        "--python",
        metavar="WORDS",
        help="What starts Python in a task, as 'apptainer exec b.sif python3'.",
    )
    yield flag(
        "--dry-run", is_flag=True, help="Check and print all of it, ask Slurm, and submit nothing."
    )
    yield flag(
        "--cancel", is_flag=True, help="Cancel the jobs of a run: bchisto submit --cancel RUN."
    )
    yield flag(
        "--force", is_flag=True, help="Submit although earlier jobs of the run live, or may live."
    )
    stages = "-- COMMAND ... [then COMMAND ...]"
    yield argument("words", nargs=-1, type=click.UNPROCESSED, required=True, metavar=stages)


@command(
    options=_options,
    context_settings={"allow_interspersed_args": False},
    first=("tasks", "time", "gpus", "dry_run", "cancel"),
)
@click.pass_context
def submit(context: click.Context, /, words: tuple[str, ...], **options: Any) -> None:
    """Submit commands as jobs of a cluster: an array of shards, a merge, the next command.

    Everything that every task would refuse is refused here. Submitting again submits what is missing.

    Exit code 0: submitted; 1: failed; 2: refused; 3: earlier jobs of the run are under way; 4: nothing is missing.

    \b
    Example: bchisto submit --tasks 16 --time 4:00:00 -- \\
        featurize --images BACH --out run --preset published \\
        then boost --out run then evaluate run --out run/evaluation
    """
    from ..apps.submit import Plan, TaskOptions, new_folder, plan_chain, preview, refuse_live, start

    if options["cancel"]:
        _cancel(words)
        return
    commands = [_parsed(context, stage_words) for stage_words in _split(words)]
    out = commands[0].out
    # predict makes a table in the run
    run = out.parent if commands[0].name == "predict" else out
    with in_turn(Path(f"{out.absolute()}.submit"), seconds=0) as has_turn:
        if not options["force"]:
            refuse_live(run, [path for item in commands for path in (*item.inputs, item.out)])
        if not has_turn:
            raise UnderWayError(f"{out}: another submit works on it at this moment; let it end")
        flags = given_options(context, context.command, but=("force",))
        plan = from_options(
            Plan,
            options,
            folder=new_folder(run),
            line=f"bchisto submit{flags} -- {shlex.join(words)}",
            cwd=str(Path.cwd()),
            python=options["python"] or quoted(sys.executable),
        )
        asked = from_options(TaskOptions, options)
        echo(*plan_chain(plan, commands, asked, warn=functools.partial(echo, err=True)))
        if not plan.stages:
            echo("nothing is missing")
            context.exit(NOTHING_NEW)
        if options["dry_run"]:
            echo(*preview(plan))
            return
        succeeded = start(plan)
    _report(plan, succeeded, run)


def _cancel(words: Sequence[str]) -> None:
    """Cancel the jobs of a run. A submit that is still planning has no job yet, so an error asks to wait for it."""
    from ..apps.submit import cancel

    if len(words) > 1:
        raise InputError("{!r}: {cancel} takes one run; leave it out", words[1])
    jobs = cancel(Path(words[0]))
    if jobs:
        echo(f"cancelled: {', '.join(jobs)}")
        return
    run = Path(words[0]).resolve()
    for lock in (Path(f"{run}.submit"), *run.glob("*.submit")):
        with in_turn(lock, seconds=0) as has_turn:
            if not has_turn:
                raise UnderWayError(
                    f"{words[0]}: a submit works on it at this moment; let it end, then cancel"
                )
    echo("no job of this run is in the queue, and no local submit works on it")


def _report(plan: Plan, succeeded: int, run: Path) -> None:
    """Print what was submitted, or the failure of the stage that ended a local chain."""
    if succeeded < len(plan.stages):
        failed = plan.stages[succeeded]
        raise BchistoError(f"{failed.command} failed; its logs are in {plan.logs}")
    if plan.jobs:
        echo(f"jobs: {', '.join(plan.jobs)}")
    # jobs of Slurm have not ended yet, so none has left images out
    worst = max(plan.stages, key=lambda stage: stage.left_out())
    done(
        [plan.folder],
        then=f"bchisto status {quoted(run)}",
        failures=worst.left_out(),
        listed=worst.listed,
    )


def _split(words: Sequence[str]) -> list[list[str]]:
    """Return the words of each stage, which ``then`` separates."""
    stages: list[list[str]] = [[]]
    for word in words:
        if word == "then":
            stages.append([])
        else:
            stages[-1].append(word)
    return stages


def _parsed(context: click.Context, words: list[str]) -> StageCommand:
    """Return a stage as the command's own parser reads it.

    Raises
    ------
    click.UsageError
        The command is not a stage, or has an option that submit sets itself.
    """
    from ..apps.submit import SINGLE, STAGES, StageCommand, typed

    names = (*STAGES, *SINGLE)
    for name in names:
        call = typed(name).split()
        if words[: len(call)] == call:
            break
    else:
        first = next(iter(words), "")
        raise click.UsageError(
            f"{first!r}: each stage begins with one of {', '.join(map(typed, names))}"
        )
    command = invoked(context.find_root().command, call)
    rest = words[len(call) :]
    parsed = command.make_context(name, [*rest])
    refused = ["dask"]
    if name in STAGES:
        refused += ["shard", "overwrite", "plan", "show"]
    for parameter in command.params:
        if parameter.name in refused and parsed.params[parameter.name]:
            raise click.UsageError(
                f"{name} {parameter.opts[0]}: does not go with submit; leave it out"
            )
    if parsed.params["out"] is None:
        raise InputError("{}: give {out}", name)
    # a message must not suggest an option that is refused here
    parameters = [parameter for parameter in command.params if parameter.name not in refused]
    write = in_flags(click.Command(name, params=parameters))
    return StageCommand(name, rest, parsed.params, [*_inputs(parsed)], write)


def _inputs(parsed: click.Context) -> Iterator[Path]:
    """Yield the files and folders that a command reads."""
    for parameter in parsed.command.params:
        if isinstance(parameter.type, click.Path) and not isinstance(parameter.type, Output):
            value = parsed.params.get(parameter.name or "")
            yield from map(Path, filter(None, items_of(value)))
    if parsed.command.name == "boost" and not parsed.params["features"]:
        yield parsed.params["out"] / "features"
