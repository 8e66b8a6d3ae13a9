"""A memory limit that the kernel enforces, for one child process (cgroup v1 or v2)."""

from __future__ import annotations

import os
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

V1 = Path("/sys/fs/cgroup/memory")
V2 = Path("/sys/fs/cgroup")


@dataclass
class KernelLimit:
    folder: Path
    is_v1: bool

    def enter(self) -> None:
        """In the child, before exec."""
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    @property
    def kills(self) -> int:
        name = "memory.oom_control" if self.is_v1 else "memory.events"
        for line in (self.folder / name).read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
        return 0

    @property
    def peak_bytes(self) -> int:
        """Anonymous memory and page cache; the kernel takes the cache back when it nears the limit."""
        path = self.folder / ("memory.max_usage_in_bytes" if self.is_v1 else "memory.peak")
        return int(path.read_text()) if path.exists() else 0


def remove(folder: Path) -> None:
    """A process that was told to end may need a moment."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return folder.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


@contextmanager
def kernel_limit(limit_bytes: int):
    is_v1 = (V1 / "memory.limit_in_bytes").exists()
    folder = (V1 if is_v1 else V2) / f"partita-test-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
        (folder / ("memory.limit_in_bytes" if is_v1 else "memory.max")).write_text(str(limit_bytes))
        if not is_v1:
            (folder / "memory.swap.max").write_text("0")
    except OSError as error:
        if folder.exists():
            folder.rmdir()
        pytest.skip(f"no memory cgroup can be made here: {error}")
    try:
        yield KernelLimit(folder, is_v1)
    finally:
        remove(folder)
