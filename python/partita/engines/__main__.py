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
from ..errors import CancelledError, PartitaError
from ..progress import Progress
from . import driver


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
            finished = driver.run(plan, pairs, observer, poll, native.engine_of(plan, pairs))
    except PartitaError as error:
        return _failed(error, job, observer, time.monotonic() - began)
    except KeyboardInterrupt:
        return _failed(CancelledError("the run was cancelled"), job, observer, time.monotonic() - began)
    finally:
        progress.close()
    seconds = time.monotonic() - began
    if job["json"]:
        sys.stdout.write(finished.summary_json(observer, seconds))
    elif not job["quiet"]:
        sys.stdout.write(finished.summary_text(observer, seconds))
    return 0


def _interrupt(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise KeyboardInterrupt


def _failed(error: PartitaError, job: dict[str, Any], observer: native.Observer, seconds: float) -> int:
    form, text, unfinished, code = native.failure(driver.status_text(error), observer, seconds)
    if job["json"]:
        sys.stdout.write(form)
    sys.stderr.write(f"{text}\n")
    if not job["quiet"]:
        sys.stderr.write(unfinished)
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
