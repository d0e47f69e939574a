"""CPU time an image of `bchisto serve` and of `bchisto predict`, 50 uploads at once, and memory over 1,000 requests.

    python tools/benchmarks/serve.py MODEL IMAGES [--weights ENCODER=PATH]

`IMAGES` is a folder of image files. Both compute in one process. CPU time is hardly changed by other work on the
machine. That of loading the model is left out of both: of `predict` as that of a command for one image.
"""

import argparse
import concurrent.futures
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "plugins"))

from page_server import serving  # noqa: E402


def command(*words, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "bchisto", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        **options,
    )  # fmt: skip


def predict_seconds(model, images, options):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        done = command("predict", model, *images, "--out", Path(folder) / "p.csv", "--jobs", 1, *options)
        _, errors = done.communicate()
    assert done.returncode == 0, errors
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def processes(page):
    """The page, and its worker."""
    pid = page.process.pid
    return [pid, *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def served_seconds(page):
    times = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13] for pid in processes(page)]
    return sum(int(ticks) for both in times for ticks in both) / os.sysconf("SC_CLK_TCK")


def resident(page):
    """Memory of the page and of its worker, MB."""
    lines = [Path(f"/proc/{pid}/status").read_text().splitlines() for pid in processes(page)]
    return [int(line.split()[1]) / 1024 for text in lines for line in text if line.startswith("VmRSS")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--weights", action="append", default=[])
    chosen = parser.parse_args()
    options = [word for text in chosen.weights for word in ("--weights", text)]
    files = sorted(path for path in chosen.images.rglob("*") if path.suffix in (".png", ".tif", ".jpg"))
    with serving(command, chosen.model, *options) as page:
        page.add("first.png", files[0].read_bytes())
        page.wait()
        page.clear()
        begun = served_seconds(page)
        for path in files:
            page.add(path.name, path.read_bytes())
        page.wait()
        served = served_seconds(page) - begun
        predicted = predict_seconds(chosen.model, files, options) - predict_seconds(chosen.model, files[:1], options)
        each = served / len(files), predicted / (len(files) - 1)
        print(f"CPU seconds an image: serve {each[0]:.2f}, predict {each[1]:.2f}, ratio {each[0] / each[1]:.2f}")
        page.clear()
        content = files[0].read_bytes()
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            codes = list(pool.map(lambda number: page.add(f"{number}.png", content).status_code, range(50)))
        states = {image["state"] for image in page.wait().values()}
        print(f"50 at once: status {set(codes)}, then {states}")
        image = f"/api/images/{page.client.get('/api/images').json()[0]['number']}"
        paths = ["/", "/api/images", "/results", "/api/models", "/api/queue", "/api/predictions.csv", image[4:]]
        paths += [f"{image}/{kind}.jpg" for kind in ("small", "picture", "stains")]
        for hundred in range(11):
            if hundred in (1, 4, 7, 10):
                shown = ", ".join(f"{size:.0f} MB" for size in resident(page))
                print(f"memory of page and worker after {100 * hundred} requests: {shown}")
            for request in range(100):
                assert page.client.get(paths[request % len(paths)]).status_code == 200


if __name__ == "__main__":
    main()
