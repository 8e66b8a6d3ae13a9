#!/usr/bin/env bash
# Builds the wheel, installs it in a fresh virtual environment, and runs a five-row pipeline there: by Python and by the script.
#
#   tests/pip_install.sh [build folder]     reuses what is compiled there (default build/release, with PARTITA_BUILD_PYTHON=ON)
#   tests/pip_install.sh --isolated         as a user's `pip install .`: compiles all of it
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
started=$SECONDS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$root/.venv/bin/python

if [ "${1:-}" = "--isolated" ]; then
  "$python" -m pip wheel . --quiet --no-deps --wheel-dir "$work/wheel"
else
  build=$(realpath "${1:-build/release}")
  # What the wheel's build writes to the cache of the folder is taken out again.
  restore() {
    cd "$root"
    rm -rf "$work"
    cmake -S "$root" -B "$build" -U 'SKBUILD*' -U 'Python_*' -U 'Python3_*' -U 'PYTHON*' >/dev/null
  }
  trap restore EXIT
  tests=$(sed -n 's/^PARTITA_BUILD_TESTS:BOOL=//p' "$build/CMakeCache.txt")
  "$python" -m pip wheel . --quiet --no-deps --no-build-isolation --wheel-dir "$work/wheel" \
    -C build-dir="$build" -C cmake.define.PARTITA_BUILD_TESTS="${tests:-ON}"
fi

"$python" -m venv "$work/venv"
# pyarrow from the package index, or, without a network, the one that is installed here.
"$work/venv/bin/pip" install --quiet "$work"/wheel/partita-*.whl 2>/dev/null || {
  "$work/venv/bin/pip" install --quiet --no-deps "$work"/wheel/partita-*.whl
  cp -r "$root"/.venv/lib/python3*/site-packages/pyarrow* "$work"/venv/lib/python3*/site-packages/
}

cd "$work"
printf 'id,word\n1,a\n2,b\n3,c\n4,d\n5,e\n' >five.csv
env -u PYTHONPATH -u LD_LIBRARY_PATH "$work/venv/bin/python" - <<'PY'
import hashlib, pathlib, ssl
import partita as pt

assert pt.read_csv("five.csv").filter("id > 3").select("word").take(5) == [{"word": "d"}, {"word": "e"}]
assert hashlib.sha256(b"").digest() and ssl.create_default_context()
folder = pathlib.Path(pt.__file__).parent
for name in ("py.typed", "_partita.pyi"):
    assert (folder / name).is_file(), f"the wheel has no {name}"
assert "def " in (folder / "_partita.pyi").read_text()
PY

script=$work/venv/bin/partita
test "$(head -c 4 "$script" | od -An -c | tr -d ' ')" = '177ELF' || { echo "$script is not the native command"; exit 1; }
# libparquet exports the functions of an OpenSSL of its own: nothing that needs the system's may be linked beside it.
if readelf -d "$script" | grep -E 'NEEDED.*lib(crypto|ssl|curl)'; then echo "the command is linked to OpenSSL"; exit 1; fi
cat >pipeline.yaml <<'YAML'
pipeline: five
steps:
  - read_csv: {path: five.csv}
  - filter: id > 3
  - write_jsonl: {path: out}
YAML
env -u LD_LIBRARY_PATH "$script" run pipeline.yaml >/dev/null
test "$(cat out/*.jsonl)" = '{"id":4,"word":"d"}
{"id":5,"word":"e"}'
env -u LD_LIBRARY_PATH "$script" --version | grep -q "$(cat "$root/VERSION")"
"$work/venv/bin/pip" uninstall --quiet --yes partita
test ! -e "$script"
echo "pip install: 1 passed in $((SECONDS - started)) s"
