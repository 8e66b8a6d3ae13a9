#!/usr/bin/env bash
# Runs every check and test; sets up what is missing first. What CI runs. Flags: --quick leaves out sanitizers and the slow suites.
set -euo pipefail
cd "$(dirname "$0")/.."
quick=${1:-}
started=$SECONDS
step() { echo "== [$((SECONDS - started)) s] $*"; }

step "setup"
bash tools/setup.sh --no-build
step "checks"
bash tools/check.sh

step "build (release)"
cmake --preset release -DPARTITA_BUILD_PYTHON=ON -DPARTITA_BUILD_SHARED=ON >/dev/null
cmake --build --preset release
step "Python types"
(cd build/release/python && ../../../.venv/bin/mypy --config-file ../../../pyproject.toml -p partita)
step "C++ tests (release)"
ctest --preset release -j2 -E '^python$'
step "a foreign CMake project"
bash tests/foreign_project.sh
step "Python, command line, golden cases, laws"
.venv/bin/python -m pytest -q -p no:cacheprovider tests
PYTHONPATH=$PWD/build/release/python .venv/bin/python -m pytest -q -p no:cacheprovider python/tests

if [ "$quick" != "--quick" ]; then
  # The rooms whose tests are clean under the sanitizers and stand on no library that is not instrumented for threads.
  sanitize() {
    preset=$1
    shift
    step "C++ tests ($preset): $*"
    cmake --preset "$preset" -DPARTITA_BUILD_CLI=OFF >/dev/null
    cmake --build --preset "$preset" --target $(printf 'partita_%s_test ' "$@")
    for room in "$@"; do "build/$preset/partita/partita_${room}_test" --gtest_brief=1; done
  }
  sanitize asan base memory block observe expression
  sanitize tsan base memory
fi
step "done"
