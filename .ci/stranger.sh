#!/usr/bin/env bash
# README's first two commands as they stand there, as a new user has them: a fresh clone with nothing beside it, an empty HOME, no
# variables but PATH, LANG and what pip needs to reach its index from here. $1: a file that gets the ids of the tests that passed.
set -euo pipefail
cd "$(dirname "$0")/.."
passed=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/home"
git clone --quiet . "$work/clone/bchisto"
cd "$work/clone/bchisto"
mapfile -t pip < <(env | grep -E '^(PIP_[A-Z_]+|SSL_CERT_FILE|SSL_CERT_DIR|(https?|no)_proxy|(HTTPS?|NO)_PROXY)=')
mapfile -t commands < <(awk '/^```/ { if (inside) exit; inside = 1; next } inside' README.md)
[ "${#commands[@]}" -eq 2 ] || { echo "README's first block has ${#commands[@]} commands, not 2" >&2; exit 1; }
TIMEFORMAT='%0R s, of computing %0U s (user) and %0S s (system)'
for command in "${commands[@]}"; do
  printf '\n$ %s\n' "$command"
  begun=$(date +%s)
  time env -i PATH="$PATH" HOME="$work/home" LANG=C.UTF-8 "${pip[@]}" BCHISTO_PASSED="$passed" bash -c "$command"
  installed=$(stat -c %Y .venv/installed* | sort -n | tail -n 1)
  printf 'after the installation: %d s\n' "$(($(date +%s) - (installed > begun ? installed : begun)))"
done
