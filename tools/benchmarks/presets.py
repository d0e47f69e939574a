"""CPU time of `featurize` by settings against accuracy on real BACH: a table, its upper hull, and a figure.

    python tools/benchmarks/presets.py --plot docs/images/presets.svg

Accuracy was measured on the 400 real images, which are not here (docs/results.md). Cost is measured here, side by
side, in one process: each settings describe a synthetic image of BACH's size, so that the network is there, and then N
others, which are timed; weights are random. Dense mode encodes a frame once whatever the crop, so that settings which
differ in one view only are timed once. Published settings would take hours, and are reckoned from one augmentation:
cost is linear in augmentations, which the four feature files with 1, 4 and 12 show.
"""

import argparse
import contextlib
import io
import re
import resource
import shlex
import tempfile
from pathlib import Path

from timing import machine, pin_one_thread

pin_one_thread()

INCEPTION = "--encoder inceptionv3:mixed5+mixed7+mixed8"
MOBILE = "--encoder mobilenetv2"
BOTH = "--view 0.5:400 --view 0.5:650"
PUBLISHED_TIMES = 50 * (11.18 + 8.34 + 31.30) / (12 * 0.57 + 0.5)
"""Published settings over InceptionV3 in dense mode with 12 augmentations: CPU seconds of one augmentation of an image
(docs/performance.md), and half a second of stain work and decoding."""

MEASURED = {
    "MobileNetV2, 0.5:400, 4": (f"{MOBILE} --view 0.5:400 --augmentations 4", 84.2, ""),
    "MobileNetV2, 0.5:650, 4": (f"{MOBILE} --view 0.5:650 --augmentations 4", 85.5, ""),
    "InceptionV3, 0.5:400, 4": (f"{INCEPTION} --view 0.5:400 --augmentations 4", 86.2, "67.4"),
    "InceptionV3, 0.5:650, 4": (f"{INCEPTION} --view 0.5:650 --augmentations 4", 84.2, "65.2"),
    "MobileNetV2, 0.5:400, 12": ("--preset quick", 86.8, "56.1"),
    "MobileNetV2, 0.5:650, 12": (f"{MOBILE} --view 0.5:650 --augmentations 12", 86.0, "54.5"),
    "InceptionV3, 0.5:400, 12": (f"{INCEPTION} --view 0.5:400 --augmentations 12", 85.5, "65.9"),
    "InceptionV3, 0.5:650, 12": (f"{INCEPTION} --view 0.5:650 --augmentations 12", 84.0, "62.9"),
    "four feature files, 1": (
        f"{INCEPTION} {MOBILE} {BOTH} --augmentations 1",
        85.0,
        "59.3 (balanced)",
    ),
    "four feature files, 4": (f"{INCEPTION} {MOBILE} {BOTH} --augmentations 4", 87.5, "63.6"),
    "four feature files, 12": ("--preset standard", 88.8, "65.9"),
    "InceptionV3 mixed8, exact, 0.5:400, 4 of 6 crops": (
        "--encoder inceptionv3:mixed8 --view 0.5:400 --augmentations 4 --crops 6 --mode exact",
        82.0,
        "65.9",
    ),
    "published, six feature files, 50 of 20 crops": ("--preset published", 87.2, ""),
}
"""Encoders, view and augmentations (dense mode if not named): options, accuracy in percent on the ten published folds
and on the patients of ``eva`` who did not train, by ``svm``; the published figure is LightGBM's, that of 1
augmentation scikit-learn's ``SVC``, which gave 87.5 with 4."""

RAISED = {
    "MobileNetV2, 0.5:400, 4": -9,
    "MobileNetV2, 0.5:650, 12": -3,
    "InceptionV3, 0.5:400, 4": 6,
}
"""By how many points names stand above their points in the figure, where others would run into them."""


def cpu_seconds(words):
    """Return the CPU seconds of a command in this process and of the processes that it starts."""
    from bchisto.cli import cli

    def used():
        usages = [
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)

    before = used()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        cli.main(list(map(str, words)), standalone_mode=False)
    return used() - before


def cost_of(words, here, more):
    """Return the CPU seconds in which one image is described with these options."""
    options = shlex.split(words)
    if "--preset" not in options:
        options += [] if "--mode" in options else ["--mode", "dense", "--engine", "openvino"]
    for count in (0, more):
        with tempfile.TemporaryDirectory() as out:
            fixed = ["--out", Path(out, "run"), "--weights", "random", "--jobs", 1]
            seconds = cpu_seconds(
                ["featurize", "--images", here / f"{count}.csv", *fixed, *options]
            )
    return seconds / more


def timed_as(name):
    """Return what settings are timed as: without the view where there is one, in dense mode."""
    return name if "exact" in name else re.sub(r" 0\.5:\d+,", "", name)


def measure(names, more):
    """Yield name and CPU seconds an image of each of some settings; `names` maps them to options."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        cpu_seconds(["data", "make", "--images-per-class", 1 + more // 4, "--out", here / "made"])
        images = sorted((here / "made").rglob("*.tif"))
        for count, chosen in ((0, images[:1]), (more, images[1 : 1 + more])):
            rows = [f"{path.relative_to(here)},{path.parent.name}" for path in chosen]
            (here / f"{count}.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
        for name, words in names.items():
            yield name, cost_of(words, here, more)


def hull_of(points):
    """Return the names on the upper hull of points (name to cost and accuracy): up to the most accurate."""
    hull = []
    for name, (cost, right) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1])):
        if hull and right <= points[hull[-1]][1]:
            continue
        while len(hull) > 1:
            (x0, y0), (x1, y1) = points[hull[-2]], points[hull[-1]]
            if (y1 - y0) * (cost - x1) > (right - y1) * (x1 - x0):
                break
            hull.pop()
        hull.append(name)
    return hull


def preset_of(name):
    """Return the preset that a row stands for, or nothing."""
    words = MEASURED[name][0].split()
    return words[1] if words[0] == "--preset" else ""


def plot(points, hull, path):
    """Draw accuracy against cost."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 4.6))
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.plot(
        *zip(*(points[name] for name in hull), strict=True),
        "-",
        color="#888888",
        label="upper hull",
    )
    for name, (cost, right) in points.items():
        preset = preset_of(name)
        axes.plot(
            cost,
            right,
            "o",
            color="#c8501e" if preset else "#1f5fa8",
            markersize=8 if preset else 5,
        )
        text = f"{preset}: {name.removeprefix('published, ')}" if preset else name
        left = cost > 0.3
        offset = (-7 if left else 7, RAISED.get(name, 3))
        axes.annotate(
            text,
            (cost, right),
            xytext=offset,
            textcoords="offset points",
            fontsize=7,
            ha="right" if left else "left",
            weight="bold" if preset else "normal",
        )
    axes.set_xlabel("CPU time of feature extraction, as a fraction of published")
    axes.set_ylabel("accuracy on BACH, ten published folds (percent)")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=3, help="N.")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    words = {
        timed_as(name): row[0] for name, row in MEASURED.items() if preset_of(name) != "published"
    }
    print(machine("openvino", "tensorflow", "keras"), flush=True)
    costs = {}
    for name, cost in measure(words, options.images):
        costs[name] = cost
        print(f"{name}: {cost:.2f} CPU seconds an image", flush=True)
    costs["published, six feature files, 50 of 20 crops"] = published = (
        PUBLISHED_TIMES * costs["InceptionV3, 12"]
    )
    points = {name: (costs[timed_as(name)] / published, row[1]) for name, row in MEASURED.items()}
    hull = hull_of(points)
    print(
        "\n| settings | CPU seconds an image | of published | published folds | new patients | on the hull |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for name, (share, right) in sorted(points.items(), key=lambda item: item[1][0]):
        text = f"**{preset_of(name)}**: {name}" if preset_of(name) else name
        print(
            f"| {text} | {costs[timed_as(name)]:.2f} | 1 / {1 / share:,.0f} | {right} | {MEASURED[name][2] or '–'} "
            f"| {'yes' if name in hull else 'no'} |"
        )
    one, four, twelve = (costs[f"four feature files, {count}"] for count in (1, 4, 12))
    line = one + 3 * (twelve - one) / 11
    print(
        f"\nlinear in augmentations: 4 take {four:.2f}, the line through 1 and 12 gives {line:.2f}"
    )
    if options.plot:
        plot(points, hull, options.plot)


if __name__ == "__main__":
    main()
