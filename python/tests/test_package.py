"""The package itself: what it needs, and what it does where that is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import partita as pt


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_another_arrow_is_refused() -> None:
    done = run("import pyarrow; pyarrow.__version__ = '25.0.0'; import partita")
    assert done.returncode == 1
    assert "ImportError: partita is built against Arrow 26, but pyarrow is 25.0.0" in done.stderr


def test_pyarrow_is_needed() -> None:
    done = run("import sys; sys.modules['pyarrow'] = None; import partita")
    assert done.returncode == 1
    assert "pip install 'pyarrow==26.*'" in done.stderr


def test_arrow_is_shared_in_the_process() -> None:
    pt.range(1).to_arrow()
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("no /proc")
    libraries = {line.split()[-1] for line in maps.read_text().splitlines() if "libarrow.so" in line}
    assert libraries == {next(iter(libraries))}
    assert Path(next(iter(libraries))).parent == Path(pa.__file__).parent


def test_tls_and_hashes_of_the_process_stay_whole() -> None:
    # pyarrow's libparquet exports an OpenSSL of its own; nothing else may bind to it.
    done = run("import partita, hashlib, ssl; ssl.create_default_context(); print(hashlib.new('sha3_256').digest_size)")
    assert (done.returncode, done.stdout) == (0, "32\n")


def test_heavy_libraries_are_not_imported() -> None:
    done = run("import sys, partita; print([m for m in ('pandas', 'polars', 'duckdb') if m in sys.modules])")
    assert done.stdout == "[]\n"


def test_version_and_names() -> None:
    assert pt.__version__.count(".") == 2
    assert all(hasattr(pt, name) for name in pt.__all__)


def test_help_at_a_prompt() -> None:
    assert "resize_images" in pt.components()
    assert "size" in pt.describe("resize_images")
    with pytest.raises(pt.UserError, match="resize_images"):
        pt.describe("resize_image")
