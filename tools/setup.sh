#!/usr/bin/env bash
# Sets up a fresh Debian 12: system packages, the virtual environment, and the release build of the `partita` command.
# Runs again in seconds when nothing is missing. Flags: --no-build stops before compiling.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
  ccache mold git g++ cmake ninja-build python3-venv python3-dev
  libcurl4-openssl-dev libssl-dev libjpeg62-turbo-dev libpng-dev libwebp-dev libyaml-cpp-dev nlohmann-json3-dev
  libxxhash-dev nettle-dev libarchive-dev libgtest-dev libgmock-dev iproute2 util-linux
)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if ((${#missing[@]})); then
  echo "setup: installing ${missing[*]}"
  run=()
  if [ "$(id -u)" != 0 ]; then run=(sudo); fi
  "${run[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${run[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if [ ! -x .venv/bin/python ]; then
  echo "setup: making the virtual environment"
  python3 -m venv .venv
fi
stamp=.venv/requirements.stamp
if ! cmp -s tools/requirements.txt "$stamp"; then
  echo "setup: installing Python packages"
  .venv/bin/python -m pip install -q --disable-pip-version-check -r tools/requirements.txt
  cp tools/requirements.txt "$stamp"
fi

if [ "${1:-}" != "--no-build" ]; then
  echo "setup: building"
  cmake --preset release >/dev/null
  cmake --build --preset release --target partita_cli
fi
