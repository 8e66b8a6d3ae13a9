"""Where things are. All that benchmarks make is below build/."""

from __future__ import annotations

import pathlib
import shutil
import sys

BENCH = pathlib.Path(__file__).resolve().parent
ROOT = BENCH.parent
DATA = ROOT / "build" / "bench-data"  # inputs, kept between runs
VENVS = ROOT / "build" / "bench-venvs"
PEERS = BENCH / "peers"

_build = ROOT / "build" / "release"
_binary: pathlib.Path | None = None


def use_build(folder: pathlib.Path, binary: pathlib.Path | None) -> None:
    global _build, _binary
    _build = folder.resolve()
    _binary = binary.resolve() if binary else None


def build_folder() -> pathlib.Path:
    return _build


def program(name: str) -> pathlib.Path:
    """A program of the build: partita, partita_image_server, partita_bench_tasks, partita_bench_image_limit."""
    if name == "partita" and _binary:
        return _binary
    for folder in ("bin", "bench", "tests/servers"):
        file = _build / folder / name
        if file.exists():
            return file
    sys.exit(f"{name} is not built: configure with -DPARTITA_BUILD_BENCH=ON and build it (bench/README.md)")


def package() -> pathlib.Path:
    """The folder with the Python package of the build."""
    return _build / "python"


def is_installed(peer: str) -> bool:
    return (VENVS / peer / "bin" / "python").exists()


def python_of(peer: str) -> pathlib.Path:
    file = VENVS / peer / "bin" / "python"
    if not file.exists():
        sys.exit(f"the environment '{peer}' is missing: bench/setup.sh {peer}")
    return file


def empty(folder: pathlib.Path) -> pathlib.Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def clean(work: pathlib.Path) -> None:
    """Removes what a question made in its folder; what programs printed stays in logs/."""
    for entry in work.iterdir():
        if entry.name == "logs":
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink()
