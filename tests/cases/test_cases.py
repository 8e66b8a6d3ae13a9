"""Runs the golden cases (README.md) under all settings of tests/configs/."""

from __future__ import annotations

import io
import json
import re
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

HERE = Path(__file__).parent
CASES = sorted(HERE.glob("*.case"))
CONFIGS = sorted((HERE.parent / "configs").glob("*.json"))
TYPES = {
    "int8": pa.int8(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "bool": pa.bool_(),
    "list<int64>": pa.list_(pa.int64()),
    "struct<a:int64,b:string>": pa.struct([("a", pa.int64()), ("b", pa.string())]),
    "list<string>": pa.list_(pa.string()),
    "date": pa.date32(),
}


@dataclass
class Section:
    title: str
    text: str


def read_case(path: Path) -> list[Section]:
    parts = re.split(r"^-- (.+) --\n", path.read_text(), flags=re.MULTILINE)
    assert parts[0].strip(), f"{path.name}: the first lines say what the case shows"
    return [Section(title, text) for title, text in zip(parts[1::2], parts[2::2], strict=True)]


def parquet_of(text: str) -> bytes:
    lines = text.splitlines()
    schema = None
    if lines and lines[0].startswith("# "):
        fields = re.findall(r"(\S+): ((?:list|struct)<[^>]*>|\w+)", lines.pop(0)[2:])
        schema = pa.schema([(name, TYPES[kind]) for name, kind in fields])
    rows = [json.loads(line) for line in lines if line]
    rows = [
        {k: bytes.fromhex(v["hex"]) if isinstance(v, dict) and "hex" in v else v for k, v in row.items()}
        for row in rows
    ]
    if schema is not None and pa.date32() in schema.types:
        import datetime

        for row in rows:
            for field in schema:
                if field.type == pa.date32() and row.get(field.name):
                    row[field.name] = datetime.date.fromisoformat(row[field.name])
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink, row_group_size=2)
    return sink.getvalue()


def tar_of(text: str) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for line in text.splitlines():
            member = json.loads(line)
            content = bytes.fromhex(member["hex"]) if "hex" in member else member["text"].encode()
            info = tarfile.TarInfo(member["name"])
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return sink.getvalue()


def input_of(section: Section) -> bytes:
    if section.title.endswith(".parquet"):
        return parquet_of(section.text)
    if section.title.endswith(".tar"):
        return tar_of(section.text)
    return section.text.encode()


def plain(value):
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value if isinstance(value, (int, float, str, bool, type(None))) else str(value)


def members_of(dataset) -> str:
    text = ""
    for path in dataset.files():
        with tarfile.open(path) as tar:
            for member in tar:
                text += f"{member.name}: {tar.extractfile(member).read().decode(errors='backslashreplace')}\n"
    return text


def run(workspace, config):
    if config.get("kill"):
        process = workspace.start("pipeline.yaml", options=config.get("options"))
        time.sleep(0.03)
        process.kill()
        process.communicate()
    return workspace.run("pipeline.yaml", **config.get("options", {}))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_case(workspace, case, config):
    sections = read_case(case)
    expected = [s for s in sections if s.title.split()[0] in ("rows", "file", "members", "error")]
    assert expected, "a case that cannot fail is a defect"
    for section in sections:
        if section not in expected:
            workspace.write(section.title, input_of(section))
    finished = run(workspace, json.loads(config.read_text()))
    fails = any(s.title.startswith("error") for s in expected)
    assert (finished.exit_code != 0) == fails, str(finished)
    for section in expected:
        what, _, of = section.title.partition(" ")
        if what == "rows":
            found = [plain(row) for row in workspace.dataset(of).rows()]
            assert found == [json.loads(line) for line in section.text.splitlines() if line], str(finished)
        elif what == "file":
            assert (workspace.path / of).read_text() == section.text
        elif what == "members":
            assert members_of(workspace.dataset(of)) == section.text
        else:
            assert finished.stderr.startswith(f"{of} error"), str(finished)
            for line in section.text.splitlines():
                assert line in finished.stderr, str(finished)
