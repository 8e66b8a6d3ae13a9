"""The examples of the documents run, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = DOCS / "python.md"
OPTIONAL = ("torch", "torchdata", "jax")  # packages that an example may need and not everybody has


def test_the_guide(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_examples(GUIDE) >= 8
    assert "resize_images" in capsys.readouterr().out


def test_functions() -> None:
    assert run_examples(DOCS / "udf.md") >= 3


# torch's loaders fork a process that has threads; that is told by Python, and by JAX where it is loaded.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("package", ["", *OPTIONAL])
def test_training(package: str) -> None:
    if package:
        pytest.importorskip(package)
    assert run_examples(DOCS / "training.md", package) == (3 if package else 2)


def run_examples(document: Path, package: str = "") -> int:
    """Those that need no optional package, or `package` alone. Returns how many."""
    text = document.read_text()
    names: dict[str, object] = {"__name__": "__main__"}
    count = 0
    for match in re.finditer(r"^```python\n(.*?)^```", text, re.S | re.M):
        block = match.group(1)
        if {name for name in OPTIONAL if re.search(rf"^(from|import) {name}\b", block, re.M)} <= {package}:
            line = text.count("\n", 0, match.start()) + 1
            # Lines as in the file, so that a failure names its place.
            exec(compile("\n" * line + block, str(document), "exec"), names)
            count += 1
    return count
