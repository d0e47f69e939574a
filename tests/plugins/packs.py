"""What the packs of finished models hold."""

import re

import numpy as np


def packs_in(folder):
    """Return the packs of boosted models below a folder: ``seed0-fold1`` to path, in order of names."""
    return {re.sub(r"-[0-9a-f]{16}$", "", path.stem): path for path in sorted(folder.rglob("*seed*.npz"))}


def models_in(folder):
    """Return what the heads saved: ``seed0-fold1`` to bytes."""
    return {name: np.load(path)["model"].tobytes() for name, path in packs_in(folder).items()}
