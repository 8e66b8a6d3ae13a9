#!/usr/bin/env bash
# Makes the environments that the benchmarks run peers in: build/bench-venvs/{img2dataset,daft,peers}. Byte-compiles them, because a peer
# whose byte code is missing looks slower than it is. Run again, it only installs what is missing.
set -euo pipefail
unset PYTHONDONTWRITEBYTECODE
here=$(cd "$(dirname "$0")" && pwd)
venvs=$here/../build/bench-venvs
mkdir -p "$venvs"
for peer in ${*:-img2dataset daft peers}; do
  venv=$venvs/$peer
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --only-binary :all: -r "$here/requirements-$peer.txt" || \
    "$venv/bin/python" -m pip install --quiet -r "$here/requirements-$peer.txt"
  "$venv/bin/python" -m compileall -q -j 2 "$venv/lib" >"$venv/compileall.log" 2>&1 || true  # some packages ship files for other Pythons
  "$venv/bin/python" -m pip freeze >"$venv/versions.txt"
  echo "$peer: $(wc -l <"$venv/versions.txt") packages in $(realpath "$venv")"
done
