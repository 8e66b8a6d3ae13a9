"""Law 7: a bad row fails the run, is skipped and counted, or goes to the quarantine: the user's choice, per step."""

import shutil

import pyarrow as pa
import pytest

BAD = """
steps:
  - read_parquet: {path: in, rows_per_partition: 120}
  - with_columns: {n: cast(text as int64)}
    name: parse
%s
  - write_parquet: out
"""
SETTINGS = [
    {"threads": 1, "memory": "64MiB"},
    {"threads": 2, "memory": "64MiB"},
    {"threads": 8, "memory": "1GiB"},
]


def is_bad(i):
    return i % 97 == 5 or 400 <= i < 410


@pytest.fixture
def texts(workspace):
    for f in range(3):
        ids = range(f * 300, f * 300 + 300)
        table = pa.table({"id": list(ids), "text": [f"no {i}" if is_bad(i) else str(i) for i in ids]})
        workspace.write_table(f"in/{f}.parquet", table, row_group_size=50)
    return workspace


def good_rows():
    return [{"id": i, "text": str(i), "n": i} for i in range(900) if not is_bad(i)]


@pytest.mark.parametrize("policy", ["", "    on_error: fail"])
def test_fail_names_step_file_and_row(texts, policy):
    texts.write("p.yaml", BAD % policy)
    seen = set()
    for setting in SETTINGS:
        finished = texts.run_bad("p.yaml", **setting)
        assert "data error" in finished.stderr
        assert "parse" in finished.stderr
        assert "0.parquet" in finished.stderr or "1.parquet" in finished.stderr or "2.parquet" in finished.stderr
        assert "no " in finished.stderr, "shows the value"
        seen.add(finished.exit_code)
        assert not texts.dataset("out").is_finished
        shutil.rmtree(texts.path / "out")
    assert len(seen) == 1


def test_skip_leaves_out_and_counts(texts):
    texts.write("p.yaml", BAD % "    on_error: skip")
    for setting in SETTINGS:
        texts.run_ok("p.yaml", **setting)
        assert texts.dataset("out").rows() == good_rows()
        steps = {s["name"]: s for s in texts.dataset("out").records()[-1]["stats"]["steps"]}
        assert steps["parse"]["rows_skipped"] == 900 - len(good_rows())
        assert not (texts.path / "out/_quarantine").exists()
        shutil.rmtree(texts.path / "out")


def test_quarantine_has_the_rows_in_order_with_their_origin(texts):
    texts.write("p.yaml", BAD % "    on_error: quarantine")
    expected = None
    for setting in SETTINGS:
        texts.run_ok("p.yaml", **setting)
        assert texts.dataset("out").rows() == good_rows()
        found = texts.dataset("out/_quarantine").rows()
        assert [row["id"] for row in found] == [i for i in range(900) if is_bad(i)]
        for row in found:
            assert row["text"] == f"no {row['id']}"
            assert row["__step"] == "parse"
            assert row["__kind"] == "data"
            assert f"no {row['id']}" in row["__message"]
            assert row["__file"].endswith(f"in/{row['id'] // 300}.parquet")
            assert row["__file_row"] == row["id"] % 300
        bytes_found = texts.digests("out")
        expected = expected or bytes_found
        assert bytes_found == expected, setting
        shutil.rmtree(texts.path / "out")


def test_the_option_serves_steps_that_name_no_policy(texts):
    texts.write("p.yaml", BAD % "")
    texts.run_ok("p.yaml", on_error="skip")
    assert texts.dataset("out").rows() == good_rows()


def test_several_steps_each_with_its_policy(texts):
    texts.write(
        "p.yaml",
        """
steps:
  - read_parquet: {path: in, rows_per_partition: 100}
  - with_columns: {small: cast(id as uint8)}
    name: narrow
    on_error: quarantine
  - with_columns: {n: cast(text as int64)}
    name: parse
    on_error: skip
  - with_columns: {q: 1000 / (n - 50)}
    name: divide
    on_error: quarantine
  - write_parquet: out
""",
    )
    texts.run_ok("p.yaml", threads=8)
    found = texts.dataset("out/_quarantine").rows()
    by_step = {}
    for row in found:
        by_step.setdefault(row["__step"], []).append(row["id"])
    assert by_step["narrow"] == list(range(256, 900))
    assert by_step["divide"] == [50]
    assert [r["id"] for r in texts.dataset("out").rows()] == [i for i in range(256) if not is_bad(i) and i != 50]


def test_all_rows_bad(texts):
    texts.write(
        "p.yaml", (BAD % "    on_error: quarantine").replace("cast(text as int64)", "cast(text || 'x' as int64)")
    )
    texts.run_ok("p.yaml", memory="64MiB")
    assert texts.dataset("out").manifest["num_rows"] == 0
    assert len(texts.dataset("out/_quarantine").rows()) == 900


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_bad_rows_of_a_source(workspace, kind):
    if kind == "csv":
        lines = ["id,v"] + [f"{i},{'bad' if i % 50 == 7 else i}" for i in range(400)]
        lines.insert(101, "1,2,3,4")
        bad = 9
    else:
        lines = [f'{{"id": {i}, "v": {chr(34) + "bad" + chr(34) if i % 50 == 7 else i}}}' for i in range(400)]
        lines.insert(100, '{"id": 5, "v": ')
        bad = 9
    workspace.write(f"in/a.{kind}", "\n".join(lines) + "\n")
    text = f"""
steps:
  - read_{kind}: {{path: in, column_types: {{id: int64, v: int64}}, partition_bytes: 1000}}
    name: read
%s
  - write_parquet: out
"""
    good = [{"id": i, "v": i} for i in range(400) if i % 50 != 7]
    workspace.write("p.yaml", text % "")
    finished = workspace.run_bad("p.yaml")
    assert f"a.{kind}" in finished.stderr
    workspace.write("p.yaml", text % "    on_error: skip")
    workspace.run_ok("p.yaml", fresh=True)
    assert workspace.dataset("out").rows() == good
    workspace.write("p.yaml", text % "    on_error: quarantine")
    expected = None
    for setting in SETTINGS:
        workspace.run_ok("p.yaml", fresh=True, **setting)
        assert workspace.dataset("out").rows() == good
        found = workspace.dataset("out/_quarantine").rows()
        assert len(found) == bad
        assert all(row["__step"] == "read" and row["__file"].endswith(f"a.{kind}") for row in found)
        bytes_found = workspace.digests("out")
        expected = expected or bytes_found
        assert bytes_found == expected, setting


def test_quarantine_before_a_limit(workspace):
    """How far tasks ran beyond the limit is chance; what the quarantine holds is not."""
    workspace.write(
        "p.yaml",
        """
steps:
  - range: {n: 20000, rows_per_partition: 100}
  - with_columns: {v: "cast(case when id % 10 = 5 then 'bad' else cast(id as string) end as int32)"}
    on_error: quarantine
  - limit: 950
  - write_parquet: out
""",
    )
    expected = None
    for setting in SETTINGS:
        workspace.run_ok("p.yaml", **setting)
        found = workspace.digests("out")
        expected = expected or found
        assert found == expected, setting
        shutil.rmtree(workspace.path / "out")
