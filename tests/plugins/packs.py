"""What the packs of finished models hold."""

import re

import numpy as np
from bchisto.core.jobs import Work

ONE_JOB = Work(jobs=1)


def packs_in(folder):
    """Return the packs of boosted models below a folder: ``seed0-fold1`` to path, in order of names."""
    return {
        re.sub(r"-[0-9a-f]{16}$", "", path.stem): path
        for path in sorted(folder.rglob("*seed*.npz"))
    }


def model_file(run):
    """Return the only model file below a folder, also if it is not better than chance."""
    (file,) = run.rglob("model.bchisto")
    return file


def models_in(folder):
    """Return what the heads saved: ``seed0-fold1`` to bytes."""
    return {name: np.load(path)["model"].tobytes() for name, path in packs_in(folder).items()}


PARAMS = {"min_data_in_leaf": 2, "num_iterations": 8}
"""Parameters of LightGBM with which twelve images train quickly."""


LINEAR = {"params": {}, "settings": {"heads": ("logistic",)}}
"""What `train_small` trains a linear model with."""


def featurize_here(images, run, settings):
    """Describe images in this process."""
    from bchisto.core.jobs import Work
    from bchisto.featurize import featurize

    return featurize(images, out=run, settings=settings, work=Work(jobs=1))


def train_small(run, *folds, seeds=1, params=PARAMS, features=(), view=None, settings=None, **work):
    """Train in a run folder by three folds, or by those given, in this process and with few trees."""
    from bchisto.boost import BoostSettings, train

    chosen = BoostSettings(seeds=seeds, params=params, **settings or {})
    work = Work(**{"jobs": 1, **work})
    return train(
        out=run,
        folds=list(folds) or ["3"],
        features=features,
        settings=chosen,
        work=work,
        view=view,
    )


def predict_here(model, images, out, **more):
    """Predict in this process."""
    from bchisto.predict import predict

    return predict(model, images, out=out, work=ONE_JOB, **more)
