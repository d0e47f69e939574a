"""``bchisto features``, ``featurize``, ``encoder``, ``next``, ``boost`` and ``finetune``."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..core import (
    IN_FILE,
    InputError,
    Message,
    aligned,
    converted,
    counted,
    from_options,
    reworded,
    written,
)
from ..core.jobs import Work
from .ending import (
    as_typed,
    done,
    echo,
    end_check,
    print_results,
    quoted,
    typed_names,
)
from .options import (
    CONFIG,
    OUT_FILE,
    PATH,
    Offered,
    Options,
    argument,
    command,
    flag,
    options_of,
    out_flag,
    preset_flag,
    preset_option,
)
from .terminal import in_flags

if TYPE_CHECKING:
    from ..featurize import Embeddings


def _features_options() -> Options:
    from ..featurize import POOLS

    yield argument("source", type=PATH)
    yield out_flag("Write the features into this .npz file.", type=OUT_FILE, required=False)
    yield flag(
        "--by",
        group="Features",
        metavar="COLUMN",
        help="Pool images with the same value in this column of their manifest, such as wsi.",
    )
    yield flag(
        "--pool",
        group="Features",
        type=Offered([pool.name for pool in POOLS]),
        help="How tiles become one row; the mean by default.",
    )
    yield flag("--overwrite", group="Output", is_flag=True, help="Replace an existing file.")


@command(options=_features_options)
def features(
    source: Path, out: Path | None, by: str | None, pool: str | None, overwrite: bool
) -> None:
    """Show what SOURCE, a feature file or embeddings of any format, holds, or write it into an .npz file.

    \b
    Example: bchisto features features_uni_v1
    Example: bchisto features run/features/resnet50-0.5-400.h5 \\
        --by wsi --out slides.npz
    """
    from ..featurize import export_features, read_embeddings

    if out is None:
        if by is not None or pool is not None:
            raise InputError(Message("{by} and {pool} change what {out:FILE} writes; give it too"))
        _show(read_embeddings(source))
        return
    embeddings = export_features(source, out, by=by, pool=pool, overwrite=overwrite)
    echo(_summary(embeddings))
    advice = f"bchisto boost --out RUN --features {quoted(out)}"
    if not any(embeddings.labels):
        advice += " --labels TABLE"
    done([out], then=advice)


def _show(embeddings: Embeddings) -> None:
    """Print what a file of embeddings holds: images, number of features, labels, encoder."""
    from ..encoders import card_of

    echo(_summary(embeddings))
    card = card_of(embeddings.facts)
    for name, value in embeddings.facts.items():
        if name not in ("pooled", "card"):
            if isinstance(value, list):
                value = ", ".join(map(str, value))
            echo(f"{name}: {value}")
    if card is not None:
        echo(f"licence of the weights: {card.terms()}")
        if card.source:
            echo(f"source of the weights: {card.source}")
    for label, count in sorted(Counter(filter(None, embeddings.labels)).items()):
        echo(f"label {label}: {counted(count, 'image')}")


def _summary(embeddings: Embeddings) -> str:
    """Return a line with the numbers of images, features, labels and patients, and the encoder."""
    images, rows, dim = embeddings.features.shape
    labelled = sum(map(bool, embeddings.labels))
    groups = len(set(filter(None, embeddings.groups)))
    summary = counted(images, "image")
    if rows > 1:
        summary += f", {counted(rows, 'row')} each"
    summary += f", {dim} numbers"
    if embeddings.pooled:
        summary += f", {embeddings.pooled}"
    return (
        f"{summary}, encoder {embeddings.encoder}, {labelled} with a label, "
        f"{counted(groups, 'patient')}"
    )


DECIDING = ("encoders", "views", "augmentations", "crops", "mode")
"""Settings that replace the default of a preset; any stain goes with a preset."""


def _options() -> Options:
    from ..data import ImageSelection
    from ..featurize import FeaturizeSettings

    yield from options_of(ImageSelection)
    yield out_flag("The run folder.")
    yield preset_option(", which is also the default.")
    yield from options_of(FeaturizeSettings, in_file=("stain_fallback",))
    yield from options_of(Work, but=("threads",))
    yield yes_flag()


@command(options=_options, first=("images", "out", "preset", "encoders", "jobs"))
@click.pass_context
def featurize(
    context: click.Context, /, out: Path, preset: str | None, yes: bool, **options: Any
) -> None:
    """Stage 1: extract features of images, into RUN/features.

    \b
    Example: bchisto featurize --images ICIAR2018_BACH_Challenge --out run \\
        --preset quick
    """
    from ..apps.check import (
        check_protocols,
        log_reading,
        plan_describing,
        recommended,
        refuse_long,
        to_label,
        training_options,
    )
    from ..data import FoldChoice, ImageSelection, facts_of
    from ..featurize import choose_settings
    from ..featurize import featurize as run

    work = from_options(Work, options)
    selection = from_options(ImageSelection, options).read_once()
    fetch_missing(options["encoders"], options["weights"], yes=yes)
    typed = typed_names(context)
    chosen = choose_settings(options, keep=typed)
    settings = chosen.settings
    if typed.isdisjoint({*DECIDING, "preset"}) and CONFIG not in context.meta:
        refuse_long(selection, run=out)
    if chosen.fits_views:
        settings = plan_describing(selection, settings, keep=typed)
    log_reading(selection.table(), settings, selection.given)
    result = run(selection, out=out, settings=settings, work=work)
    end_check(unchanged=result.merged)
    failures = len(result.failures)
    if not result.merged:
        echo(str(result.share))
        done(
            [],
            then=Message("the other shards, then the same command without {shard}, which merges"),
            failures=failures,
            listed=out / "failures.csv",
        )
        return
    stores = result.stores
    echo(
        f"{counted(result.images - failures, 'image')} with features in {counted(len(stores), 'file')}"
    )
    advice = "label images of two classes or more, then this command again"
    if not result.trainable and "wsi" in facts_of(selection.read()).columns:  # fields of slides
        advice = f"bchisto features {quoted(stores[0])} --by wsi --pool mean --out slides.npz"
    files = len([*stores[0].parent.glob("*.h5")])
    dataset = selection.table()
    labelling = to_label(dataset, quoted(out), files=files)
    if result.trainable:
        advice = f"bchisto boost --out {quoted(out)}"
        if preset:
            advice += f" --preset {preset}"
        if files > len(stores):
            advice += "".join(f" --features {quoted(path)}" for path in stores)
        protocol = recommended(check_protocols(dataset, FoldChoice()))
        advice += as_typed(
            boost,
            training_options(dataset, protocol, linear=chosen.has_defaults, few=bool(labelling)),
        )
    done(stores, then=[advice, *labelling], failures=failures, listed=out / "failures.csv")


def fetch_with_consent(name: str, *, revision: str | None = None, yes: bool) -> None:
    """Print licence and size of an encoder's weights, ask for consent, and download them, if they are not there.

    Raises
    ------
    InputError, WeightsError, DependencyError
        See `bchisto.encoders.fetch`.
    """
    from ..encoders import fetch_encoder

    def agrees(offer: str) -> bool:
        echo(offer, err=True)
        if not yes and not sys.stdin.isatty():
            raise InputError(Message("no terminal to confirm licence and size; add {yes}"))
        return yes or click.confirm("Fetch it?", err=True)

    echo(f"{name} is in {fetch_encoder(name, agrees=agrees, revision=revision)}", err=True)


def fetch_missing(encoders: Sequence[Any], weights: Sequence[str], *, yes: bool) -> None:
    """Download missing weights of encoders; if there is no terminal to ask on, only with ``--yes``."""
    from ..encoders import EncoderChoice, unfetched

    choices = converted(encoders, "encoders", tuple[EncoderChoice, ...])
    # `submit` checks commands with redirected output
    if yes or (sys.stdin.isatty() and sys.stderr.isatty()):
        for name in unfetched(choices, weights):
            fetch_with_consent(name, yes=yes)


def yes_flag() -> click.Option:
    """Return the option ``--yes``, with which a job downloads without asking."""
    return flag(
        "--yes", group="Features", is_flag=True, help="Download missing weights without asking."
    )


def _encoder_options() -> Options:
    from ..featurize import FeaturizeSettings

    yield argument("name", required=False)
    yield flag("--fetch", group="Input", is_flag=True, help="Fetch its published weights, once.")
    yield flag(
        "--check",
        group="Input",
        is_flag=True,
        help="Build it and run it on noise: size, normalisation, speed, licence.",
    )
    yield flag(
        "--clear",
        group="Output",
        is_flag=True,
        help="Remove the converted networks of all encoders, and what JAX compiled for a GPU; they are made again.",
    )
    yield flag(
        "--yes",
        group="Input",
        is_flag=True,
        help="Accept licence and size without a question, as a job must.",
    )
    yield flag(
        "--revision",
        group="Input",
        metavar="COMMIT",
        help="A commit, branch or tag to fetch; default: the newest one.",
    )
    weights = "Of the encoder that is checked: imagenet, random, or PATH."
    yield flag("--weights", group="Features", default="imagenet", help=weights)
    yield from options_of(FeaturizeSettings, "engine", "precision", in_file=("engine", "precision"))


def write_flag(name: str, value: str) -> str:
    """Write a parameter as a flag of `encoder` or `featurize`, as messages on encoders and of `doctor` need.

    It is a function of a module, so that another process can import it.
    """
    return in_flags(encoder, featurize)(name, value)


@command(options=_encoder_options)
@reworded(lambda text: written(text, write_flag))
def encoder(
    name: str | None,
    fetch: bool,
    check: bool,
    clear: bool,
    yes: bool,
    revision: str | None,
    **options: str,
) -> None:
    """List encoders, show what one needs, fetch its weights, try one.

    Without NAME, prints every encoder that there is a name for, and how to bring your own. With it, prints what it
    takes and gives, its licence, and how to get its weights. Fetched weights are kept in ~/.cache/bchisto/encoders, or
    in the folder that BCHISTO_ENCODERS names, and need no network from then on.

    \b
    Example: bchisto encoder uni2-h
    Example: bchisto encoder midnight-12k --fetch
    """
    from ..encoders import describe_encoder, list_all_encoders, trim_kept

    if name is None:
        if fetch or check:
            raise InputError(Message("{fetch} and {check} need the name of an encoder"))
        if clear:
            removed = trim_kept(0)
            networks = counted(removed.count("networks"), "network")
            echo(f"removed: {networks}, {counted(removed.count('compiled'), 'compiled function')}")
        else:
            echo(*aligned(list_all_encoders()))
        return
    if clear:
        raise InputError(
            Message("{clear} removes what was made of all encoders; leave {} out", name)
        )
    if fetch:
        fetch_with_consent(name, revision=revision, yes=yes)
        if not check:
            command = f"bchisto encoder {name} --check"
            echo(f"next: {command}", err=True, bold=True)
    if check:
        from ..encoders import EncoderChoice, check_encoder
        from ..featurize import best_engine

        if options["engine"] == "auto":
            options["engine"] = best_engine([EncoderChoice.parse(name)])
        echo(*aligned(check_encoder(name, **options)))
    if not (fetch or check):
        lines = [(what, written(value, write_flag)) for what, value in describe_encoder(name)]
        echo(*aligned(lines))


def _next_options() -> Options:
    from ..apps.next import NextSettings

    yield argument("run", type=PATH)
    yield out_flag("Folder for a manifest and a page; default: RUN/next.", required=False)
    yield from options_of(NextSettings)


@command(options=_next_options)
def next(**options: Any) -> None:
    """Choose images of RUN to label next: a random sample, or first those of which a model is unsure.

    Doubt balances the classes, and shows first what a model gets wrong; it is not shown to rank better than random.

    RUN has the features of all images, with and without a label. Labels that you write into the manifest count at the
    next call, which goes on with the next round.

    \b
    Example: bchisto next run --count 20
    """
    from ..apps.next import choose_next

    result = from_options(choose_next, options)
    echo(str(result), *result.notes)
    counts = ", ".join(f"{name} {count}" for name, count in result.labels.items())
    echo(f"labels by now: {counts or 'none'}")
    for curve in result.curves:
        echo(*str(curve).splitlines())
    manifest = result.folder / "manifest.csv"
    advice: list[str] = [
        Message("fill in the column label of {}, then run the same command", manifest)
    ]
    config = result.folder / "featurize.json"
    if result.number > 1 and config.is_file():
        advice.append(f"bchisto featurize --config {quoted(config)}")
    done([manifest, result.folder / "index.html"], then=advice)


_OF_TABLES = (
    "dataset",
    "label_from",
    "path_column",
    "label_column",
    "group_column",
    "mpp",
    "only",
)
"""Options for reading images that a table needs no more after `bchisto data check --table` wrote it."""


def _finetune_options() -> Options:
    from ..data import FoldChoice, ImageSelection
    from ..evaluate import TwoClassView
    from ..finetune import FinetuneSettings

    yield from options_of(ImageSelection, "images")
    yield out_flag("The run folder.")
    yield from options_of(FoldChoice, in_file=("repeats", "group_by"), folds={"default": ("10",)})
    yield from options_of(FinetuneSettings)
    yield flag(
        "--tensorboard",
        group=IN_FILE,
        is_flag=True,
        help="Also write curves, weights and the graph for TensorBoard.",
    )
    by_evaluate = ("rule", "thresholds", "sensitivities", "prevalences")
    yield from options_of(TwoClassView, in_file=by_evaluate)
    yield from options_of(ImageSelection, but=("images",), in_file=_OF_TABLES)
    yield from options_of(Work, in_file=("threads",))


@command(options=_finetune_options, first=("images", "out", "network", "folds", "epochs"))
def finetune(out: Path, **options: Any) -> None:
    """Train a CNN over folds, for the same tables as boost.

    \b
    Example: bchisto finetune --images BreaKHis_v1 --network breakhis-resnet \\
        --folds 5 --out run
    """
    from ..finetune import finetune as run

    print_results(
        lambda: from_options(run, options, out=out),
        run=out,
        then=lambda model: f"bchisto evaluate {quoted(out)} --out {quoted(out / 'evaluation')}",
        listed=out / "finetune" / "failures.csv",
    )


def _boost_options() -> Options:
    from ..boost import PRESET_OPTIONS, BoostSettings, FeatureChoice
    from ..data import FoldChoice
    from ..evaluate import TwoClassView

    yield out_flag("The run folder.")
    yield from options_of(FeatureChoice, "features", "labels")
    yield from options_of(FoldChoice, "folds", "repeats", "group_by")
    with_preset = preset_flag(lambda name: PRESET_OPTIONS.get(name, {}))
    yield from options_of(
        BoostSettings, "preset", "heads", "seeds", "params", "call", "name", preset=with_preset
    )
    yield from options_of(FeatureChoice, "classes")
    yield from options_of(BoostSettings, "seed")
    yield from options_of(TwoClassView, in_file=("rule", "prevalences"))
    yield from options_of(Work, "jobs", "shard", "dask", "overwrite", "checks")


@command(options=_boost_options, first=("out", "preset", "heads", "folds", "jobs"))
def boost(out: Path, **options: Any) -> None:
    """Stage 2: train classifiers on features, cross-validated.

    \b
    Example: bchisto boost --out run --folds 10 --seeds 5
    """
    from ..boost import train

    print_results(
        lambda: from_options(train, options, out=out),
        run=out,
        then=lambda model: prediction_with(out, model),
    )


def prediction_with(run: Path, model: Path) -> str:
    """Return the command that predicts with the best model of a run, or with this one if none can be chosen."""
    from ..predict import find_bundle

    with contextlib.suppress(InputError):
        model = find_bundle(run, quiet=True)
    return f"bchisto predict {quoted(model)} {_new(model)} --out predictions.csv"


def _new(model: Path) -> str:
    """Return the option for the input of a model file: images, or a file of features for each imported feature file."""
    from ..core.models import bundle_stores
    from ..featurize import IMPORTED

    imported = [
        settings for settings in bundle_stores(model).values() if settings.get("mode") == IMPORTED
    ]
    return " ".join(["--features FILE"] * len(imported)) or "--images DIR"
