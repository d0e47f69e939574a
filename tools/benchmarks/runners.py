"""What runs an encoder that users bring, side by side: one transformer with the same random weights in each form.

Speed in images per CPU second of one core, the most memory of the process, and the largest difference to timm on
PyTorch. Needs torch, timm, onnx and onnxscript to write the files; each way runs in a process of its own.

Run: python tools/benchmarks/runners.py [--network vit_small_patch16_224] [--rounds 3]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from timing import machine, pin_one_thread

pin_one_thread()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy as np  # noqa: E402 - after the threads are pinned

CROPS = 8
WAYS = {
    "timm, PyTorch": ("timm", "keras", "float32"),
    "timm, PyTorch bfloat16": ("timm", "keras", "bfloat16"),
    "timm, OpenVINO": ("timm", "openvino", "float32"),
    "timm, OpenVINO bfloat16": ("timm", "openvino", "bfloat16"),
    "onnx, ONNX Runtime": ("onnx", "keras", "float32"),
    "onnx, OpenVINO": ("onnx", "openvino", "float32"),
    "onnx, OpenVINO bfloat16": ("onnx", "openvino", "bfloat16"),
}


def write(folder, network):
    """Write the weights of the network, and the network as an ONNX file."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = timm.create_model(network, num_classes=0).train(False)
    save_file(model.state_dict(), folder / "model.safetensors")
    config = {key: list(value) if isinstance(value, tuple) else value for key, value in model.pretrained_cfg.items()}
    shown = {key: config[key] for key in ("mean", "std", "input_size", "interpolation")}
    size = shown["input_size"][-1]
    pictures = torch.zeros(2, 3, size, size)
    batch = {0: torch.export.Dim("n", min=1, max=64)}
    torch.onnx.export(
        model, (pictures,), str(folder / "network.onnx"), dynamo=True, dynamic_shapes=(batch,), external_data=False
    )
    transform = [
        {"name": "Resize", "arguments": {"size": size, "interpolation": shown["interpolation"]}},
        {"name": "ToTensor"},
        {"name": "Normalize", "arguments": {"mean": shown["mean"], "std": shown["std"]}},
    ]
    (folder / "network.json").write_text(json.dumps({"transform": transform}))


def time_way(folder, network, way, rounds):
    """Time one way; print what it took and leave the vectors in the folder."""
    from bchisto.encoders import EncoderChoice, open_encoder

    kind, engine, precision = WAYS[way]
    name = {"timm": network, "onnx": str(folder / "network.onnx")}[kind]
    weights = str(folder / "model.safetensors") if kind == "timm" else "imagenet"
    encoder = open_encoder(EncoderChoice(f"{kind}:{name}"), weights=weights, engine=engine, precision=precision)
    crops = np.random.default_rng(0).integers(0, 256, (CROPS, encoder.card.size, encoder.card.size, 3), dtype=np.uint8)
    np.save(folder / f"{list(WAYS).index(way)}.npy", encoder.encode(crops))
    seconds = []
    for _ in range(rounds):
        started = time.process_time()
        encoder.encode(crops)
        seconds.append(time.process_time() - started)
    status = Path("/proc/self/status").read_text()  # of this process alone; rusage knows that of its parent
    memory = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    print(json.dumps({"speed": CROPS / min(seconds), "memory": memory}))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="vit_small_patch16_224")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", nargs=2, metavar=("WAY", "FOLDER"))
    options = parser.parse_args()
    if options.way:
        time_way(Path(options.way[1]), options.network, options.way[0], options.rounds)
        return
    print(machine("torch", "timm", "keras", "tensorflow", "openvino", "onnxruntime"))
    print(f"{options.network}, batches of {CROPS} crops")
    print("| runner | images per CPU second | memory, MB | largest difference | of the largest value |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(folder, options.network)
        again = f"import sys; sys.path[:] = {sys.path!r}; sys.argv[:] = sys.argv[1:]; import runpy; "
        again += f"runpy.run_path({__file__!r}, run_name='__main__')"
        for number, way in enumerate(WAYS):
            arguments = [
                "runners.py",
                "--network",
                options.network,
                "--rounds",
                str(options.rounds),
                "--way",
                way,
                scratch,
            ]
            done = subprocess.run([sys.executable, "-c", again, *arguments], capture_output=True, text=True)
            if done.returncode:
                print(f"| {way} | {done.stderr.strip().splitlines()[-1][:150]} | | | |")
                continue
            timing = json.loads(done.stdout.strip().splitlines()[-1])
            vectors, wanted = np.load(folder / f"{number}.npy"), np.load(folder / "0.npy")
            off, most = np.abs(vectors - wanted).max(), np.abs(wanted).max()
            print(
                f"| {way} | {timing['speed']:.1f} | {timing['memory']:,.0f} | {off:.1e} | {off / most:.1e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
