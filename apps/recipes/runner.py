"""Runs the variants of a recipe, or estimates the time of the same steps."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from ...core import Banner, Content, InputError, Kind, ReportError, SettingsConflictError, as_banner
from ...core.formats import file_sha256, read_rows
from ...core.jobs import key_of, scratch_folder
from ...crossval import CrossValidation, chosen_anew
from ...evaluate import Panel, compare_pairs, holm, unlike_pairs
from ...evaluate.report import PublishedTable
from ...finetune import build_model
from ...predict import predict
from .estimate import Estimate, estimate_step, untrained
from .image_sets import ImageSet, make_image_sets
from .pictures import Trained
from .recipe import Recipe, ReproduceRequest, Scope
from .settings import build_steps
from .steps import FinetuneStep, RecipeStep
from .tables import Key, Obtained, Results, Runs, compare_published, published_predictions, stem_of

_log = logging.getLogger(__name__)


def run_variants(recipe: Recipe, request: ReproduceRequest) -> RecipeRun:
    """Run every chosen variant with each seed (and at each magnification of the recipe), and compare the figures.

    Figures and reports are those of the first seed.

    Raises
    ------
    InputError
        See `reproduce`. If a variant or magnification has too few images, a quick run leaves it out with a warning.
    """
    test_images = find_test_images(recipe, request.scope)  # before work of days
    first, *others = [
        RecipeRun(replace(recipe, raised=number), request.at_seed(number))
        for number in range(request.seeds)
    ]
    for recipe_run in (first, *others):
        recipe_run.run()
    if request.work.shard is None:
        first.compare(test_images)
        first.failed += [line for other in others for line in other.failed]
    return first


class RecipeRun:
    """A run of a recipe with one seed: its variants and images, and the results and notes so far.

    Attributes
    ----------
    variants : dict
        Name of a variant to its steps.
    image_sets : list of ImageSet
    notes : list of str
        Notes on what was left out, and on comparisons.
    results : list of CrossValidation
        Results of each variant, in the order of the request.
    obtained : dict
        Variant and magnification to the results that tables show.
    failed : list of str
        One line for each report of a step that could not be written.
    trained : list of Trained
        The trained networks.
    published : list of PublishedTable
    """

    def __init__(self, recipe: Recipe, request: ReproduceRequest) -> None:
        self._recipe = recipe
        self._request = request
        self.variants = {
            name: build_steps(recipe, request, name)
            for name in recipe.chosen(request.scope.variants)
        }
        self.image_sets, self.notes = make_image_sets(recipe, request)
        self.results: list[CrossValidation] = []
        self.obtained: dict[Key, Obtained] = {}
        self.failed: list[str] = []
        self.trained: list[Trained] = []
        self.published: list[PublishedTable] = []
        self._left_out: dict[tuple[str, str], list[str]] = {}

    @property
    def banners(self) -> tuple[Banner, ...]:
        """Warnings at the top of the report."""
        result_banners = (banner for result in self.results for banner in result.banners)
        set_notes = (note for image_set in self.image_sets for note in image_set.notes)
        texts = [*result_banners, *set_notes, *self._recipe.notes, *self.notes]
        return tuple(map(as_banner, dict.fromkeys(texts)))

    def run(self) -> None:
        """Run everything.

        Raises
        ------
        InputError
            See `run_variants`.
        """
        if not self._request.quick:
            # everything is checked first, since it may work for days
            for image_set, steps in product(self.image_sets, self.variants.values()):
                for step in steps:
                    step.check(image_set)
        for image_set in self.image_sets:
            done_steps: list[RecipeStep] = []
            for name in self.variants:
                self._run_variant(image_set, name, done=done_steps)
        for (magnification, reason), names in self._left_out.items():
            variants = "every variant" if names == list(self.variants) else ", ".join(names)
            self.notes.append(f"{variants}{magnification} was left out: {reason}")
            _log.warning(self.notes[-1])
        for image_set in self.image_sets:
            image_set.datasets.clear()  # so that further seeds do not need more memory
        run_count = len(self.image_sets) * len(self.variants)
        if sum(map(len, self._left_out.values())) == run_count or (
            not self.results and self._request.work.shard is None
        ):
            raise InputError(
                "{}: too few images for {quick}: {}", self._request.images, self.notes[-1]
            )

    def compare(self, test_images: Mapping[str, Path]) -> None:
        """Compare the figures with the published ones; predict the test images."""
        recipe = self._recipe
        self.results = chosen_anew(self.results)
        self.published = compare_published(
            recipe.published,
            Runs(
                first=recipe.first,
                obtained=self.obtained,
                magnifications=recipe.magnifications,
                parameters=self._sizes(),
                tested=self._predicted(test_images),
            ),
            note=comparable_note(self.banners),
        )

    def _predicted(self, images: Mapping[str, Path]) -> dict[str, str]:
        """Predict test images with the models of the published variant, once; return classes by names of images.

        The table is written to a folder that is named after the content of the model file and the images. Nothing is
        predicted if a quick run has left out that variant, of which it warns.
        """
        trained = self.obtained.get((self._recipe.first, None))
        if trained is None or not images:
            return {}
        request = self._request
        model = trained.folder / "model.bchisto"
        contents = {name: file_sha256(path) for name, path in images.items()}
        key = key_of("test images 1", model=file_sha256(model), images=contents)
        folder = request.run / "reproduce" / self._recipe.name
        table = folder / f"test-images-{key[:16]}" / "predictions.csv"
        if not table.is_file():
            predict(
                model,
                list(images.values()),
                out=table,
                weights=request.weights,
                work=request.work,
            )
        return {stem_of(row["image_id"]): row["predicted"] for row in read_rows(table)}

    def _sizes(self) -> dict[str, int]:
        """Return the number of parameters of each network that tables list, by the names of variants."""
        rows = {
            name
            for table in self._recipe.published
            if table.get("path") == "parameters"
            for name in table["rows"]
        }
        sizes = {}
        for (name, _), obtained in self.obtained.items():
            for step in self.variants[name]:
                if name in rows and isinstance(step, FinetuneStep):
                    classes = len(obtained.panel.table.classes)
                    model = build_model(untrained(step.settings), classes=classes, fold=0)
                    sizes[name] = model.count_params()
        return sizes

    def _run_variant(self, image_set: ImageSet, name: str, *, done: list[RecipeStep]) -> None:
        """Run the steps of a variant that are not `done`; a quick run skips a variant with too few images."""
        try:
            results = self._run_steps(image_set, name, done=done)
        except InputError as error:
            is_only_one = len(self.variants) == 1 and image_set.magnification is None
            if not self._request.quick or is_only_one or isinstance(error, SettingsConflictError):
                raise
            self._left_out.setdefault((image_set.where, str(error)), []).append(name)
            return
        for result in results:
            if result.panel is not None:
                label = f"{name}{image_set.where}"
                if len(results) > 1:
                    label = f"{label}: {result.folder.name}"
                # named after the variant, since others may have the same network
                panel = replace(result.panel, table=replace(result.panel.table, name=label))
                result = replace(result, panel=panel)
                key = (name, image_set.magnification)
                self.obtained.setdefault(key, Obtained(result.folder, panel))
            self.results.append(result)

    def _run_steps(
        self, image_set: ImageSet, name: str, *, done: list[RecipeStep]
    ) -> list[CrossValidation]:
        """Run the steps of a variant that are not `done`, and return what they trained."""
        if self._request.quick:  # all steps are checked before the first begins
            for step in self.variants[name]:
                step.check(image_set)
        results: list[CrossValidation] = []
        notes = [*image_set.notes, *self._recipe.notes]
        for step in self.variants[name]:
            if step in done:  # variants that train on the same features share their extraction
                continue
            _log.info("%s: %s%s: %s", self._recipe.name, name, image_set.where, step.kind)
            try:
                protocols = step.run(image_set, work=self._request.work, notes=notes)
            except ReportError as error:  # everything else is done; reported at the end
                self.failed.append(str(error))
                protocols = error.results
            if isinstance(step, FinetuneStep):
                images = image_set.selection(step.reading)
                self.trained += [
                    Trained(name, image_set.run, images, result) for result in protocols
                ]
            results += protocols
            done.append(step)
        return results


def pairs_of(obtained: Results) -> list[Content]:
    """Test the first variant against each other variant, at the same magnification."""
    first_panels: dict[int | None, Panel] = {}
    pairs = []
    for (_, magnification), run in obtained.items():
        panels = (first_panels.setdefault(magnification, run.panel), run.panel)
        if panels[0] is run.panel:
            continue
        tables = [panel.table for panel in panels]
        for note in unlike_pairs(tables, rows=False):
            _log.warning("%s", note)
        pairs += compare_pairs(tables, views=[panel.view for panel in panels], by="accuracy")
    return holm(pairs)


def estimate_variants(recipe: Recipe, request: ReproduceRequest) -> list[Estimate]:
    """Estimate units, time and disk space of `run_variants`, without writing anything.

    Raises
    ------
    InputError
        See `reproduce`.
    """
    estimates = []
    done_steps: list[RecipeStep] = []
    variants = recipe.chosen(request.scope.variants)
    with scratch_folder() as folder:  # for the lists of a quick run
        image_sets, _ = make_image_sets(recipe, replace(request, run=Path(folder)))
        for name in variants:
            for step in build_steps(recipe, request, name):
                if step in done_steps:
                    continue
                _log.info("%s: timing a few units of the step %s", name, step.kind)
                estimate = estimate_step(step, image_sets, work=request.work, before=done_steps)
                if len(variants) > 1:
                    estimate = estimate._replace(stage=f"{name}: {step.kind}")
                estimates.append(estimate)
                done_steps.append(step)
    repeats = [
        estimate._replace(stage=f"{estimate.stage}, seed {number}")
        for number in range(1, request.seeds)
        for estimate in estimates
    ]
    return estimates + repeats


_COMPARABLE = (Kind.PATIENTS_UNKNOWN, Kind.PATIENTS_MIXED, Kind.NO_VALIDATION, Kind.BALANCED)
"""Banners with which figures can still be compared: the source has the same limitation, or the variant is meant so."""


def comparable_note(banners: Sequence[Banner]) -> str:
    """Return a note on why figures cannot be compared, from the headings of banners; else empty."""
    headings = [
        banner.heading for banner in banners if banner.heading and banner.kind not in _COMPARABLE
    ]
    if not headings:
        return ""
    return f"Not comparable ({', '.join(dict.fromkeys(headings)).lower()})."


def find_test_images(recipe: Recipe, scope: Scope) -> dict[str, Path]:
    """Return the files in a folder and below that are images of a recipe's published predictions, by their names.

    Raises
    ------
    InputError
        The recipe has no published predictions of test images, the folder has none of these images, or the variants
        leave out the published one, which predicts them.
    """
    folder = scope.test_images
    if folder is None:
        return {}
    names = {
        name
        for table in recipe.published
        if table.get("kind") == "agreement"
        for name in published_predictions(table)
    }
    if not names:
        raise InputError(
            "{test_images} {}: {} has no published predictions of test images", folder, recipe.name
        )
    if recipe.first not in recipe.chosen(scope.variants):
        raise InputError(
            "{test_images} {}: add {variants:{}}, which predicts them", folder, recipe.first
        )
    files = {stem_of(path.name): path for path in sorted(folder.rglob("*")) if path.is_file()}
    present = sorted(names & files.keys())
    if not present:
        raise InputError(
            "{test_images} {}: no test image is in it; their names are {} and so on",
            folder,
            min(names),
        )
    return {name: files[name] for name in present}
