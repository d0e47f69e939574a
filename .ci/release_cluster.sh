#!/usr/bin/env bash
# What a release is tried on beside its tests: on a real Slurm a long chain and a published system with its networks, each equal to one
# process, and the Snakemake workflow, on synthetic tissue.
set -euo pipefail
cd "$(dirname "$0")/.."
bash .ci/slurm.sh
.venv/bin/python tools/benchmarks/slurm_chain.py
.venv/bin/python tools/benchmarks/slurm_faults.py
work=$(mktemp -d)
export PATH="$PWD/.venv/bin:$PATH"

bchisto data make --out "$work/bach" --images-per-class 4
reproduce=(reproduce rakhlin2018 --quick --weights random --images "$work/bach/ICIAR2018_BACH_Challenge" --jobs 1)
bchisto "${reproduce[@]}" --out "$work/alone"
printf 'one process: %d s\n' "$SECONDS"
bchisto submit --tasks 2 -- "${reproduce[@]}" --out "$work/submitted"
until bchisto status "$work/submitted" > "$work/status"; do
  [ $? -eq 3 ] || { cat "$work/status" "$work"/submitted/jobs/*/logs/*; exit 1; }
  sleep 5
done
(cd "$work/alone" && find boost reproduce -name '*.csv' -o -name '*.bchisto') | while read -r name; do
  cmp "$work/alone/$name" "$work/submitted/$name"
  printf 'equal: %s\n' "$name"
done
printf 'by submit: %d s\n' "$SECONDS"

python3 -m venv .venv/snakemake
.venv/snakemake/bin/pip install --quiet snakemake
export PYTHONPATH="$PWD/tests/plugins"
bchisto data make --out "$work/tissue" --images-per-class 12 --size 256x192
.venv/snakemake/bin/snakemake --snakefile tools/examples/Snakefile --directory "$work" --cores 2 \
  --config images="$work/tissue/ICIAR2018_BACH_Challenge" run=run \
  featurize="--encoder tiny --weights random --view 1.0:64 --augmentations 2 --crops 3" boost="--folds 3 --seeds 2"
test -f "$work/run/evaluation/report.html"
