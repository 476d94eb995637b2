#!/usr/bin/env bash
# Everything that is claimed of a GPU, checked and timed there: kernels, tables, phases, memory.
#
#     benchmarks/gpu_check.sh [--tiny] [--out DIR]
#
# Needs a Python with torch; packages that it lacks may lie as wheels in .wheels/. Models have random weights and texts
# random tokens, so nothing is downloaded. --tiny takes every step on small shapes, with or without a GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONUNBUFFERED=1
python=$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)
if [ -d .wheels ]; then
    site=$(mktemp -d)
    "$python" -m pip install -q --no-index --no-deps --no-compile --target "$site" .wheels/*.whl
    export PYTHONPATH="$site:$PWD"
fi
exec "$python" -m benchmarks.gpu_check "$@"
