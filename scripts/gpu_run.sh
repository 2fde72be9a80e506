#!/usr/bin/env bash
# Train, export and measure everything that takes a GPU, from this checkout and without a network:
#   scripts/gpu_run.sh CATALOG WEIGHTS OUT [options of scripts/gpu_run.py]
# PYTHON chooses the interpreter; WHEELS names a folder of wheels that it lacks.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
[ -x "$(command -v "$python")" ] || python=python3

path=$root
for package in protos photos scraping training models server bulk client; do path=$path:$root/$package; done
if [ -n "${WHEELS:-}" ]; then
    site=$WHEELS/.site
    [ -d "$site" ] || "$python" -m pip install -q --no-index --no-deps --no-compile --target "$site" "$WHEELS"/*.whl
    path=$path:$(cd "$site" && pwd)
fi
export PYTHONPATH=$path${PYTHONPATH:+:$PYTHONPATH}
exec "$python" -m scripts.gpu_run "$@"
