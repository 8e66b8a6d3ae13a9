"""What all tests of the package share."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import partita as pt

if not hasattr(pt, "Dataset"):  # the folder of the C++ library, found as a namespace package
    pytest.exit(
        "the Python package is not built: pip install . , or set PYTHONPATH=<build folder>/python", returncode=4
    )


# Tests import what stands beside them, whatever pytest's import mode is.
sys.path.insert(0, str(Path(__file__).parent))

# Background jobs start with SIGINT ignored, and so would the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test in a folder of its own, with no options but small, fixed ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARTITA_MEMORY", "512MiB")
    monkeypatch.setenv("PARTITA_THREADS", "2")
    yield
    pt.options.reset()
