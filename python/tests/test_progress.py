"""Progress: live lines on a terminal, a line now and then elsewhere, nothing for what is quick."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

import pytest
from partita._native import native

import partita as pt
from partita import progress

SLOW = "import partita as pt; pt.range({rows}).filter('id % 7 = 3').write_parquet('out', memory='256MiB')"


def test_quick_runs_are_silent(capfd: pytest.CaptureFixture[str]) -> None:
    pt.range(10).write_parquet("out", progress="always")
    assert capfd.readouterr().err == ""


def test_never_is_silent(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    pt.range(1_000_000).write_parquet("out", progress="never")
    assert capfd.readouterr().err == ""


def test_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    stream = io.StringIO()
    shown = progress.Progress(native.Observer(), "auto", stream)
    shown.poll()
    shown.close()
    assert stream.getvalue().startswith("partita: ")
    assert "\x1b" not in stream.getvalue()


def test_a_stream_that_breaks_does_not_break_the_run() -> None:
    stream = io.StringIO()
    shown = progress.Progress(native.Observer(), "always", stream)
    shown._next = 0
    stream.close()
    shown.poll()
    assert not shown.enabled


def test_live_lines_on_a_terminal() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", SLOW.format(rows=10**11)], stderr=theirs)
    os.close(theirs)
    text = ""
    try:
        while "ETA" not in text:
            text += os.read(ours, 4096).decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert "filter" in text
    assert "rows/s" in text
    assert "memory" in text
    assert "tasks" in text
    assert "\x1b[" in text
