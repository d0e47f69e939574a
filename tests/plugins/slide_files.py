"""Slides that the tests write: pyramids of tiles, white but for pictures pasted at known places."""

import csv
import io
import json
import zipfile
import zlib
from functools import cache, lru_cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from written_tables import lines

TILE = 256
NAMES = 'gut "<b>1</b>"', "übel, 2"
"""The classes of the model, in its order."""

APERIO = "Aperio Image Library v11.2.1\r\n{0}x{1} [0,0 {0}x{1}] (256x256) JPEG/RGB Q=90|AppMag = 20|MPP = {2}"


@lru_cache(maxsize=256)
def _coded(tile):
    return zlib.compress(tile, 1)


def tiles_of(size, pasted, factor):
    """Yield the tiles of a level, coded, row by row; those without a picture are missing, and so transparent."""
    small = {
        (x // factor, y // factor): image[::factor, ::factor] for (x, y), image in pasted.items()
    }
    for top in range(0, size[1] // factor, TILE):
        for left in range(0, size[0] // factor, TILE):
            tile = None
            for (x, y), image in small.items():
                rows = slice(max(0, top - y), max(0, top - y + TILE))
                part = image[rows, max(0, left - x) : max(0, left - x + TILE)]
                if part.size:
                    if tile is None:
                        tile = np.full((TILE, TILE, 3), 255, np.uint8)
                    down, right = max(0, y - top), max(0, x - left)
                    tile[down : down + part.shape[0], right : right + part.shape[1]] = part
            yield b"" if tile is None else _coded(tile.tobytes())


def write_slide(path, size, pasted, *, mpp=0.5, kind="generic", factors=(1, 4, 16), whole=True):
    """Write a slide of some width and height, with images at x and y, and return its path."""
    import tifffile

    if whole:  # no tile is missing
        pasted = {(0, 0): np.full((size[1], size[0], 3), 255, np.uint8), **pasted}
    words = {
        "tile": (TILE, TILE),
        "photometric": "rgb",
        "compression": "deflate",
        "dtype": np.uint8,
    }
    if mpp is not None:
        words |= {"resolution": (1e4 / mpp,) * 2, "resolutionunit": "CENTIMETER"}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path, ome=kind == "ome") as writer:
        for place, factor in enumerate(factors):
            own = (
                {"subifds": 0 if place else len(factors) - 1}
                if kind == "ome"
                else {"metadata": None}
            )
            if kind == "aperio" and place == 0:
                own["description"] = APERIO.format(*size, mpp)
            shape = (size[1] // factor, size[0] // factor, 3)
            writer.write(
                tiles_of(size, pasted, factor),
                shape=shape,
                subfiletype=int(place > 0),
                **words,
                **own,
            )
    return path


@cache
def _tissue(seed):
    from bchisto.data.synthetic import make_tissue

    return make_tissue("Invasive", seed=seed, index=1, size=(320, 240))


def patch(width, height, seed=1):
    """Return a textured image of tissue."""
    return np.tile(_tissue(seed), (height // 240 + 1, width // 320 + 1, 1))[:height, :width]


def tissue_slide(path, width, height, seed=1, **words):
    """Write a slide that is all tissue, and return its path."""
    return write_slide(path, (width, height), {(0, 0): patch(width, height, seed)}, **words)


def stained(name, width, height, seed=0):
    """Return tissue of a class of the model, pale or dark."""
    rng = np.random.default_rng(seed)
    haem = rng.random((height, width, 1)) * (0.3, 1.1)[NAMES.index(name)]
    eosin = rng.random((height, width, 1)) * 0.3 + 0.3
    density = haem * [0.65, 0.70, 0.29] + eosin * [0.2, 0.9, 0.4]
    return np.clip(240 * np.exp(-density), 0, 255).astype(np.uint8)


def write_images(folder, *, kinds=((64, 0.5),), count=12, tissues=NAMES, names=NAMES, wider=0):
    """Write images of two classes, in turn of each kind, and a manifest of them; return its path.

    A kind is a shorter side in pixels, and micrometres per pixel.
    """
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        side, mpp = kinds[number // 2 % len(kinds)]
        image = stained(tissues[number % 2], side, side + wider, seed=number + 1)
        name = f"Fall ä {number:02d}.png"
        Image.fromarray(image).save(folder / name)
        rows.append((name, names[number % 2], f"P{number // 2 % 4}", mpp))
    return lines(folder / "images.csv", ("path", "label", "patient", "mpp"), rows)


def overlay_of(raw, colouring, names, *, places=None, side=100, size=(9999, 9999), unsure=None):
    """Return a map of tiles at places that are counted in tiles, or in a row; `raw` has their probabilities."""
    from bchisto.apps.slides.overlay import TileMap
    from bchisto.apps.slides.tiles import TileGrid
    from bchisto.evaluate import Answers

    answers = Answers(names, raw.argmax(axis=1), raw.max(axis=1), unsure)
    marks = [None] * len(raw) if unsure is None else unsure
    tiles = [
        SimpleNamespace(predicted=name, uncertain=mark)
        for name, mark in zip(answers.predicted, marks, strict=True)
    ]
    of_table = SimpleNamespace(classes=names, answers=answers)
    predicted = SimpleNamespace(bundle=SimpleNamespace(calls=""))
    shown = SimpleNamespace(table=of_table, raw=raw, outliers=None, predicted=predicted)
    places = [(at, 0) for at in range(len(raw))] if places is None else places
    corners = [(round(x * side), round(y * side)) for x, y in places]
    grid = TileGrid("s", Path(), None, 0.5, 100, corners)
    slide = SimpleNamespace(width=size[0], height=size[1], mpp=50 / side)
    return TileMap(slide, grid, shown, tiles, colouring)


def table(path):
    """Return the rows of a CSV file, each a dict."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def box(x, y, right, bottom):
    """Return a closed ring."""
    return [(x, y), (right, y), (right, bottom), (x, bottom), (x, y)]


def outline(label, *rings, **properties):
    """Return a feature as QuPath writes it: ``outline("Tumor", *rings)``."""
    named = {"classification": {"name": label, "color": [200, 0, 0]}} if label else {}
    properties = {"objectType": "annotation", **named, **properties}
    geometry = {"type": "Polygon", "coordinates": rings}
    return {
        "type": "Feature",
        "id": "3f2504e0-4f89-41d3",
        "geometry": geometry,
        "properties": properties,
    }


def damage(path, number):
    """Overwrite the bytes of a tile of level 0; the others, and other levels, hold."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        place, size = file.pages[0].dataoffsets[number], file.pages[0].databytecounts[number]
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\xff" * size)


def collection(*features):
    """Return the text of a FeatureCollection."""
    return json.dumps({"type": "FeatureCollection", "features": features})


def draw(folder, *features):
    """Write features as a FeatureCollection, and return the file."""
    return written(folder / "drawn.geojson", *features)


def written(path, *features):
    """Write features as a FeatureCollection, also in a folder that is not there yet; return the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(collection(*features))
    return path


def zipped(text, *names):
    """Return a zip with these files, each of one text."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, text)
    return held.getvalue()


def field_classes(annotations, corners, side, *, least):
    """Return the class of each field if it has only one; None for no class, or several."""
    from bchisto.apps.slides.regions import covering_classes

    covering = covering_classes(annotations, corners, side, least=least)
    return [classes[0] if len(classes) == 1 else None for classes in covering]
