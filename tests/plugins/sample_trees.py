"""Trees of small images, and what is found in them."""

import numpy as np
from PIL import Image


def picture(path, seed=0, size=(30, 40)):
    """Write an image of random pixels; `size` is its height and width."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)).save(
        path
    )


def tree(root, *names, size=(12, 16)):
    """Write an image for each path; equal seeds would be equal images."""
    for seed, name in enumerate(names):
        picture(root / name, seed, size)
    return root


def exchange(path, old, new):
    """Put another text in the place of the first like it in a file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def columns_of(dataset):
    """Return what folds of a dataset are drawn from."""
    return {
        "image_ids": [record.image_id for record in dataset.records],
        "labels": [record.label for record in dataset.records],
        "groups": [record.group for record in dataset.records],
    }


def bach_columns(groups=()):
    """Return what folds of BACH are drawn from, by its published names; of some images the patient is given."""
    from bchisto.data import published_folds

    ids = sorted({image for image, _, _ in published_folds("rakhlin10")})
    labels = [image.rstrip("0123456789.tif") for image in ids]
    return {"image_ids": ids, "labels": labels, "groups": [dict(groups).get(i) for i in ids]}


def findings(dataset, level):
    return [str(finding) for finding in dataset.findings if finding.level == level]


def told(dataset, level, *parts):
    """Check that each part stands in one of the findings of a level."""
    texts = findings(dataset, level)
    assert [part for part in parts if not any(part in text for text in texts)] == []
