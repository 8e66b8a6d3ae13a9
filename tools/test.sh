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
PYTHONPATH=$PWD/build/release/python .venv/bin/python -m pytest -q -p no:cacheprovider tests
PYTHONPATH=$PWD/build/release/python .venv/bin/python -m pytest -q -p no:cacheprovider python/tests
step "pip install"
bash tests/pip_install.sh

if [ "$quick" != "--quick" ]; then
  # What libarrow, which is not instrumented, asks for is said in the files that these name.
  export ASAN_OPTIONS="$(grep -v '^#' tests/sanitizers/asan.options | paste -sd:)"
  export TSAN_OPTIONS="$(grep -v '^#' tests/sanitizers/tsan.options | paste -sd:):suppressions=$PWD/tests/sanitizers/tsan.suppressions"
  export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1"
  # Points a sweep: the instrumented runs are ten times slower.
  export PARTITA_SWEEP_POINTS=25
  rooms=(base memory block observe expression storage dataset pipeline plan compile schedule runs operator exchange execute)

  step "build (asan, ubsan)"
  cmake --preset asan -DPARTITA_BUILD_CLI=OFF -DPARTITA_BUILD_FUZZERS=ON >/dev/null
  cmake --build --preset asan --target $(printf 'partita_%s_test ' "${rooms[@]}") partita_image_test partita_python_steps_test partita_sweep_test partita_fuzzers
  step "C++ tests, sweeps (asan, ubsan)"
  ctest --preset asan -j2 -LE fuzz -R "^($(IFS='|'; echo "${rooms[*]}")|image|python_steps|sweep)$"
  step "fuzzers (asan, ubsan)"
  ctest --preset asan -j2 -L fuzz

  # Whole runs with eight threads, streams and the downloader; the rooms below are in them.
  threaded=(base memory session)
  step "build (tsan)"
  cmake --preset tsan -DPARTITA_BUILD_CLI=OFF >/dev/null
  cmake --build --preset tsan --target $(printf 'partita_%s_test ' "${threaded[@]}") partita_image_test partita_sweep_test
  step "C++ tests (tsan)"
  ctest --preset tsan -R "^($(IFS='|'; echo "${threaded[*]}"))$"
  build/tsan/components/partita_image_test --gtest_brief=1 --gtest_filter='Download*:*Robots*:*HostPolicy*'
  build/tsan/tests/sweep/partita_sweep_test --gtest_brief=1 --gtest_filter='*ThreadsTest*:StreamTest.*'
fi
step "done"
