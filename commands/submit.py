"""``bchisto submit``: a run as a chain of jobs, checked before it is submitted."""

from __future__ import annotations

import functools
import os
import shlex
import subprocess  # nosec B404
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..core import (
    BchistoError,
    InputError,
    Message,
    MissingInputError,
    from_options,
    reworded,
    written,
)
from ..core.jobs import NOTHING_NEW, UnderWayError, in_turn
from .ending import done, echo, given_options, quoted
from .options import Command, Output, argument, flag
from .terminal import in_flags, invoked

if TYPE_CHECKING:
    from ..apps.submit import JobStage, Plan
    from ..data import Dataset

_ROW_BYTES = 100
"""What a row of a feature file takes at least beside its numbers, see docs/cluster.md."""


def _options() -> Iterator[click.Parameter]:
    yield flag(
        "--scheduler",
        type=click.Choice(["slurm", "local"]),
        default="slurm",
        help="local: this machine.",
    )
    yield flag(
        "--tasks", type=click.IntRange(1, 1000), default=8, help="Shards of a stage, at most."
    )
    yield flag(
        "--at-once",
        type=click.IntRange(1),
        help="Tasks that run at the same time, at most; default: all.",
    )
    yield flag(
        "--time",
        help="Limit of a task as for sbatch; it continues in another round. Default: the partition's.",
    )
    yield flag(
        "--gpus",
        type=click.IntRange(0),
        default=0,
        help="GPUs of each task that computes networks.",
    )
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
    other = "Any option of sbatch, for every stage or that of COMMAND: featurize:gres=gpu:1; repeatable."
    yield flag("--sbatch", multiple=True, metavar="[COMMAND:]KEY=VALUE", help=other)
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


@click.command(
    cls=Command,
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
    Example: bchisto submit --tasks 16 --time 4:00:00 -- featurize --images BACH --out run \\
        then boost --out run then evaluate run --out run/evaluation
    """
    from ..apps.submit import JobStage, Plan, cancel, new_folder, preview, refuse_live, start

    if options["cancel"]:
        if len(words) > 1:
            raise click.UsageError(f"{words[1]!r}: --cancel takes one run; leave it out")
        cancelled, run = ", ".join(cancel(Path(words[0]))), Path(words[0]).resolve()
        for lock in () if cancelled else (Path(f"{run}.submit"), *run.glob("*.submit")):
            with in_turn(lock, seconds=0) as alone:
                if not alone:
                    raise UnderWayError(
                        f"{words[0]}: a submit works on it at this moment; let it end, then cancel"
                    )
        none = "no job of this run is in the queue, and no local submit works on it"
        echo(f"cancelled: {cancelled}" if cancelled else none)
        return
    stages = list(_parsed(context, words))
    out = Path(stages[0][0].params["out"])
    run = out.parent if stages[0][0].info_name == "predict" else out
    with in_turn(out.absolute().with_name(f"{out.absolute().name}.submit"), seconds=0) as alone:
        if not options["force"]:
            refuse_live(
                run,
                [path for stage, _ in stages for path in (*_inputs(stage), stage.params["out"])],
            )
        if not alone:
            raise UnderWayError(f"{out}: another submit works on it at this moment; let it end")
        line = f"bchisto submit{given_options(context, context.command, but=('force',))} -- {shlex.join(words)}"
        python = options["python"] or quoted(sys.executable)
        plan = Plan(new_folder(run), options["scheduler"], line, str(Path.cwd()), python)
        plan.before, plan.at_once = list(options["before"]), options["at_once"]
        echo(*_plan(plan, run, stages, options))
        if not plan.stages:
            echo("nothing is missing")
            context.exit(NOTHING_NEW)
        if options["dry_run"]:
            echo(*preview(plan))
            return
        ended = start(plan)
    if ended < len(plan.stages):
        raise BchistoError(f"{plan.stages[ended].command} failed; its logs are in {plan.logs}")
    if plan.jobs:
        echo(f"jobs: {', '.join(plan.jobs)}")
    most = max(plan.stages, key=JobStage.left_out)
    # of Slurm none has ended yet
    done(
        [plan.folder],
        then=f"bchisto status {quoted(run)}",
        failures=most.left_out(),
        listed=most.listed,
    )


_Parsed = tuple[click.Context, list[str]]
"""A stage: the context of its command, from the command's own parser, and its words."""


def _parsed(context: click.Context, words: Sequence[str]) -> Iterator[_Parsed]:
    from ..apps.submit import SINGLE, STAGES, typed

    program, commands = (
        context.find_root().command,
        {typed(name): name for name in (*STAGES, *SINGLE)},
    )
    ends = [at for at, word in enumerate(words) if word == "then"]
    stages = [
        words[begin:end]
        for begin, end in zip([0, *(at + 1 for at in ends)], [*ends, len(words)], strict=True)
    ]
    for words_of in stages:
        given = next(
            (text for text in commands if [*words_of[: 1 + text.count(" ")]] == text.split()), ""
        )
        if not given:
            first = words_of[0] if words_of else ""
            raise click.UsageError(
                f"{first!r}: each stage begins with one of {', '.join(commands)}"
            )
        name, rest, command = (
            commands[given],
            [*words_of[1 + given.count(" ") :]],
            invoked(program, given.split()),
        )
        own = command.make_context(name, list(rest))
        refused = ("shard", "dask", "overwrite", "plan", "show") if name in STAGES else ("dask",)
        for parameter in command.params:
            if parameter.name in refused and own.params[parameter.name]:
                raise click.UsageError(
                    f"{name} {parameter.opts[0]}: does not go with submit; leave it out"
                )
        if own.params["out"] is None:
            raise click.UsageError(f"{name}: give --out")
        yield own, rest


def _plan(
    plan: Plan, run: Path, stages: Sequence[_Parsed], options: Mapping[str, Any]
) -> list[str]:
    """Check each stage as far as possible now, as its tasks would, and add those that are not complete to the plan.

    A stage is checked by a process of its own, which lists its units. If it needs what a stage of the plan makes, only
    its options and paths can be checked. Returns a line for each stage of the plan.
    """
    from ..apps import submit as jobs

    cluster = jobs.settings() if plan.scheduler == "slurm" else {}
    plan.cluster = cluster.get("ClusterName", "")
    tasks = min(options["tasks"], int(cluster.get("MaxArraySize", 1001)) - 1)
    earlier, lines, size = dict[str, click.Context](), [], 0.0
    last = jobs.last_stages(jobs.read_plans(run.absolute()))
    for context, words in stages:
        command, name = context.command, str(context.info_name)
        stage = jobs.JobStage(
            name, words, str(context.params["out"].absolute()), cpus=context.params.get("jobs")
        )
        stage.options = jobs.options_of(stage, options["sbatch"], options["time"], options["gpus"])
        divided = name in jobs.STAGES
        stage.rank = sum((own.command, own.run) == (name, stage.run) for own in plan.stages)
        waits = any(jobs.is_made(path, plan.stages) for path in _inputs(context))
        submitted = last.get((name, stage.run))
        same = (
            submitted
            if submitted is not None and submitted.words in (words, [*words, "--overwrite"])
            else None
        )
        with reworded(lambda text: f"{name}: {written(text, in_flags(command))}"):  # noqa: B023 - called inside the block
            _replace(stage, context, again=same is not None, waits=waits)
            if waits:
                _check_waiting(context, plan.stages, earlier)
        # the tasks of an earlier submission listed the units; a machine of another kind would list other keys
        begun = divided and same is not None and any(unit.done for unit in stage.units())
        stage.megabytes = 0 if same is None else same.megabytes
        missing = waits or begun or _check(stage)
        stage.options += jobs.memory(cluster, stage)
        stage.seen = next((entry.started for entry in reversed(stage.records())), "")
        earlier[name] = context
        changed = missing and name in ("featurize", "map", *jobs.SINGLE)  # as its check tells
        kept = submitted is None or submitted.is_done()  # else its jobs failed, or were cancelled
        if kept and not (waits or changed) and (not divided or stage.is_complete()):
            continue
        listed = divided and not waits and name != "reproduce"  # whose later steps have other units
        if divided:  # shards share each folder
            pieces = (
                max((len(folder.groups) for folder in stage.folders()), default=0)
                if listed
                else None
            )
            jobs.divide(stage, tasks, pieces, listed=not waits)
        if name == "featurize":
            done = [unit.done for unit in stage.units()] if listed else []
            size += _size_of(context) * (done.count(False) / len(done) if done else 1)
        plan.stages.append(stage)
        lines.append(jobs.describe(stage, listed=listed))
    jobs.refuse_full(run, size)
    return lines


def _inputs(context: click.Context) -> Iterator[Path]:
    """Yield the files and folders that a command reads."""
    for parameter in context.command.params:
        if isinstance(parameter.type, click.Path) and not isinstance(parameter.type, Output):
            value = context.params.get(parameter.name or "")
            yield from map(Path, value if isinstance(value, tuple) else filter(None, [value]))
    if context.command.name == "boost" and not context.params["features"]:
        yield context.params["out"] / "features"


def _replace(stage: JobStage, context: click.Context, *, again: bool, waits: bool) -> None:
    """Let a stage replace what an earlier submission made, of `predict` only the rows that changed."""
    from ..evaluate.report import is_evaluated

    if stage.command not in ("predict", "evaluate", "explain") or context.params["overwrite"]:
        return
    if stage.command == "predict":
        stage.words += [] if context.params["update"] else ["--update"]
    elif again and (waits or stage.command == "evaluate"):
        stage.words.append("--overwrite")
    elif waits and stage.command == "evaluate" and is_evaluated(context.params["out"]):
        raise InputError("{}: exists already; use {overwrite} with evaluate", context.params["out"])


def _check(stage: JobStage) -> bool:
    """Run a command with its checks only, and print its warnings; return whether there is something to do."""
    from ..apps.submit import STAGES, typed

    alone = ["--shard", "1/1"] if stage.command in STAGES else []  # so that nothing is merged
    words = [
        sys.executable,
        "-m",
        "bchisto",
        *typed(stage.command).split(),
        "--check",
        *alone,
        *stage.words,
    ]
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as ended:  # nosec B603
        assert ended.stderr is not None
        lines = [
            line
            for line in ended.stderr.read().splitlines()
            if not line.startswith(("wrote ", "next: "))
        ]
        _, status, used = os.wait4(ended.pid, 0)
        ended.returncode = os.waitstatus_to_exitcode(status)
    if ended.returncode in (0, NOTHING_NEW) or stage.left_out():
        echo(*lines, err=True)
        stage.megabytes = used.ru_maxrss // 1000 if stage.command in ("featurize", "predict") else 0
        return ended.returncode != NOTHING_NEW
    text = f"{stage.command}: {lines[-1].removeprefix('error: ') if lines else f'ended with {ended.returncode}'}"
    raise InputError(text) if ended.returncode == InputError.exit_code else BchistoError(text)


def _check_waiting(
    context: click.Context, stages: Sequence[JobStage], earlier: Mapping[str, click.Context]
) -> None:
    """Check paths and options of a stage without what earlier stages make.

    Parameters
    ----------
    context : click.Context
    stages : sequence of JobStage
        The stages of the plan before it.
    earlier : mapping
        The commands before it.
    """
    from ..apps.explain import settings_of
    from ..apps.submit import is_made
    from ..boost import BoostSettings, FeatureChoice
    from ..data import FoldChoice
    from ..evaluate import Aggregation, TableChoice, TwoClassView
    from ..predict import PredictSettings

    command, options = context.command, context.params
    for path in _inputs(context):
        if not path.exists() and not is_made(path, stages):
            raise MissingInputError(
                f"{path}: no such file or folder, and no earlier stage makes it; check the path"
            )
    labelled = earlier.get("featurize", earlier.get("finetune"))
    if command.name == "boost" and "featurize" in earlier:  # of images without features yet
        settings, table = from_options(BoostSettings, options), _images_of(earlier["featurize"])
        _ = from_options(FeatureChoice, options), settings.lightgbm  # refuses parameters
        choice = from_options(FoldChoice, options)
        if "none" in choice.folds:
            raise InputError(
                Message(
                    "{folds:none}: boost averages fold models; bchisto finetune trains on all images"
                )
            )
        from_options(TwoClassView, options).check(table.classes)
        choice.plans_of(
            [record for record in table.records if record.label is not None], seed=settings.seed
        )
    elif command.name == "evaluate":
        view = from_options(TwoClassView, options)
        from_options(Aggregation, options)
        from_options(TableChoice, options)
        if labelled is not None and all(is_made(source, stages) for source in options["sources"]):
            view.check(_images_of(labelled).classes)
    elif command.name == "predict":
        from_options(PredictSettings, options)
    elif command.name == "explain" and options["method"]:
        settings_of(
            options["method"],
            **{name: options[name] for name in ("layer", "target", "mpp", "window")},
        )


@functools.lru_cache(maxsize=2)
def _images_of(context: click.Context) -> Dataset:
    """Return the table of images that a command selects, which is read once."""
    from ..data import ImageSelection

    return from_options(ImageSelection, context.params).table()


def _size_of(context: click.Context) -> int:
    """Return the size of the parts of all feature files, and of one that is merged before its parts are removed."""
    from ..encoders import encoder_facts
    from ..featurize import resolve_settings

    settings, _ = resolve_settings(context.params)
    rows = len(_images_of(context).records) * settings.augmentations * len(settings.views)
    sizes = [
        rows * (4 * (encoder_facts(choice).dim or 0) + _ROW_BYTES) for choice in settings.encoders
    ]
    return sum(sizes) + max(sizes) // len(settings.views)
