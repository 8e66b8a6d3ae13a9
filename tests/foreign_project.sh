#!/usr/bin/env bash
# Installs libpartita and builds examples/cmake against it with find_package(Partita), then runs it.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install build/release --prefix "$work/prefix" >/dev/null
cmake -G Ninja -S examples/cmake -B "$work/build" -DCMAKE_PREFIX_PATH="$work/prefix" -DPARTITA_PYTHON="$PWD/.venv/bin/python" >/dev/null
cmake --build "$work/build" >/dev/null
.venv/bin/python - "$work/in.parquet" <<'PY'
import sys, pyarrow as pa, pyarrow.parquet as pq
pq.write_table(pa.table({"x": [-1.0, 2.0, 3.0], "s": ["a", "b", "c"]}), sys.argv[1])
PY
test "$("$work/build/example" "$work/in.parquet" "$work/out")" = "2 rows"
grep -q '"s":"b"' "$work"/out/part-00000-000.jsonl
echo "foreign project: 1 passed"
