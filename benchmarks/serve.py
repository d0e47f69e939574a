"""Images a minute of `bchisto serve` and of `bchisto predict`, 50 uploads at once, and memory over 1,000 requests.

    python benchmarks/serve.py MODEL IMAGES [--weights ENCODER=PATH]

`IMAGES` is a folder of image files. Both compute in one process. Times of loading the model are left out of both: of
`predict` as the time of a command for one image.
"""

import argparse
import concurrent.futures
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "plugins"))

from page_server import serving  # noqa: E402


def command(*words, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "bchisto", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        **options,
    )  # fmt: skip


def predict_seconds(model, images, options):
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        done = command("predict", model, *images, "--out", Path(folder) / "p.csv", "--jobs", 1, *options)
        _, errors = done.communicate()
        assert done.returncode == 0, errors
        return time.perf_counter() - begun


def resident(process):
    """Memory of the page and of its worker, MB."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    lines = [Path(f"/proc/{pid}/status").read_text().splitlines() for pid in (process.pid, *children)]
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
        begun = time.perf_counter()
        for path in files:
            while page.add(path.name, path.read_bytes()).status_code == 429:
                time.sleep(1)
        page.wait()
        served = time.perf_counter() - begun
        predicted = predict_seconds(chosen.model, files, options) - predict_seconds(chosen.model, files[:1], options)
        rates = 60 * len(files) / served, 60 * (len(files) - 1) / predicted
        print(f"images a minute: serve {rates[0]:.1f}, predict {rates[1]:.1f}, ratio {rates[0] / rates[1]:.2f}")
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
                shown = ", ".join(f"{size:.0f} MB" for size in resident(page.process))
                print(f"memory of page and worker after {100 * hundred} requests: {shown}")
            for request in range(100):
                assert page.client.get(paths[request % len(paths)]).status_code == 200


if __name__ == "__main__":
    main()
