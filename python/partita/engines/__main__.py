"""What `partita run … --engine …` becomes: runs a compiled plan, and tells as the command does."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from .._native import native
from ..errors import PartitaError
from ..progress import Progress
from ..stats import format_bytes, format_count, format_seconds
from . import driver

EXIT_CODES = {"user": 2, "data": 3, "resource": 4, "environment": 5, "cancelled": 130}
_BUG = 70


def main(path: str) -> int:
    signal.signal(signal.SIGTERM, _interrupt)
    with contextlib.suppress(OSError):
        job = json.loads(Path(path).read_text())
        os.remove(path)
    pairs = list(job["options"].items())
    observer = native.Observer()
    progress = Progress(observer, "never" if job["quiet"] else os.environ.get("PARTITA_PROGRESS", "always"))
    began = time.monotonic()
    try:
        plan = native.CompiledPlan.from_text(job["compiled"])
        poll = progress.poll if progress.tells else None
        with contextlib.redirect_stdout(sys.stderr):  # what engines say, and what workers print
            result = json.loads(driver.run(plan, pairs, observer, poll, native.engine_of(plan, pairs)))
    except PartitaError as error:
        return _failed(error, job, observer, began)
    except KeyboardInterrupt:
        return _stopped(job, observer, began)
    finally:
        progress.close()
    seconds = time.monotonic() - began
    stats = json.loads(observer.snapshot())
    if job["json"]:
        _print(_summary(result, stats, seconds))
    elif not job["quiet"]:
        sys.stdout.write(_summary_text(result, stats, seconds))
    return 0


def _interrupt(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise KeyboardInterrupt


def _print(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _dataset(form: dict[str, Any]) -> dict[str, Any]:
    files = form["files"]
    return {**form, "files": len(files), "bytes": sum(file["bytes"] for file in files)}


def _summary(result: dict[str, Any], stats: dict[str, Any], seconds: float) -> dict[str, Any]:
    return {
        "status": "ok",
        "was_complete": result["was_complete"],
        "datasets": [_dataset(form) for form in result["datasets"]],
        "quarantine": _dataset(result["quarantine"]) if result["quarantine"] else None,
        "seconds": seconds,
        "stats": stats,
        "record": result["record_path"],
    }


def _plural(count: int, noun: str) -> str:
    return f"{format_count(count)} {noun}" + ("" if count == 1 else "s")


def _summary_text(result: dict[str, Any], stats: dict[str, Any], seconds: float) -> str:
    lines = ["nothing to do: complete"] if result["was_complete"] else []
    written = [*result["datasets"], *([result["quarantine"]] if result["quarantine"] else [])]
    for form in map(_dataset, written):
        rows, files = _plural(form["rows"], "row"), _plural(form["files"], "file")
        lines.append(f"{form['step']}: {rows} in {files}, {format_bytes(form['bytes'])} -> {form['path']}")
    if not result["was_complete"]:
        for step in stats["steps"]:
            bad = [
                f"{format_count(step[name])} {word}"
                for name, word in (("rows_skipped", "skipped"), ("rows_quarantined", "quarantined"))
                if step[name] > 0
            ]
            if bad:
                lines.append(f"{step['name']}: {', '.join(bad)}")
        memory, tasks = stats["memory"], stats["tasks"]
        text = f"{format_seconds(seconds)}, peak memory {format_bytes(memory['peak'])}"
        text += f" of {format_bytes(memory['limit'])} a worker"
        if stats["source_bytes_read"] > 0:
            text += f", {format_bytes(stats['source_bytes_read'])} read"
        if tasks["resumed"] > 0:
            text += f", {format_count(tasks['resumed'])} of {_plural(tasks['total'], 'task')} done before"
        lines.append(text)
    return "".join(line + "\n" for line in lines)


def _progress_text(stats: dict[str, Any], *, stopped: bool) -> str:
    done, total = stats["tasks"]["done"], stats["tasks"]["total"]
    if total == 0 or (done == 0 and not stopped):
        return ""
    tasks = f"{format_count(done)} of {_plural(total, 'task')} {'is' if done == 1 else 'are'} done"
    if stopped:
        return f"stopped: {tasks}; the same command resumes from here\n"
    return f"{tasks}; once the fault is mended, the same command resumes from here\n"


def _failed(error: PartitaError, job: dict[str, Any], observer: native.Observer, began: float) -> int:
    code = EXIT_CODES.get(error.kind, _BUG)
    stats = json.loads(observer.snapshot())
    if job["json"]:
        form = {"kind": error.kind, "message": error.message, "exit_code": code}
        for name in ("step", "partition", "file", "row", "hint"):
            if getattr(error, name) is not None:
                form[name] = getattr(error, name)
        _print({"status": "failed", "error": form, "seconds": time.monotonic() - began, "stats": stats})
    sys.stderr.write(f"{error}\n")
    if not job["quiet"]:
        sys.stderr.write(_progress_text(stats, stopped=False))
    return code


def _stopped(job: dict[str, Any], observer: native.Observer, began: float) -> int:
    code = EXIT_CODES["cancelled"]
    stats = json.loads(observer.snapshot())
    message = "the run was cancelled"
    if job["json"]:
        form = {"kind": "user", "message": message, "exit_code": code}
        _print({"status": "cancelled", "error": form, "seconds": time.monotonic() - began, "stats": stats})
    sys.stderr.write(f"cancelled: {message}\n")
    if not job["quiet"]:
        sys.stderr.write(_progress_text(stats, stopped=True))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
