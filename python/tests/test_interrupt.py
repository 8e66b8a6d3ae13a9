"""Ctrl-C ends whatever is under way, as a KeyboardInterrupt, and leaves nothing half-written."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CASES = {
    "write": "pt.range(10**11).filter('id < 0').write_parquet('out')",
    "count": "pt.range(10**11).filter('id < 0').count()",
    "take": "pt.range(10**11).filter('id < 0').take(1)",
    "table": "pt.range(10**11).filter('id < 0').to_arrow()",
    "iterate": "\nfor batch in pt.range(10**11).filter('id % 100000 = 0').iter_batches(): pass",
    "stream": "pa.table(pt.range(10**11).filter('id < 0'))",
}


@pytest.mark.parametrize("case", CASES)
def test_ctrl_c(case: str) -> None:
    code = f"import partita as pt, pyarrow as pa\nprint('ready', flush=True)\n{CASES[case]}"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.5)
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            # It takes a fifth of a second; a busy machine may need longer, a run that does not stop needs hours.
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert "KeyboardInterrupt" in errors
    # Through an Arrow stream an error is text: there the consumer's exception may name it.
    assert process.returncode in ((1, -signal.SIGINT) if case == "stream" else (-signal.SIGINT,))
    assert not list(Path().glob("out/*.parquet"))


def test_any_signal_handler_may_raise() -> None:
    code = """
import signal, partita as pt
class Enough(Exception): pass
def handler(*_): raise Enough
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.3)
try:
    pt.range(10**11).filter('id < 0').write_parquet('out')
except Enough:
    print(pt.range(3).to_arrow().num_rows)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "3\n"
