"""The partita binary as tests see it: runs of pipeline files, and what they left on disk."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent

MIB = 1 << 20

# Tests multiply the length of their long loops and the size of their large inputs by this.
SCALE = float(os.environ.get("PARTITA_TEST_SCALE", "1"))

# A run that takes longer hangs. Generous: the machine may be busy or the build instrumented.
HANG_SECONDS = 120 * max(1.0, SCALE)


def binary_path() -> Path:
    return Path(os.environ.get("PARTITA_BIN", ROOT / "build" / "release" / "bin" / "partita")).resolve()


@dataclass
class Finished:
    """A run that ended."""

    command: list[str]
    exit_code: int
    stdout: str
    stderr: str
    seconds: float

    def __str__(self) -> str:
        return f"{' '.join(self.command)}\nexit {self.exit_code}\n{self.stdout}{self.stderr}"


class HangError(AssertionError):
    """A run did not end."""


@dataclass
class Workspace:
    """A folder with pipeline files, inputs and outputs; commands run inside it, so that plans name relative paths."""

    path: Path
    binary: Path = field(default_factory=binary_path)

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def write_table(self, name: str, table: pa.Table, **options: Any) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, **options)
        return path

    def command(self, file: str, options: Mapping[str, Any] | None = None, verb: str = "run") -> list[str]:
        """`options` are flags: {"threads": 2, "fresh": True}."""
        words = [str(self.binary), verb, *([file] if file else [])]
        for name, value in (options or {}).items():
            flag = "--" + name.replace("_", "-")
            if value is True:
                words.append(flag)
            elif value is not None and value is not False:
                words += [flag, str(value)]
        return words

    def start(self, file: str, verb: str = "run", **popen: Any) -> subprocess.Popen[bytes]:
        options = popen.pop("options", None)
        return subprocess.Popen(
            self.command(file, options, verb), cwd=self.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **popen
        )

    def run(self, file: str, *, verb: str = "run", preexec_fn: Any = None, env: Any = None, **options: Any) -> Finished:
        """Runs to the end, whatever the end is."""
        command = self.command(file, options, verb)
        began = time.monotonic()
        process = subprocess.Popen(
            command, cwd=self.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=preexec_fn, env=env
        )
        try:
            stdout, stderr = process.communicate(timeout=HANG_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            raise HangError(f"{' '.join(command)} did not end\n{stdout.decode()}{stderr.decode()}") from None
        return Finished(
            command,
            process.returncode,
            stdout.decode(errors="replace"),
            stderr.decode(errors="replace"),
            time.monotonic() - began,
        )

    def run_ok(self, file: str, **options: Any) -> Finished:
        finished = self.run(file, **options)
        assert finished.exit_code == 0, str(finished)
        return finished

    def run_bad(self, file: str, **options: Any) -> Finished:
        """A run that must end with an error message: no success, no signal, nothing of the machinery."""
        finished = self.run(file, **options)
        assert finished.exit_code > 0, str(finished)
        assert finished.exit_code < 128, f"died by a signal:\n{finished}"
        assert finished.stderr.strip(), f"says nothing:\n{finished}"
        assert "bug" not in finished.stderr.split(":")[0].lower(), str(finished)
        return finished

    def dataset(self, folder: str) -> Dataset:
        return Dataset(self.path / folder)

    def digests(self, folder: str) -> dict[str, str]:
        return digests(self.path / folder)


def digests(folder: Path) -> dict[str, str]:
    """Every file that readers see, by its path: data and manifests, without the run's own books in `_partita/`."""
    found = {}
    for at, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if f != "_partita")
        for name in sorted(files):
            path = Path(at) / name
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def left_in_shared_memory(before: set[str]) -> set[str]:
    """Names that were not there before and stay. Those of tests in other processes come and go."""
    left = set(os.listdir("/dev/shm")) - before
    deadline = time.monotonic() + 20
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left &= set(os.listdir("/dev/shm"))
    return left


def is_killed(exit_code: int) -> bool:
    return exit_code == -signal.SIGKILL


class Dataset:
    """A written dataset, read as its manifest says."""

    def __init__(self, path: Path):
        self.path = path

    @property
    def is_finished(self) -> bool:
        return (self.path / "_manifest.json").exists()

    @property
    def manifest(self) -> dict[str, Any]:
        return json.loads((self.path / "_manifest.json").read_text())

    def files(self) -> list[Path]:
        return [self.path / f["path"] for p in self.manifest["partitions"] for f in p["files"]]

    def rows(self) -> list[dict[str, Any]]:
        return list(self._rows())

    def _rows(self) -> Iterator[dict[str, Any]]:
        kind = self.manifest["format"]
        for path in self.files():
            # The folder's key=value columns are not in the files.
            keys = dict(p.split("=", 1) for p in path.relative_to(self.path).parts[:-1] if "=" in p)
            if kind == "parquet":
                rows = pq.ParquetFile(path).read().to_pylist()
            elif kind in ("jsonl", "json"):
                rows = [json.loads(line) for line in path.read_text().splitlines()]
            elif kind == "csv":
                rows = pa.csv.read_csv(path).to_pylist()
            else:
                raise AssertionError(f"no reader for {kind}")
            for row in rows:
                yield {**row, **keys}

    # The run's books: in the first dataset of a pipeline.

    def commit_lines(self) -> list[bytes]:
        """Whole lines of the commit log; a torn last one does not count."""
        log = self.path / "_partita" / "commits.log"
        if not log.exists():
            return []
        return [line for line in log.read_bytes().split(b"\n")[:-1] if line]

    def records(self) -> list[dict[str, Any]]:
        """Run records, oldest first."""
        found = [json.loads(p.read_text()) for p in (self.path / "_partita" / "runs").glob("*.json")]
        return sorted(found, key=lambda record: record["stats"]["started_us"])

    def leftovers(self) -> list[str]:
        """Files that no reader and no later run needs."""
        known = {str(p.relative_to(self.path)) for p in self.files()} if self.is_finished else set()
        found = []
        for at, folders, files in os.walk(self.path):
            inside = Path(at).relative_to(self.path)
            if inside.parts[:1] == ("_partita",):
                continue
            folders[:] = [f for f in folders if f != "_quarantine"]
            found += [str(inside / f) for f in files if str(inside / f) not in known and f != "_manifest.json"]
        temporary = self.path / "_partita" / "tmp"
        if temporary.exists():
            found += [str(p.relative_to(self.path)) for p in temporary.rglob("*") if p.is_file()]
        return found
