#!/usr/bin/env bash
# What a release is tried on beside its tests: a long chain on a real Slurm, and the Snakemake workflow on synthetic tissue.
set -euo pipefail
cd "$(dirname "$0")/.."
bash .ci/slurm.sh
.venv/bin/python benchmarks/slurm_chain.py
python3 -m venv .venv/snakemake
.venv/snakemake/bin/pip install --quiet snakemake
work=$(mktemp -d)
export PATH="$PWD/.venv/bin:$PATH" PYTHONPATH="$PWD/tests/plugins"
bchisto data make --out "$work/tissue" --images-per-class 12 --size 256x192
.venv/snakemake/bin/snakemake --snakefile examples/Snakefile --directory "$work" --cores 2 \
  --config images="$work/tissue/ICIAR2018_BACH_Challenge" run=run \
  featurize="--encoder tiny --weights random --view 1.0:64 --augmentations 2 --crops 3" boost="--folds 3 --seeds 2"
test -f "$work/run/evaluation/report.html"
