"""Law 1 over engines: each writes the bytes of the local one (data, manifests, quarantine), and fails as it does."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from binary import Workspace
from inputs import ALL, write_all
from under_test import Engine

sys.path.insert(0, str(Path(__file__).parents[1] / "cases"))
from test_cases import CASES, input_of, read_case

# One program runs them all, as a notebook would; each test then looks at its own part.
_ran: dict[tuple[str, str], dict[str, tuple[str, dict[str, str]]]] = {}
# Inputs are made once and copied with their times: these are in the snapshot, whose hash is in manifests.
_made: dict[str, Path] = {}


def outcomes(engine: Engine, what: str, make, factory) -> dict[str, tuple[str, dict[str, str]]]:
    """(error, digests) by pipeline."""
    if what not in _made:
        _made[what] = factory.mktemp(what)
        make(_made[what])
    key = (engine.address, what)
    if key not in _ran:
        folder = factory.mktemp(f"{what}-{type(engine).__name__}")
        shutil.copytree(_made[what], folder, symlinks=True, dirs_exist_ok=True)
        folders = [path for path in sorted(folder.iterdir()) if (path / "pipeline.yaml").exists()]
        errors = engine.run_many(folders)
        _ran[key] = {path.name: (errors[path], written(path)) for path in folders}
        shutil.rmtree(folder)
    return _ran[key]


def written(folder: Path) -> dict[str, str]:
    given = {"in", "inputs", "pipeline.yaml", "functions.py", "__pycache__", "plan.json"}
    return {
        f"{path.name}/{name}": digest
        for path in sorted(folder.iterdir())
        if path.name not in given and path.is_dir()
        for name, digest in Workspace(folder).digests(path.name).items()
    }


def make_pipelines(folder: Path) -> None:
    write_all(folder, list(ALL))


def make_cases(folder: Path) -> None:
    for path in CASES:
        workspace = Workspace(folder / path.stem)
        for section in read_case(path):
            if section.title.split()[0] not in ("rows", "file", "members", "error"):
                workspace.write(section.title, input_of(section))


@pytest.mark.parametrize("name", ALL)
def test_a_pipeline(engine, name, tmp_path_factory):
    expected = outcomes(Engine(), "pipelines", make_pipelines, tmp_path_factory)[name]
    assert expected[0] == ""
    assert expected[1]
    found = outcomes(engine, "pipelines", make_pipelines, tmp_path_factory)[name]
    assert found == expected


@pytest.mark.parametrize("case", [path.stem for path in CASES])
def test_a_golden_case(engine, case, tmp_path_factory):
    """The cases say what must come out, and tests/cases proves the local engine right: here both must agree."""
    expected = outcomes(Engine(), "cases", make_cases, tmp_path_factory)[case]
    found = outcomes(engine, "cases", make_cases, tmp_path_factory)[case]
    assert what_failed(found[0]) == what_failed(expected[0]), found[0]
    if not expected[0]:
        assert found[1] == expected[1]


def what_failed(error: str) -> str:
    """Kind and step. Of several rows that fail an engine may name any, as it came to them."""
    return re.split(r"[,:]", error)[0]
