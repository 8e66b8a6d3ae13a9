"""The copy of Arrow that the build tree's command starts with (cmake/trim_arrow.py)."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest

SCRIPT = Path(__file__).parents[2] / "cmake" / "trim_arrow.py"
FOLDER = Path(pyarrow.get_library_dirs()[0])
LIBRARIES = sorted(FOLDER.glob("libparquet.so.*"))


def trim(out: Path, *libraries: Path) -> str:
    done = subprocess.run([sys.executable, SCRIPT, out, *libraries], capture_output=True, text=True, check=True)
    return done.stderr


def test_what_is_no_library_is_copied(tmp_path: Path) -> None:
    file = tmp_path / "libnothing.so.1"
    file.write_bytes(b"\x7fELF, or so it says")
    assert "copied as it is" in trim(tmp_path / "out", file)
    assert (tmp_path / "out" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.skipif(not LIBRARIES, reason="pyarrow has no libraries of its own")
def test_only_relocations_differ(tmp_path: Path) -> None:
    assert trim(tmp_path, LIBRARIES[0]) == ""
    before, after = LIBRARIES[0].read_bytes(), (tmp_path / LIBRARIES[0].name).read_bytes()
    assert len(before) == len(after)
    spec = importlib.util.spec_from_file_location("trim_arrow", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    ranges = [module.Library(before).section(name) for name in (".rela.dyn", ".got.plt", ".dynamic")]
    at = 0
    for _, offset, size in sorted(ranges, key=lambda r: r[1]):
        assert before[at:offset] == after[at:offset]
        at = offset + size
    assert before[at:] == after[at:]
    # A name that is looked up costs a start most: far fewer are left.
    names = [sum(1 for r in module.Library(data).relocations(".rela.dyn") if r[1] >> 32) for data in (before, after)]
    assert names[1] < names[0] / 2
