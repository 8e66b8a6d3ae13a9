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

# Tests wait for clusters, kills and clocks: what they leave of the processors builds the sanitized programs meanwhile.
# In a process group of its own, so that it can be ended with all it started.
if [ "$quick" != "--quick" ]; then
  mkdir -p build/sanitizers
  rm -f build/sanitizers/*
  set -m
  nice -n 19 bash tools/build_sanitizers.sh build/sanitizers >build/sanitizers/log 2>&1 &
  sanitizers=$!
  set +m
  trap 'kill -- -$sanitizers 2>/dev/null || true' EXIT
fi
# Waits until the programs of a sanitizer are there.
sanitized() {
  until [ -e "build/sanitizers/$1" ]; do
    if ! kill -0 "$sanitizers" 2>/dev/null && [ ! -e "build/sanitizers/$1" ]; then
      tail -n 200 build/sanitizers/log
      exit 1
    fi
    sleep 1
  done
}

step "Python types"
(cd build/release/python && ../../../.venv/bin/mypy --config-file ../../../pyproject.toml -p partita)
step "C++ tests (release)"
ctest --preset release -j2 -E '^python$'
step "a foreign CMake project"
bash tests/foreign_project.sh
step "Python, command line, golden cases, laws"
export PYTHONPATH=$PWD/build/release/python
processes=$(nproc)  # what they leave is for the build
.venv/bin/python -m pytest -q -p no:cacheprovider -n $processes --dist loadfile --durations 10 tests --ignore tests/engines
.venv/bin/python -m pytest -q -p no:cacheprovider -n $processes --dist loadfile python/tests
# One cluster at a time: nodes that start beside each other, and beside a build, miss their deadlines.
.venv/bin/python -m pytest -q -p no:cacheprovider --durations 20 tests/engines
unset PYTHONPATH
step "pip install"
bash tests/pip_install.sh

if [ "$quick" != "--quick" ]; then
  # What libarrow, which is not instrumented, asks for is said in the files that these name.
  export ASAN_OPTIONS="$(grep -v '^#' tests/sanitizers/asan.options | paste -sd:)"
  export TSAN_OPTIONS="$(grep -v '^#' tests/sanitizers/tsan.options | paste -sd:):suppressions=$PWD/tests/sanitizers/tsan.suppressions"
  export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1"
  # Points a sweep: the instrumented runs are ten times slower.
  export PARTITA_SWEEP_POINTS=25

  step "build (asan, ubsan): the rest"
  sanitized asan
  step "C++ tests, sweeps (asan, ubsan)"
  ctest --preset asan -j2 -LE fuzz -R "^($(paste -sd'|' build/sanitizers/asan))$"
  step "fuzzers (asan, ubsan)"
  ctest --preset asan -j2 -L fuzz

  # Whole runs with eight threads, streams and the downloader; the rooms below are in them.
  step "build (tsan): the rest"
  sanitized tsan
  step "C++ tests (tsan)"
  ctest --preset tsan -R "^($(paste -sd'|' build/sanitizers/tsan))$"
  build/tsan/components/partita_image_test --gtest_brief=1 --gtest_filter='Download*:*Robots*:*HostPolicy*'
  build/tsan/tests/sweep/partita_sweep_test --gtest_brief=1 --gtest_filter='*ThreadsTest*:StreamTest.*'
fi
step "done"
