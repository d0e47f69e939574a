"""Draw the pictures of README and docs from real images: `make pictures`, some minutes.

It needs chromium, the packages of `test`, and the folder of real data (`../shared` or `$BCHISTO_SHARED`): images of
BreakHis (Spanhol et al. 2016, doi:10.1109/TBME.2015.2496264, CC BY 4.0), ImageNet weights of MobileNetV2, a slide of
OpenSlide's test data (CC0), and predictions of the 400 images of BACH, published and by bchisto, which the reports
show. The figure of cost against accuracy is by `tools/benchmarks/presets.py`.
"""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images"
SHARED = Path(os.environ.get("BCHISTO_SHARED", DOCS.parents[1] / "shared")) / "data"
WEIGHTS = f"mobilenetv2={SHARED / 'weights' / 'mobilenetv2_imagenet.weights.h5'}"
REFERENCE = SHARED.parent / "reference"
PUBLISHED, PREDICTED = REFERENCE / "rakhlin2018" / "crossvalidation.csv", REFERENCE / "bach" / "predictions"
EVERY = {"benign": 5, "malignant": 12}
"""Every so many images are new ones; their slides also trained, so that the pictures show pages and prove nothing."""


def run(*words, codes=(0,)):
    """Run a command of bchisto in this environment."""
    done = subprocess.run([sys.executable, "-m", "bchisto", *map(str, words)], check=False)
    if done.returncode not in codes:
        raise SystemExit(done.returncode)


def write_manifests(folder):
    """Write the images to train on, and new ones; return both paths."""
    tables, counts = {"breakhis.csv": [], "new.csv": []}, {"benign": 0, "malignant": 0}
    for path in sorted(SHARED.glob("breakhis/**/*.png")):
        label = "benign" if path.name.startswith("SOB_B") else "malignant"
        counts[label] += 1
        name = "breakhis.csv" if counts[label] % EVERY[label] else "new.csv"
        tables[name].append((path, path.name, label, path.name.rsplit("-", 2)[0]))
    for name, rows in tables.items():
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows([("path", "image_id", "label", "patient"), *rows])
    return folder / "breakhis.csv", folder / "new.csv"


def screenshot(browser, page, *, width=1100, height=620, scroll=None):
    """Return a screen of a page as an image, from its top or from an element on."""
    tab = browser.new_page(viewport={"width": width, "height": height})
    tab.goto(page.as_uri())
    if scroll:
        tab.evaluate("selector => document.querySelector(selector).scrollIntoView()", scroll)
    shown = Image.open(io.BytesIO(tab.screenshot()))
    tab.close()
    return shown.convert("RGB")


def save_small(image, name):
    """Save an image of few colours as PNG, and one of tissue as JPEG."""
    if name.endswith(".png"):
        image.quantize(128, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)
    else:
        image.save(IMAGES / name, quality=82, optimize=True, progressive=True)


MAPPED = "SOB_M_MC-14-19979-40-014"
"""The image whose heat map is shown."""

CHAINS = {
    "way": (
        "The way of an image, from pixels to a prediction",
        (
            ("Image", "a region of tissue", "label, patient"),
            ("Stain, scale", "stains normalised,", "scaled to the view"),
            ("Crops", "several colours,", "several positions"),
            ("Encoder", "pretrained network,", "one vector per crop"),
            ("Features", "vectors pooled by", "image, in one file"),
            ("Classifiers", "one per fold, tested", "on unseen images"),
            ("Ensemble", "mean of all models:", "class, probability"),
        ),
        (("bchisto featurize", 0, 4), ("bchisto boost", 5, 5), ("bchisto predict", 6, 6)),
    ),
    "cluster": (
        "A chain of jobs on a cluster",
        (
            ("Check", "options, images and", "weights, before all"),
            ("Array", "a task per shard", "extracts features"),
            ("Merge", "submits what is lost,", "makes one file"),
            ("Array", "a task per shard", "trains classifiers"),
            ("Merge", "submits what is lost,", "writes the report"),
            ("Evaluate", "one job compares", "all tables"),
        ),
        (("bchisto submit", 0, 0), ("featurize", 1, 2), ("then boost", 3, 4), ("then evaluate", 5, 5)),
    ),
    "embeddings": (
        "From a whole slide to a prediction",
        (
            ("Slide", "whole-slide image,", "not read by bchisto"),
            ("Tiles", "tissue cut into tiles", "at one resolution"),
            ("Embeddings", "a vector per tile,", "a file per slide"),
            ("Slide vector", "mean of the vectors", "of its tiles"),
            ("Classifiers", "one per fold, tested", "on unseen patients"),
            ("New slides", "class, probability", "of each"),
        ),
        (("TRIDENT, CLAM, STAMP", 0, 2), ("bchisto boost", 3, 4), ("bchisto predict", 5, 5)),
    ),
    "finetune": (
        "From images to a fine-tuned network",
        (
            ("Folds", "the same as those of", "bchisto boost"),
            ("Patches", "the whole image, or", "squares of it"),
            ("Augmentation", "new in each epoch,", "none for test sets"),
            ("Network", "ends at the least", "validation loss"),
            ("Image", "mean of its patches:", "class, probability"),
            ("Comparison", "image by image with", "boosted classifiers"),
        ),
        (("bchisto finetune", 0, 4), ("bchisto evaluate", 5, 5)),
    ),
}
"""Of each drawing of steps: what it shows, the steps, and the commands with the first and last step of each."""


def draw_chain(title, steps, commands):
    """Return steps, from left to right, and the commands that take them, as SVG."""
    wide, high, gap = 142, 74, 16
    step, total = wide + gap, len(steps) * (wide + gap) + gap
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} 150" font-family="sans-serif" role="img"'
        f' aria-label="{title}">',
        f'<rect width="{total}" height="150" rx="8" fill="#fff"/>',
    ]
    for place, (name, *lines) in enumerate(steps):
        left = gap + place * step
        parts.append(f'<rect x="{left}" y="16" width="{wide}" height="{high}" rx="6" fill="#f4eef8" stroke="#6b3fa0"/>')
        parts.append(f'<text x="{left + 9}" y="38" font-size="14" font-weight="bold" fill="#3b1f5c">{name}</text>')
        for row, line in enumerate(lines):
            parts.append(f'<text x="{left + 9}" y="{58 + 17 * row}" font-size="11.5" fill="#222">{line}</text>')
        if place:
            parts.append(
                f'<path d="M{left - gap + 2} 53h9m-4 -4l5 4l-5 4" fill="none" stroke="#6b3fa0" stroke-width="1.5"/>'
            )
    for name, first, last in commands:
        left, right = gap + first * step, gap + last * step + wide
        parts.append(f'<path d="M{left} 102v6h{right - left}v-6" fill="none" stroke="#8a8f98"/>')
        middle = (left + right) / 2
        style = 'font-size="13" text-anchor="middle" font-family="monospace" fill="#222"'
        parts.append(f'<text x="{middle:g}" y="130" {style}>{name}</text>')
    return "\n".join([*parts, "</svg>\n"])


RESULTS = ((1, "Published folds, patients mixed", "#1f5fa8"), (2, "New patients", "#b8500f"))
"""The tables of docs/results.md with an accuracy and its interval in the second column, and their colours."""


def draw_results():
    """Return the accuracies of the results page, each with its 95 % CI, as SVG."""
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    tables = re.split(r"^\| `--head` \| accuracy \|", page, flags=re.MULTILINE)
    rows = []
    for number, title, colour in RESULTS:
        rows.append((title, None, colour))
        found = re.findall(r"^\| `?(\w+)`? \| ([\d.]+) \(([\d.]+) to ([\d.]+)\)", tables[number], flags=re.MULTILINE)
        rows += [(name, figures, colour) for name, *figures in found]
    high = 24 * len(rows) + 52
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {high}" font-family="sans-serif" font-size="13"'
        ' role="img" aria-label="Accuracy on BACH with 95 % confidence intervals">',
        f'<rect width="760" height="{high}" rx="8" fill="#fff"/>',
    ]
    for percent in range(40, 101, 10):
        left = 240 + 8 * (percent - 40)
        parts.append(f'<path d="M{left} 14v{high - 44}" stroke="#dde"/>')
        parts.append(f'<text x="{left}" y="{high - 12}" text-anchor="middle" fill="#222">{percent} %</text>')
    for row, (name, figures, colour) in enumerate(rows):
        top = 28 + 24 * row
        if figures is None:
            parts.append(f'<text x="16" y="{top + 4}" font-weight="bold" fill="{colour}">{name}</text>')
            continue
        right, low, most = (240 + 8 * (float(figure) - 40) for figure in figures)
        parts.append(f'<text x="128" y="{top + 4}" text-anchor="end" fill="#222">{name}</text>')
        parts.append(f'<text x="196" y="{top + 4}" text-anchor="end" fill="{colour}">{figures[0]}</text>')
        parts.append(f'<path d="M{low:g} {top}H{most:g}" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<circle cx="{right:g}" cy="{top}" r="5" fill="{colour}"/>')
    return "\n".join([*parts, "</svg>\n"])


def overview(report, sheet, heat_map):
    """Return the beginning of a report and, beside it, a row of a prediction report above a heat map."""
    parts = [
        (report.convert("RGB").crop((0, 0, 1100, 520)).resize((760, 360), Image.Resampling.LANCZOS), (0, 0)),
        (sheet.crop((16, 245, 572, 548)).resize((418, 228), Image.Resampling.LANCZOS), (768, 0)),
        (heat_map.crop((8, 52, 1288, 432)).resize((418, 124), Image.Resampling.LANCZOS), (768, 236)),
    ]
    whole = Image.new("RGB", (1186, 360), "white")
    for part, corner in parts:
        whole.paste(part, corner)
    return whole


def write_regions(path):
    """Write two made-up regions of the slide of OpenSlide, as QuPath does."""
    features = []
    for label, left, right in (("stroma", 0, 1120), ("epidermis", 1130, 2220)):
        ring = [[left, 0], [right, 0], [right, 2967], [left, 2967], [left, 0]]
        geometry, named = {"type": "Polygon", "coordinates": [ring]}, {"classification": {"name": label}}
        features.append({"type": "Feature", "geometry": geometry, "properties": {"objectType": "annotation", **named}})
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def main():
    """Train and predict, and take the pictures."""
    for name, chain in CHAINS.items():
        (IMAGES / f"{name}.svg").write_text(draw_chain(*chain))
    (IMAGES / "results.svg").write_text(draw_results())
    folder = Path(tempfile.mkdtemp(prefix="bchisto-pictures-"))
    os.chdir(folder)  # the pages name the paths that they were given
    training, new = write_manifests(folder)
    run("data", "check", "--images", training.name, "--stain", "macenko-robust", "--html", "check.html", codes=(0, 1))
    run("trial", "--images", training.name, "--out", "study", "--weights", WEIGHTS, "--jobs", "1")
    model = Path("study/boost/5-grouped-lightgbm/model.bchisto")
    run("predict", model, "--images", new.name, "--out", "predictions.csv", "--html", "predictions.html")
    run("evaluate", PREDICTED / "rakhlin10-svm.csv", "--out", "bach")
    run("evaluate", PUBLISHED, *sorted(PREDICTED.glob("rakhlin10-*.csv")), "--out", "compared")
    run("explain", model, "--images", new.name, "--method", "map", "--target", "malignant", "--out", "why")
    write_regions(folder / "drawn.geojson")
    slide = SHARED / "slides" / "CMU-1-Small-Region.svs"
    run("slides", "cut", slide, "--field", "112", "--annotations", "drawn.geojson", "--out", "fields")
    run("slides", "map", model, slide, "--out", "maps", "--weights", WEIGHTS)
    (drawn,) = Path("why/map/pictures").glob(f"{MAPPED}*.png")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        save_small(screenshot(browser, folder / "bach" / "report.html"), "report.png")
        save_small(screenshot(browser, folder / "compared" / "report.html"), "compared.png")
        save_small(screenshot(browser, folder / "predictions.html", height=760, scroll="#content"), "sheet.jpg")
        save_small(screenshot(browser, folder / "check.html", height=560, scroll="figure"), "check.jpg")
        page = folder / "fields" / "overview.html"
        save_small(screenshot(browser, page, width=560, height=860, scroll="main"), "slides.jpg")
        page = folder / "maps" / "maps" / "CMU-1-Small-Region" / "index.html"
        save_small(screenshot(browser, page, width=560, height=860, scroll="main img"), "slide-map.jpg")
        browser.close()
    save_small(Image.open(drawn).convert("RGB"), "explain-map.jpg")
    shown = [Image.open(IMAGES / name) for name in ("report.png", "sheet.jpg", "explain-map.jpg")]
    save_small(overview(*shown), "overview.jpg")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
