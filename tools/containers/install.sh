#!/bin/sh
# The steps of Dockerfile and apptainer.def, as root in Debian 12: bchisto with OpenVINO, for the CPU.
set -eu
cd "$(dirname "$0")/.."
apt-get update -qq
apt-get install -y -qq --no-install-recommends python3-venv libgomp1
rm -rf /var/lib/apt/lists/*
python3 -m venv /opt/bchisto
# Packages of tools/requirements.lock by their hashes, and of them only those that a run needs.
python3 - > /tmp/needs.txt <<'PYTHON'
import tomllib

project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print(*project["dependencies"], "setuptools", sep="\n")
PYTHON
grep '^pip==' tools/requirements.lock > /tmp/pip.txt  # Debian's takes no hashes from constraints
/opt/bchisto/bin/pip install --quiet --no-cache-dir --require-hashes -r /tmp/pip.txt
/opt/bchisto/bin/pip install --quiet --no-cache-dir --require-hashes -c tools/requirements.lock -r /tmp/needs.txt
/opt/bchisto/bin/pip install --quiet --no-cache-dir --no-deps --no-build-isolation .
rm /tmp/needs.txt /tmp/pip.txt
ln -s /opt/bchisto/bin/bchisto /usr/local/bin/bchisto
