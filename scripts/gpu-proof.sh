#!/usr/bin/env bash
# Proves the CUDA backend on a machine with a GPU, nvcc, CMake, cuBLASLt and a Python with PyTorch and transformers, in one
# command and under ten minutes: builds the kernels, compares every operation with the CPU, runs the tests on the GPU,
# trains the embedded default on both, times training and prefill at the size of Qwen2.5-VL-7B against PyTorch, and runs
# compute-sanitizer. benchmarks/results/<date>-<device>.{json,md} hold what came out.
#
#   scripts/gpu-proof.sh [BUNDLE] [options]     options: scripts/gpu-proof.sh --help
#
# BUNDLE (gpu-bundle.tar.xz, if it is there) brings what a machine without Node and registry lacks: Node itself, npm's
# packages, the built addon and dist/. scripts/gpu-bundle.sh makes it.
set -euo pipefail
cd "$(dirname "$0")/.."

bundle=gpu-bundle.tar.xz
if [[ $# -gt 0 && $1 != --* ]]; then
  bundle=$1
  shift
  [[ -f $bundle ]] || { echo "gpu-proof: expected a bundle, received no file $bundle" >&2; exit 1; }
fi
if [[ -f $bundle ]]; then
  tar -xf "$bundle"
  export PATH="$PWD/build/carried:$PATH"
fi
command -v node >/dev/null || { echo "gpu-proof: expected node, or a bundle that brings it (scripts/gpu-bundle.sh)" >&2; exit 1; }

rehearse=false
python=python3
previous=
for argument in "$@"; do
  [[ $argument == --help ]] && exec node scripts/gpu-proof/main.mjs --help
  [[ $argument == --rehearse ]] && rehearse=true
  [[ $previous == --python ]] && python=$argument
  previous=$argument
done

if [[ ! -f $bundle ]]; then node scripts/bootstrap.mjs; fi
if $rehearse; then
  node scripts/bootstrap.mjs emulation
else
  # For this machine's GPU alone: a quarter of the time.
  architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d '. ')
  EYAS_CUDA_CMAKE_ARGS="-DCMAKE_CUDA_ARCHITECTURES=$architecture ${EYAS_CUDA_CMAKE_ARGS:-}" node scripts/build-cuda.mjs
  # cuBLASLt of PyTorch's wheels, where CUDA's own is not installed.
  if [[ -z ${EYAS_CUDA_LIBRARY_PATH:-} ]]; then
    EYAS_CUDA_LIBRARY_PATH=$("$python" - <<'PY'
import glob, os, sysconfig
site = sysconfig.get_paths()["purelib"]
found = sorted(glob.glob(os.path.join(site, "nvidia", "*", "lib", "libcublasLt.so.1[23]")))
print(":".join(dict.fromkeys(os.path.dirname(path) for path in found)))
PY
)
    export EYAS_CUDA_LIBRARY_PATH
  fi
fi
exec node scripts/gpu-proof/main.mjs "$@"
