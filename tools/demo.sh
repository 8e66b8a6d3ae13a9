#!/usr/bin/env bash
# Sets Partita up and runs the demo: real pictures with real captions, served by a server that also misbehaves, become
# a training-ready dataset inside 256 MiB. All it makes is in out/demo/. Run again, it does only what is missing.
#
#   bash tools/demo.sh [--fresh] [--no-setup] [FOLDER_OF_PICTURES]
#
#   --fresh      forget the outputs of an earlier run
#   --no-setup   everything is built already
#   FOLDER       your own PNG, JPEG and WebP files (captions in .txt files beside them) instead of the pictures of
#                Debian's package tuxpaint-stamps-default, which is downloaded and unpacked, never installed
set -euo pipefail

fresh=() setup=1 pictures=
for word in "$@"; do
  case $word in
    --fresh) fresh=(--fresh) ;;
    --no-setup) setup= ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    -*) echo "demo: unknown option $word (see --help)" >&2; exit 2 ;;
    *) [ -d "$word" ] || { echo "demo: $word is no folder" >&2; exit 2; }
       pictures=$(realpath "$word") ;;
  esac
done

cd "$(dirname "$0")/.."
work=out/demo
memory=256MiB
partita=build/release/bin/partita
server=build/release/tests/servers/partita_image_server
mkdir -p "$work"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

if [ -n "$setup" ]; then
  say "1. Setting up"
  bash tools/setup.sh
  cmake --build --preset release --target partita_image_server
fi

say "2. Getting pictures"
package=tuxpaint-stamps-default
if [ -z "$pictures" ]; then
  pictures=$work/$package/usr/share/tuxpaint/stamps
  if [ ! -d "$pictures" ]; then
    download() { (cd "$work" && apt-get download -o APT::Sandbox::User=root "$package"); }
    if ! download 2>"$work/download.log" && ! { as_root apt-get update -qq && download; }; then
      cat "$work/download.log" >&2
      echo "demo: Debian's package $package cannot be had here; give a folder of your own pictures:" >&2
      echo "  bash tools/demo.sh FOLDER_OF_PICTURES" >&2
      exit 1
    fi
    rm -rf "$work/unpacking"
    dpkg-deb -x "$work/$package"_*.deb "$work/unpacking"
    mv "$work/unpacking" "$work/$package"
    rm -f "$work/$package"_*.deb "$work/download.log"
  fi
fi
port=$(.venv/bin/python examples/demo/prepare.py --pictures "$pictures" --work "$work")

"$server" --port "$port" --folder "$work/www" >"$work/server.log" 2>&1 &
server_pid=$!
trap 'kill "$server_pid" 2>/dev/null || true' EXIT
until grep -q '^listening' "$work/server.log"; do
  if ! kill -0 "$server_pid" 2>/dev/null; then
    echo "demo: the picture server does not start: $(cat "$work/server.log")" >&2
    exit 1
  fi
  sleep 0.05
done
echo "demo: serving them at http://127.0.0.1:$port"

# A run goes on where an earlier one stopped, unless pictures, pipeline or build are others now.
inputs=$(cat "$partita" examples/demo/pipeline.yaml "$work"/urls/*.parquet | sha256sum)
if [ "$inputs" != "$(cat "$work/inputs.sha256" 2>/dev/null)" ]; then
  rm -rf "$work/shards" "$work/table"
  echo "$inputs" >"$work/inputs.sha256"
fi

say "3. partita run examples/demo/pipeline.yaml --memory $memory"
"$partita" run examples/demo/pipeline.yaml --memory "$memory" "${fresh[@]}" \
  --set urls="$work/urls/" --set shards="$work/shards/" --set table="$work/table/"

say "4. Reading the shards back"
"$partita" run examples/demo/read_back.yaml --memory "$memory" --fresh --quiet \
  --set shards="$work/shards/" --set sizes="$work/read_back/"
.venv/bin/python examples/demo/check.py --work "$work"

.venv/bin/python examples/demo/report.py --work "$work" --output "$work/report.html"
say "Done"
cat <<END
  WebDataset shards   $work/shards/
  Parquet             $work/table/
  rows that failed    $work/shards/_quarantine/   (try them again: partita run ... --retry-quarantine)
  report              $work/report.html
END
