#!/usr/bin/env python3
"""Proves that includes run one way: a room includes only itself and rooms above it. Zero exceptions.

The order is that of the house (ARCHITECTURE.md). Control rooms must not include headers that reach the outside world.
Exit code 1 and one line per violation.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = [
    "base", "memory", "block", "observe", "expression", "storage", "dataset", "pipeline", "plan", "compile",
    "schedule", "runs", "operator", "exchange", "execute", "engine", "session",
]  # fmt: skip
CONTROL = {"plan", "compile", "schedule"}
FORBIDDEN_IN_CONTROL = {"thread", "mutex", "condition_variable", "chrono", "random", "fstream", "filesystem", "cstdio"}
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)


def rank(path: str) -> int | None:
    """Position in the house: a lower number is higher up. None: not ours."""
    parts = path.split("/")
    if parts[0] == "partita" and len(parts) > 2:
        return ROOMS.index(parts[1]) if parts[1] in ROOMS else -1
    if path == "partita/partita.h":
        return len(ROOMS)
    if parts[0] == "components":
        # Components stand on the operator contract and below nothing but the front doors.
        return ROOMS.index("operator") + 100
    if parts[0] in {"cli", "python"}:
        return 1000
    return None


def main() -> int:
    bad: list[str] = []
    for folder in ("partita", "components", "cli", "python/src"):
        for file in sorted((ROOT / folder).rglob("*")):
            if file.suffix not in {".h", ".cc"}:
                continue
            name = file.relative_to(ROOT).as_posix()
            mine = rank(name)
            is_test = file.stem.endswith("_test") or "test" in file.stem.split("_")
            for style, target in INCLUDE.findall(file.read_text(encoding="utf-8")):
                theirs = rank(target)
                if theirs == -1:
                    bad.append(f"{name}: includes {target}, a room that the house does not list")
                if theirs is not None and mine is not None and theirs > mine and not is_test:
                    bad.append(f"{name}: includes {target}, which stands below it")
                below_components = range(ROOMS.index("operator") + 1, len(ROOMS) + 1)
                if name.startswith("components/") and theirs in below_components and not is_test:
                    bad.append(f"{name}: a component includes {target}; it may use operator/ and rooms above")
                room = name.split("/")[1] if name.startswith("partita/") else ""
                if style == "<" and room in CONTROL and target in FORBIDDEN_IN_CONTROL and not is_test:
                    bad.append(f"{name}: a control room includes <{target}>")
    for line in bad:
        print(line)
    print(f"check_layers: {len(bad)} violations")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
