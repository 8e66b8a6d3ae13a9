"""The examples of the documents run, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = DOCS / "python.md"


def test_the_guide(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_examples(GUIDE) >= 8
    assert "resize_images" in capsys.readouterr().out


def test_functions() -> None:
    assert run_examples(DOCS / "udf.md") >= 3


def run_examples(document: Path) -> int:
    text = document.read_text()
    blocks = [(match.start(), match.group(1)) for match in re.finditer(r"^```python\n(.*?)^```", text, re.S | re.M)]
    names: dict[str, object] = {"__name__": "__main__"}
    for start, block in blocks:
        line = text.count("\n", 0, start) + 1
        # Lines as in the file, so that a failure names its place.
        exec(compile("\n" * line + block, str(document), "exec"), names)
    return len(blocks)
