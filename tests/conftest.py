"""Tests of the whole engine through its native binary: PARTITA_BIN, else build/release/bin/partita.

Several processes may share them: `pytest -n 3 --dist loadfile tests`. Each test is in a folder, and on a cluster,
of its process alone.
"""

import signal
import sys
from pathlib import Path

import pytest

# Background jobs start with SIGINT ignored, and so would the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests import what stands beside them, whatever pytest's import mode is.
for _folder in (Path(__file__).parent, Path(__file__).parent / "laws"):
    sys.path.insert(0, str(_folder))

from binary import Workspace, binary_path  # noqa: E402
from clusters.fixtures import *  # noqa: E402, F403


@pytest.fixture
def workspace(tmp_path):
    if not binary_path().exists():
        pytest.skip(f"{binary_path()} is not built; PARTITA_BIN names another")
    return Workspace(tmp_path)
