"""Components that users write: their manifest, what they get and give, and what is refused before anything runs."""

from __future__ import annotations

import io
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import partita as pt


@pt.component(consumes={"x": "int64"}, produces={"y": "double"}, version="3", batch_size=7)
class Scales:
    """Multiplies x.

    More of it.
    """

    def __init__(self, factor: float, offset: int = 0) -> None:
        self.factor, self.offset = factor, offset

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        assert list(batch) == ["x"], "what it consumes, and no more"
        assert len(batch["x"]) <= 7
        return {"y": batch["x"] * self.factor + self.offset}


def rows(n: int = 20) -> pt.Dataset:
    return pt.from_arrow(pa.table({"text": [f"t{i}" for i in range(n)], "x": range(n), "flag": [None] * n}))


def test_other_columns_pass_it_by() -> None:
    made = rows().apply(Scales, factor=0.5, offset=1)
    assert made.schema() == rows().to_arrow().schema.append(pa.field("y", pa.float64()))
    got = made.to_arrow()
    assert got.drop_columns(["y"]).equals(rows().to_arrow())
    assert got["y"].to_pylist() == [i * 0.5 + 1 for i in range(20)]


@pytest.mark.parametrize("batch_format", ["numpy", "arrow", "pandas", "polars"])
def test_what_it_produces_takes_the_place_of_what_was_there(batch_format: str) -> None:
    @pt.component(consumes={"x": "int64"}, produces={"x": "int64"}, batch_format=batch_format)
    def same(batch: Any) -> Any:
        return batch

    assert rows().apply(same).to_arrow().equals(rows().to_arrow())


def test_its_rows_are_skipped_into_and_bad_ones_left_out() -> None:
    @pt.component(consumes={"x": "int64"}, produces={"y": "int64"})
    def inverted(batch: dict[str, Any], total: int) -> dict[str, Any]:
        if 3 in batch["x"]:
            raise ValueError("no three")
        return {"y": total - batch["x"]}

    got = rows().apply(inverted, total=20, on_error="skip", name="mine", options={"concurrency": 1})
    assert got.to_arrow()["y"].to_pylist() == [20 - i for i in range(20) if i != 3]
    assert got.stats().step("mine").rows_skipped == 1
    (shard,) = rows().apply(Scales, factor=2.0).streaming_split(1, seed=1)
    found = {int(x): y for b in shard.iter_batches(6) for x, y in zip(b["x"], b["y"], strict=True)}
    assert found == {x: 2.0 * x for x in range(20)}


def test_what_does_not_fit_is_refused_when_the_step_is_made() -> None:
    ds = rows()
    for wrong, message in (
        (lambda: ds.drop("x").apply(Scales, factor=1.0), "consumes a column 'x' of int64"),
        (lambda: ds.cast(x="string").apply(Scales, factor=1.0), "column 'x' of string"),
        (lambda: ds.apply(Scales), "needs the argument 'factor'"),
        (lambda: ds.apply(Scales, factr=1.0), "did you mean 'factor'"),
        (lambda: ds.apply(Scales, factor="many"), "factor must be float"),
        (lambda: ds.apply(Scales, factor=1.0, offset=True), "offset must be int"),
        (lambda: ds.apply(len), "is no component"),
        (lambda: ds.apply("limit", n=1, options={"concurrency": 1}), "components of your own"),
        (lambda: pt.component(consumes={"x": "int65"}, produces={"y": "int64"}), "int65"),
        (lambda: pt.component(consumes={"x": "int64"}, produces={}), "produces one"),
    ):
        with pytest.raises(pt.UserError, match=message):
            wrong()


def test_what_it_returns_must_be_what_it_says() -> None:
    @pt.component(consumes={"x": "int64"}, produces={"y": "int64"})
    def fewer(batch: dict[str, Any]) -> dict[str, Any]:
        return {"y": batch["x"][:3]}

    @pt.component(consumes={"x": "int64"}, produces={"y": "int64"})
    def other(batch: dict[str, Any]) -> dict[str, Any]:
        return {"z": batch["x"]}

    with pytest.raises(pt.UserError, match="made 3 of 20"):
        rows().apply(fewer).to_arrow()
    with pytest.raises(pt.UserError, match="no column 'y'"):
        rows().apply(other).to_arrow()


def test_programs_are_components_too() -> None:
    code = """
        import sys
        import pyarrow as pa
        with pa.ipc.open_stream(sys.stdin.buffer) as reader:
            table = reader.read_all()
        assert table.column_names == ["x"]
        out = pa.table({"half": pa.array([x / 2 for x in table["x"].to_pylist()])})
        with pa.ipc.new_stream(sys.stdout.buffer, out.schema) as writer:
            writer.write_table(out)
    """
    program = pt.Program([sys.executable, "-c", textwrap.dedent(code)], once=True)
    halves = pt.component(consumes={"x": "int64"}, produces={"half": "double"}, name="halves")(program)
    assert rows(4).apply(halves).take(2)[1] == {"text": "t1", "x": 1, "flag": None, "half": 0.5}


def test_described() -> None:
    assert str(pt.describe(Scales)).splitlines() == [
        "scales 3: Multiplies x.",
        "  consumes x: int64",
        "  produces y: float64",
        "  factor  float, required",
        "  offset  int = 0",
    ]


def test_in_a_pipeline_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_steps.py").write_text(
        textwrap.dedent("""
            import partita as pt

            @pt.component(consumes={"id": "int64"}, produces={"twice": "int64"})
            class Twice:
                def __init__(self, times: int = 1):
                    self.times = times
                def __call__(self, batch):
                    assert list(batch) == ["id"]
                    return {"twice": batch["id"] * 2 * self.times}
        """)
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    text = """
        steps:
          - range: 10
          - with_columns: {columns: {other: "id + 1"}}
          - map_batches: {fn: "my_steps:Twice", fn_constructor_kwargs: {times: 5}}
          - write_parquet: out
    """
    pt.from_yaml(io.StringIO(textwrap.dedent(text))).run()
    got = pt.read_parquet("out").to_arrow()
    assert got.column_names == ["id", "other", "twice"]
    np.testing.assert_array_equal(got["twice"].to_numpy(), np.arange(10) * 10)


def test_a_component_of_a_script_needs_nothing_of_it_in_the_worker(tmp_path: Path) -> None:
    script = """
        import partita as pt

        @pt.component(consumes={"id": "int64"}, produces={"next": "int64"})
        def following(batch):
            return {"next": batch["id"] + 1}

        print(pt.range(3).apply(following).to_arrow()["next"].to_pylist())
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("[1, 2, 3]\n", 0), done.stderr
