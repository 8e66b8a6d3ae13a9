#!/usr/bin/env bash
# The quick checks: the house's order, formatting, Python lint, documents. Seconds.
set -euo pipefail
cd "$(dirname "$0")/.."
python3 tools/check_layers.py
.venv/bin/ruff check python tools bench examples cmake
.venv/bin/ruff format --check python tools bench examples cmake
python3 tools/check_docs.py
