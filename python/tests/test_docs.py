"""The guide's examples run, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "python.md"


def test_the_guide(capsys: pytest.CaptureFixture[str]) -> None:
    text = GUIDE.read_text()
    blocks = [(match.start(), match.group(1)) for match in re.finditer(r"^```python\n(.*?)^```", text, re.S | re.M)]
    assert len(blocks) >= 8
    names: dict[str, object] = {}
    for start, block in blocks:
        line = text.count("\n", 0, start) + 1
        # Lines as in the file, so that a failure names its place.
        exec(compile("\n" * line + block, str(GUIDE), "exec"), names)
    assert "resize_images" in capsys.readouterr().out
