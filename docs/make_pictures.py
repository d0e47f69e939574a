"""Draw the pictures of README and docs from real images: `make pictures`, some minutes.

It needs chromium, the packages of `test`, and the folder of real data (`../shared` or `$BCHISTO_SHARED`): images of
BreakHis (Spanhol et al. 2016, doi:10.1109/TBME.2015.2496264, CC BY 4.0) and patches of IDC (CC0), ImageNet weights of
MobileNetV2, a slide of OpenSlide's test data (CC0), and predictions of the 400 images of BACH, published and by
bchisto, which the reports show. The figure of cost against accuracy is by `tools/benchmarks/presets.py`.
"""

import csv
import hashlib
import html
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images"
SHARED = Path(os.environ.get("BCHISTO_SHARED", DOCS.parents[1] / "shared")) / "data"
WEIGHTS = f"mobilenetv2={SHARED / 'weights' / 'mobilenetv2_imagenet.weights.h5'}"
REFERENCE = SHARED.parent / "reference"
PUBLISHED, PREDICTED = (
    REFERENCE / "rakhlin2018" / "crossvalidation.csv",
    REFERENCE / "bach" / "predictions",
)
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


def write_patches(folder, most=24, of_class=False):
    """Write some patches of each of the slides of IDC, or of each class of these; return the path."""
    taken, rows = Counter(), [("path", "label", "patient")]
    for path in sorted(
        SHARED.glob("idc/**/*.png"), key=lambda path: hashlib.sha256(path.name.encode()).digest()
    ):
        slide = path.name.partition("_")[0]
        key = (slide, path.stem[-1]) if of_class else slide
        taken[key] += 1
        if taken[key] <= most:
            rows.append((path, "carcinoma" if path.stem.endswith("1") else "no carcinoma", slide))
    with (folder / "patches.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "patches.csv"


def launched(playwright):
    """Return chromium, without a window."""
    return playwright.chromium.launch(
        executable_path=shutil.which("chromium"), args=["--no-sandbox"]
    )


def screenshot(browser, page, *, width=1100, height=620, scroll=None):
    """Return a screen of a page as an image, from its top or from an element on; without a height, the whole page."""
    tab = browser.new_page(viewport={"width": width, "height": height or 100})
    tab.goto(page.as_uri())
    if scroll:
        tab.evaluate("selector => document.querySelector(selector).scrollIntoView()", scroll)
    shown = Image.open(io.BytesIO(tab.screenshot(full_page=height is None)))
    tab.close()
    return shown.convert("RGB")


def save_small(image, name):
    """Save an image of few colours as PNG, and one of tissue as JPEG."""
    if name.endswith(".png"):
        image.quantize(128, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)
    else:
        image.save(IMAGES / name, quality=82, optimize=True, progressive=True)


SCREENS = ((1280, 800), (390, 844))
"""Sizes of the first screens: of a desk and of a phone."""
QUICK = ("--preset", "quick", "--weights", WEIGHTS, "--jobs", "1")


def save_first_screens(folder, browser):
    """Save what is seen first of a report and of a prediction page, of patches of slides of which one is new."""
    header, *rows = write_patches(folder, most=8, of_class=True).read_text().splitlines()
    (new,) = {row.rpartition(",")[2] for row in rows[-1:]}
    for name, is_new in (("known.csv", False), ("unknown.csv", True)):
        kept = [row for row in rows if row.endswith(f",{new}") == is_new]
        (folder / name).write_text("\n".join([header, *kept]))
    run("featurize", "--images", "known.csv", "--out", "first", *QUICK)
    run(
        "boost",
        "--out",
        "first",
        *["--folds", "5", "--head", "logistic", "--positive", "carcinoma"],
    )
    model = "first/boost/5-grouped-logistic/model.bchisto"
    run(
        "predict",
        model,
        *["--images", "unknown.csv", "--out", "first.csv", "--html", "first.html"],
        *QUICK[2:],
    )
    pages = {
        "first-report": "first/boost/5-grouped-logistic/report.html",
        "first-page": "first.html",
    }
    for name, page in pages.items():
        for width, height in SCREENS:
            shown = screenshot(browser, folder / page, width=width, height=height)
            save_small(shown, f"{name}-{width}.png")


MAPPED = "SOB_M_MC-14-19979-40-014"
"""The image whose heat map is shown."""

STEPS = (
    ("Image", "a region of tissue", "label, patient"),
    ("Stain, scale", "stains normalised,", "scaled to the view"),
    ("Crops", "several colours,", "several positions"),
    ("Encoder", "pretrained network,", "one vector per crop"),
    ("Features", "vectors pooled by", "image, in one file"),
    ("Classifiers", "one per fold, tested", "on unseen images"),
    ("Ensemble", "mean of all models:", "class, probability"),
)
COMMANDS = (("bchisto featurize", 0, 4), ("bchisto boost", 5, 5), ("bchisto predict", 6, 6))
"""The way of an image, and the commands with the first and last step of each."""


def draw_way():
    """Return the way of an image, from left to right, and the commands that take its steps, as SVG."""
    wide, high, gap = 142, 74, 16
    step, total = wide + gap, len(STEPS) * (wide + gap) + gap
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} 150" font-family="sans-serif" role="img"'
        ' aria-label="The way of an image, from pixels to a prediction">',
        f'<rect width="{total}" height="150" rx="8" fill="#fff"/>',
    ]
    for place, (name, *lines) in enumerate(STEPS):
        left = gap + place * step
        parts.append(
            f'<rect x="{left}" y="16" width="{wide}" height="{high}" rx="6" fill="#f4eef8" stroke="#6b3fa0"/>'
        )
        parts.append(
            f'<text x="{left + 9}" y="38" font-size="14" font-weight="bold" fill="#3b1f5c">{name}</text>'
        )
        for row, line in enumerate(lines):
            parts.append(
                f'<text x="{left + 9}" y="{58 + 17 * row}" font-size="11.5" fill="#222">{line}</text>'
            )
        if place:
            parts.append(
                f'<path d="M{left - gap + 2} 53h9m-4 -4l5 4l-5 4" fill="none" stroke="#6b3fa0" stroke-width="1.5"/>'
            )
    for name, first, last in COMMANDS:
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
        found = re.findall(
            r"^\| `?(\w+)`? \| ([\d.]+) \(([\d.]+) to ([\d.]+)\)",
            tables[number],
            flags=re.MULTILINE,
        )
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
        parts.append(
            f'<text x="{left}" y="{high - 12}" text-anchor="middle" fill="#222">{percent} %</text>'
        )
    for row, (name, figures, colour) in enumerate(rows):
        top = 28 + 24 * row
        if figures is None:
            parts.append(
                f'<text x="16" y="{top + 4}" font-weight="bold" fill="{colour}">{name}</text>'
            )
            continue
        right, low, most = (240 + 8 * (float(figure) - 40) for figure in figures)
        parts.append(f'<text x="128" y="{top + 4}" text-anchor="end" fill="#222">{name}</text>')
        parts.append(
            f'<text x="196" y="{top + 4}" text-anchor="end" fill="{colour}">{figures[0]}</text>'
        )
        parts.append(f'<path d="M{low:g} {top}H{most:g}" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<circle cx="{right:g}" cy="{top}" r="5" fill="{colour}"/>')
    return "\n".join([*parts, "</svg>\n"])


def overview(report, sheet, heat_map):
    """Return the beginning of a report and, beside it, a row of a prediction report above a heat map."""
    parts = [
        (
            report.convert("RGB")
            .crop((0, 0, 1100, 520))
            .resize((760, 360), Image.Resampling.LANCZOS),
            (0, 0),
        ),
        (sheet.crop((16, 200, 572, 506)).resize((418, 230), Image.Resampling.LANCZOS), (768, 0)),
        (
            heat_map.crop((0, 134, 1168, 471)).resize((418, 121), Image.Resampling.LANCZOS),
            (768, 238),
        ),
    ]
    whole = Image.new("RGB", (1186, 360), "white")
    for part, corner in parts:
        whole.paste(part, corner)
    return whole


def typed(*commands, width=96):
    """Return commands as typed, each with what it prints, as the HTML of a terminal."""
    texts = []
    for words in commands:
        environment = os.environ | {"COLUMNS": str(width)}
        shown = subprocess.run(
            [sys.executable, "-m", "bchisto", *words],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        texts.append(f"$ bchisto {' '.join(words)}\n{shown.stdout}{shown.stderr}")
    style = "margin: 12px; font: 13px/1.4 'DejaVu Sans Mono', monospace; color: #1c1f24"
    return f'<meta charset="utf-8"><pre style="{style}">{html.escape("".join(texts).strip())}</pre>'


def typed_under_way(chain):
    """Return what `status` prints of a chain of commands while its classifiers are trained, as HTML."""
    words = [
        sys.executable,
        "-m",
        "bchisto",
        "submit",
        "--scheduler",
        "local",
        "--tasks",
        "2",
        "--",
        *chain,
    ]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(Path("run").glob("boost/*/units.json")):
            time.sleep(0.2)
        return typed(["status", "run"])


def write_regions(path):
    """Write two made-up regions of the slide of OpenSlide, as QuPath does."""
    features = []
    for label, left, right in (("stroma", 0, 1120), ("epidermis", 1130, 2220)):
        ring = [[left, 0], [right, 0], [right, 2967], [left, 2967], [left, 0]]
        geometry, named = (
            {"type": "Polygon", "coordinates": [ring]},
            {"classification": {"name": label}},
        )
        features.append(
            {
                "type": "Feature",
                "geometry": geometry,
                "properties": {"objectType": "annotation", **named},
            }
        )
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def main():
    """Train and predict, and take the pictures; with --first only the first screens."""
    if "--first" in sys.argv:
        folder = Path(tempfile.mkdtemp(prefix="bchisto-pictures-"))
        os.chdir(folder)
        with sync_playwright() as playwright:
            save_first_screens(folder, launched(playwright))
        shutil.rmtree(folder)
        return
    (IMAGES / "way.svg").write_text(draw_way())
    (IMAGES / "results.svg").write_text(draw_results())
    folder = Path(tempfile.mkdtemp(prefix="bchisto-pictures-"))
    os.chdir(folder)  # the pages name the paths that they were given
    training, new = write_manifests(folder)
    run(
        "data",
        "check",
        "--images",
        training.name,
        "--stain",
        "macenko-robust",
        "--html",
        "check.html",
        codes=(0, 1),
    )
    run("trial", "--images", training.name, "--out", "study", "--weights", WEIGHTS, "--jobs", "1")
    model = Path("study/boost/5-grouped-lightgbm/model.bchisto")
    run(
        "predict",
        model,
        "--images",
        new.name,
        "--out",
        "predictions.csv",
        "--html",
        "predictions.html",
    )
    run("evaluate", PREDICTED / "rakhlin10-svm.csv", "--out", "bach")
    run("evaluate", PUBLISHED, *sorted(PREDICTED.glob("rakhlin10-*.csv")), "--out", "compared")
    run(
        "explain",
        model,
        "--images",
        new.name,
        "--method",
        "map",
        "--target",
        "malignant",
        "--out",
        "why",
    )
    write_regions(folder / "drawn.geojson")
    slide = SHARED / "slides" / "CMU-1-Small-Region.svs"
    run(
        "slides",
        "cut",
        slide,
        "--field",
        "112",
        "--annotations",
        "drawn.geojson",
        "--out",
        "fields",
    )
    run("slides", "map", model, slide, "--out", "maps", "--weights", WEIGHTS)
    patches = ("--images", write_patches(folder).name, "--out", "patches", "--jobs", "1")
    run("featurize", *patches, "--preset", "quick", "--weights", WEIGHTS)
    run("boost", "--out", "patches", "--folds", "5", "--preset", "quick", "--head", "lightgbm")
    run("finetune", *patches, "--folds", "5", "--network", "patch-resnet", "--epochs", "12")
    (features,) = Path("patches/features").glob("*.h5")
    run("features", features, "--out", "embeddings.npz")
    describing = (
        "--images",
        training.name,
        "--weights",
        WEIGHTS,
        "--preset",
        "quick",
        "--jobs",
        "1",
    )
    boosting = ("boost", "--out", "run", "--folds", "5", "--seeds", "20")
    compared = ("patches/boost/5-grouped-lightgbm", "patches/finetune/5-grouped-patch-resnet")
    terminals = {
        "embeddings": typed(
            ["features", "embeddings.npz"],
            [
                "boost",
                "--out",
                "embedded",
                "--features",
                "embeddings.npz",
                "--folds",
                "5",
                "--preset",
                "quick",
            ],
        ),
        "finetune": typed(["evaluate", *compared, "--out", "both"]),
        "cluster": typed_under_way(["featurize", "--out", "run", *describing, "then", *boosting]),
    }
    (drawn,) = Path("why/map/pictures").glob(f"{MAPPED}*.png")
    with sync_playwright() as playwright:
        browser = launched(playwright)
        save_first_screens(folder, browser)
        save_small(screenshot(browser, folder / "bach" / "report.html"), "report.png")
        save_small(screenshot(browser, folder / "compared" / "report.html"), "compared.png")
        save_small(
            screenshot(browser, folder / "predictions.html", height=760, scroll="#content"),
            "sheet.jpg",
        )
        save_small(
            screenshot(browser, folder / "check.html", height=560, scroll="figure"), "check.jpg"
        )
        page = folder / "fields" / "overview.html"
        save_small(screenshot(browser, page, width=560, height=860, scroll="main"), "slides.jpg")
        page = folder / "maps" / "maps" / "CMU-1-Small-Region" / "index.html"
        save_small(
            screenshot(browser, page, width=560, height=860, scroll="main img"), "slide-map.jpg"
        )
        for name, text in terminals.items():
            (folder / "terminal.html").write_text(text, encoding="utf-8")
            save_small(
                screenshot(browser, folder / "terminal.html", width=800, height=None), f"{name}.png"
            )
        browser.close()
    save_small(Image.open(drawn).convert("RGB"), "explain-map.jpg")
    shown = [Image.open(IMAGES / name) for name in ("report.png", "sheet.jpg", "explain-map.jpg")]
    save_small(overview(*shown), "overview.jpg")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
