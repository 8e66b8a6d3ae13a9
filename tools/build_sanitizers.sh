#!/usr/bin/env bash
# Builds the programs that tools/test.sh runs under sanitizers. In FOLDER, when those of one are there, a file of its name
# lists the tests to run whole.
#
#   tools/build_sanitizers.sh FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1
jobs=$(nproc)

build() {
  local preset=$1
  shift
  cmake --build --preset "$preset" -j "$jobs" --target "$@"
}
programs() { printf 'partita_%s_test\n' "$@"; }
done_with() {
  local name=$1
  shift
  printf '%s\n' "$@" >"$folder/$name.part"
  mv "$folder/$name.part" "$folder/$name"
}

rooms=(base memory block observe expression storage dataset pipeline plan compile schedule runs operator exchange execute
  image python_steps sweep)
cmake --preset asan -DPARTITA_BUILD_CLI=OFF -DPARTITA_BUILD_FUZZERS=ON
build asan $(programs "${rooms[@]}") partita_fuzzers
done_with asan "${rooms[@]}"

threaded=(base memory session)
cmake --preset tsan -DPARTITA_BUILD_CLI=OFF
build tsan $(programs "${threaded[@]}") partita_image_test partita_sweep_test
done_with tsan "${threaded[@]}"
