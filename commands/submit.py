"""``bchisto submit``: a run as a chain of jobs, checked before it is submitted."""

from __future__ import annotations

import contextlib
import functools
import io
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..core import BchistoError, InputError, Message, MissingInputError, from_options, message_of, written
from .ending import done, echo, quoted
from .options import Command, argument, flag
from .terminal import in_flags

if TYPE_CHECKING:
    from ..apps.submit import Request
    from ..data import Dataset


def is_made(path: Path, outputs: Iterable[Path]) -> bool:
    """Return whether a path is the output of an earlier stage, or lies in it."""
    return any(path.absolute().is_relative_to(output.absolute()) for output in outputs)


def refuse_missing(paths: Iterable[Path], outputs: Sequence[Path]) -> None:
    """Refuse paths that do not exist and that no earlier stage makes.

    Raises
    ------
    MissingInputError
        The message names the path.
    """
    for path in paths:
        if not path.exists() and not is_made(path, outputs):
            raise MissingInputError(f"{path}: no such file or folder, and no earlier stage makes it; check the path")


def waits_for(run: Path, out: Path, features: Sequence[Path]) -> bool:
    """Return whether models of a run need features that the stage `featurize` of `run` has not made yet."""
    from ..apps.submit import stores_of
    from ..featurize import is_described

    stores = stores_of(run)
    return not is_described(run) and any(path.absolute() in stores for path in features or [out / "features"])


@functools.lru_cache(maxsize=2)
def images_of(context: click.Context) -> Dataset:
    """Return the table of images that a command selects, which is read once."""
    from ..data import ImageSelection

    return from_options(ImageSelection, context.params).table()


def check_boost(options: dict[str, Any], describing: click.Context) -> int:
    """Check options of boost for images without features yet, and return the number of pieces of its work."""
    from ..apps.submit import stores_of
    from ..boost import BoostSettings, FeatureChoice
    from ..data import FoldChoice
    from ..evaluate import TwoClassView
    from ..featurize import resolve_settings

    settings, chosen = from_options(BoostSettings, options), from_options(FeatureChoice, options)
    _ = settings.lightgbm  # refuses parameters
    if "none" in from_options(FoldChoice, options).folds:
        raise InputError(Message("{folds:none}: boost averages fold models; bchisto finetune trains on all images"))
    stores = stores_of(Path(describing.params["out"]))
    labels = [] if chosen.labels is None else [chosen.labels]
    refuse_missing([*(path for path in chosen.features if path.absolute() not in stores), *labels], ())
    table = images_of(describing)
    records = [record for record in table.records if record.label is not None]
    from_options(TwoClassView, options).check(table.classes)
    plans = from_options(FoldChoice, options).plans(
        [record.image_id for record in records],
        labels=[record.label or "" for record in records],
        groups=[record.group for record in records],
        seed=settings.seed,
        default="10",
    )
    features, _ = resolve_settings(describing.params)
    number = len(chosen.features) or len(features.encoders) * len(features.views)
    return number * max(len(plan.folds) for plan in plans)


def check_single(name: str, options: dict[str, Any], outputs: Sequence[Path], selecting: click.Context | None) -> None:
    """Check paths and options of a single job, as far as possible without the output of the stages before it.

    Parameters
    ----------
    name : {"evaluate", "predict", "explain"}
    options : dict
    outputs : sequence of Path
        Outputs of the stages before it.
    selecting : click.Context, optional
        The stage before it that takes labelled images.
    """
    from ..apps.explain import settings_of
    from ..evaluate import Aggregation, TableChoice, TwoClassView, read_predictions
    from ..predict import PredictSettings

    if name == "evaluate":
        sources, view = [*options["sources"], *options["against"]], from_options(TwoClassView, options)
        refuse_missing(sources, outputs)
        from_options(Aggregation, options)
        choice = from_options(TableChoice, options)
        for path in (source for source in sources if source.is_file() and not is_made(source, outputs)):
            for table in read_predictions(path, classes=choice.classes, predicted_from=choice.predicted_from):
                view.check(table.classes)
        if selecting is not None and all(is_made(source, outputs) for source in options["sources"]):
            view.check(images_of(selecting).classes)
        return
    refuse_missing([options["model"], *map(Path, (*options["images"], *options["more_images"]))], outputs)
    if name == "predict":
        refuse_missing(map(Path, options["features"]), outputs)
        from_options(PredictSettings, options)
    elif options["method"]:
        settings_of(options["method"], **{name: options[name] for name in ("layer", "target", "mpp", "window")})


_THEN = "then"

_ROW_BYTES = 100
"""What a row of a feature file takes at least beside its numbers, see docs/cluster.md."""


def _options() -> Iterator[click.Parameter]:
    from ..apps.submit import SCHEDULERS

    yield flag("--scheduler", type=click.Choice(SCHEDULERS), default="slurm", help="local: processes of this machine.")
    yield flag("--tasks", type=click.IntRange(1, 1000), default=8, help="Shards of a stage, at most.")
    yield flag(
        "--time",
        help="Time limit of a task, as sbatch takes it; a task that reaches it continues in another round. Default: "
        "the partition's.",
    )
    yield flag(
        "--sbatch",
        multiple=True,
        metavar="[COMMAND:]KEY=VALUE",
        help="Any option of sbatch, for every stage or that of COMMAND: featurize:gres=gpu:1; repeatable.",
    )
    yield flag(
        "--gpus",
        type=click.IntRange(0),
        default=0,
        help="GPUs of each task that computes networks; boost and evaluate get none.",
    )
    yield flag("--dry-run", is_flag=True, help="Check and print all of it, and submit nothing.")
    yield flag("--cancel", is_flag=True, help="Cancel the jobs of a run: bchisto submit --cancel RUN.")
    yield flag("--force", is_flag=True, help="Submit although earlier jobs of the run live, or may live.")
    yield argument(
        "words", nargs=-1, type=click.UNPROCESSED, required=True, metavar="-- COMMAND ... [then COMMAND ...]"
    )


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

    \b
    Example: bchisto submit --tasks 16 --time 4:00:00 -- featurize --images BACH --out run \\
        then boost --out run then evaluate run --out run/evaluation
    """
    from ..apps.submit import cancel, describe, make_plan, preview, refuse_live, start

    if options["cancel"]:
        if len(words) > 1:
            raise click.UsageError(f"{words[1]!r}: --cancel takes one run; leave it out")
        cancelled = cancel(Path(words[0]))
        none = "no job of this run is in the queue, and no local submit works on it"
        echo(f"cancelled: {', '.join(cancelled)}" if cancelled else none)
        return
    stages = _parsed(context, words)
    run = _output(stages[0][1])
    run = run.parent if stages[0][0].name == "predict" else run
    refuse_live(run, force=options["force"])
    line = shlex.join(["bchisto", *_typed(options), "--", *words])
    requests = _checked(stages)
    given = {"scheduler": options["scheduler"], "tasks": options["tasks"], "options": options["sbatch"]}
    given |= {"gpus": options["gpus"], "time": options["time"]}
    plan = make_plan(run, requests, **given, line=line)
    for stage in plan.stages:
        echo(describe(stage))
    if not plan.stages:
        echo("nothing is missing")
    elif options["dry_run"]:
        echo(*preview(plan))
    else:
        ended = start(plan)
        if ended < len(plan.stages):
            raise BchistoError(f"{plan.stages[ended].command} failed; its logs are in {plan.logs}")
        if plan.jobs:
            echo(f"jobs: {', '.join(plan.jobs)}")
        done([plan.folder], then=f"bchisto status {quoted(run)}")


def _typed(options: dict[str, Any]) -> list[str]:
    """Return the command `submit` with the options that are needed to submit again."""
    words = ["submit", "--scheduler", options["scheduler"], "--tasks", str(options["tasks"])]
    words += ["--time", options["time"]] if options["time"] else []
    words += ["--gpus", str(options["gpus"])] if options["gpus"] else []
    return words + [word for option in options["sbatch"] for word in ("--sbatch", option)]


def _parsed(context: click.Context, words: Sequence[str]) -> list[tuple[click.Command, click.Context, tuple[str, ...]]]:
    """Return the command of each stage, its context from the command's own parser, and its words."""
    from ..apps.submit import SINGLE, STAGES

    program = context.find_root().command
    assert isinstance(program, click.Group)
    commands = (*STAGES, *SINGLE)
    stages: list[list[str]] = [[]]
    for word in words:
        if word == _THEN:
            stages.append([])
        else:
            stages[-1].append(word)
    parsed = []
    for name, *rest in (stage or [""] for stage in stages):
        command = program.get_command(context, name) if name in commands else None
        if command is None:
            raise click.UsageError(f"{name!r}: each stage begins with one of {', '.join(commands)}")
        own = command.make_context(name, list(rest))
        for option, written_as in {"plan": "--plan", "show": "--settings"}.items():  # of reproduce
            if own.params.get(option):
                raise click.UsageError(f"{name} {written_as}: only prints; type it without submit, or leave it out")
        for option in ("shard", "dask", "overwrite") if name in STAGES else ("dask",):
            if own.params.get(option):
                raise click.UsageError(
                    f"{name} --{option}: does not go with submit, which sees to that itself; leave it out"
                )
        if own.params.get("out") is None:
            raise click.UsageError(f"{name}: give --out")
        parsed.append((command, own, tuple(rest)))
    return parsed


def _checked(stages: Sequence[tuple[click.Command, click.Context, tuple[str, ...]]]) -> list[Request]:
    """Check each stage as far as possible now, as its tasks would, and list its units."""
    from ..apps.submit import STAGES, Request, count_groups, was_submitted

    requests: list[Request] = []
    run = _output(stages[0][1])
    describing: click.Context | None = None
    selecting: click.Context | None = None
    most: int | None
    for command, context, words in stages:
        name, out, cpus = command.name or "", _output(context), context.params.get("jobs")
        outputs = [request.out for request in requests]
        features = context.params.get("features") or ()
        waits = name == "boost" and describing is not None and waits_for(_output(describing), out, features)
        if name in STAGES:
            with _named(command):
                if waits and describing is not None:
                    most = check_boost(context.params, describing)
                else:
                    if not was_submitted(run, name, words):
                        _look(command, context)
                    most = None if name == "reproduce" else count_groups(out, name)  # its later steps have other units
            describing = context if name == "featurize" else describing
            selecting = context if name in ("featurize", "finetune") else selecting
            size = functools.partial(_unseen(_size_of_features), context) if name == "featurize" else lambda: 0
            requests.append(Request(name, words, out, cpus, most=most, size=size, checked=not waits))
        else:
            finished = not context.params["overwrite"] and _is_finished(name, out)
            model = context.params.get("model")
            with _named(command):
                if model is None or (is_made(model, outputs) and not model.is_file()):
                    check_single(name, context.params, outputs, selecting)
                elif not finished:
                    _look(command, context)
            requests.append(Request(name, words, out, cpus, there=finished))
    return requests


def _output(context: click.Context) -> Path:
    return Path(context.params["out"])


def _is_finished(name: str, out: Path) -> bool:
    """Return whether the work of a single job is done."""
    from ..core.runs import read_records
    from .evaluate import is_evaluated

    if name == "evaluate":
        return is_evaluated(out)
    record = out.with_name(f"{out.name}.run.json") if name == "predict" else out / "run.json"
    last = read_records(record)[-1] if record.is_file() else None
    return last is not None and (last.command, last.status) == (name, "ok")


@contextlib.contextmanager
def _named(command: click.Command) -> Iterator[None]:
    """Add the name of the stage to errors inside the block, and write parameters as its flags."""
    try:
        yield
    except BchistoError as error:
        text = f"{command.name}: {written(message_of(error), in_flags(command))}"
        raise InputError(text) if error.exit_code == InputError.exit_code else BchistoError(text) from error


def _look(command: click.Command, context: click.Context) -> None:
    """Run a command with only its checks, up to its first unit, without its output."""
    from ..apps.submit import SINGLE

    context.params |= {"checks": True, **({} if command.name in SINGLE else {"shard": "1/1"})}
    with context, contextlib.suppress(click.exceptions.Exit):
        _unseen(command.invoke)(context)


def _unseen(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does the same, but prints nothing."""

    @functools.wraps(call)
    def silent(*words: Any) -> Any:
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            return call(*words)

    return silent


def _size_of_features(context: click.Context) -> int:
    """Return the size of the parts of all feature files, and of one that is merged before its parts are removed."""
    from ..encoders import encoder_facts
    from ..featurize import resolve_settings

    settings, _ = resolve_settings(context.params)
    dims = [encoder_facts(choice).dim or 0 for choice in settings.encoders for _ in settings.views]
    rows = len(images_of(context).records) * settings.augmentations
    sizes = [rows * (4 * dim + _ROW_BYTES) for dim in dims]
    return sum(sizes) + max(sizes)
