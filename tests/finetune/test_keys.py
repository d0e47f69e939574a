"""Folders of fine-tuned networks are held to their settings, by every fold and training state in them."""

from dataclasses import replace

import pytest
from bchisto.core import InputError, SettingsConflictError
from bchisto.core.jobs import Work
from bchisto.finetune import FinetuneSettings, finetune

pytestmark = pytest.mark.slow

SETTINGS = FinetuneSettings(
    "convs", weights="random", size=32, epochs=1, batch_size=4, validation=False, augmentations=()
)


def run(tissue, out, settings=SETTINGS, **how):
    return finetune(tissue, out=out, settings=settings, folds=["2"], work=Work(jobs=1, **how))


def test_settings_are_written_when_something_is_made_under_them(tissue, tmp_path):
    """A refusal of the training itself is no settings: the command that it asks for then works."""
    with pytest.raises(InputError, match="`batch_size` 99: more than the"):
        run(tissue, tmp_path, replace(SETTINGS, batch_size=99))
    run(tissue, tmp_path)
    with pytest.raises(
        SettingsConflictError,
        match=r"made with other settings: learning rate .*; use the same settings, another `name` or `out`",
    ):
        run(tissue, tmp_path, replace(SETTINGS, learning_rate=0.5))
