"""Law 2: the budget is hard. Under a kernel limit of budget + 256 MiB no run is killed, whatever its input."""

from __future__ import annotations

import hashlib
import json
import os
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from binary import SCALE
from kernel_limit import kernel_limit

MIB = 1 << 20
SLACK = 256 * MIB
UNACCOUNTED = 160 * MIB


def run_limited(workspace, memory_mib, capsys, **options):
    """Runs p.yaml under the kernel's limit; the first dataset is out/."""
    with kernel_limit(memory_mib * MIB + SLACK) as limit:
        finished = workspace.run("p.yaml", memory=f"{memory_mib}MiB", preexec_fn=limit.enter, **options)
        assert limit.kills == 0, f"killed by the kernel\n{finished}"
        assert finished.exit_code == 0, str(finished)
        memory = workspace.dataset("out").records()[-1]["stats"]["memory"]
        with capsys.disabled():
            print(
                f"\n  budget {memory_mib} MiB: cgroup peak {limit.peak_bytes // MIB}, accounted peak "
                f"{memory['peak'] // MIB}, unaccounted {memory['unaccounted_peak'] // MIB} MiB; "
                f"{finished.seconds:.1f} s"
            )
    assert memory["peak"] <= memory_mib * MIB
    assert memory["unaccounted_peak"] < UNACCOUNTED
    return memory


def noise(size, seed):
    return np.random.default_rng(seed).integers(0, 1 << 62, size)


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_one_huge_row_group(workspace, capsys, threads):
    rows = int(20_000_000 * SCALE)
    table = pa.table({"a": noise(rows, 1), "b": noise(rows, 2) % 1000, "c": noise(rows, 3).astype(np.float64)})
    workspace.write_table("in/a.parquet", table, row_group_size=rows, compression="none", use_dictionary=["b"])
    expected = int((table["a"].to_numpy() % 3 == 0).sum())
    del table
    workspace.write(
        "p.yaml",
        "steps:\n  - read_parquet: in\n  - filter: a % 3 = 0\n  - write_parquet: {path: out, row_group_bytes: 16MiB}\n",
    )
    run_limited(workspace, 96, capsys, threads=threads)
    assert workspace.dataset("out").manifest["num_rows"] == expected


@pytest.mark.parametrize("threads", [1, 8])
def test_fat_values_beside_small_columns(workspace, capsys, threads):
    """Values of 16 to 64 MiB: each alone is a good part of the budget."""
    r = np.random.default_rng(5)
    count = max(4, int(10 * SCALE))
    sizes = [int(r.integers(16, 65)) * MIB for _ in range(count)]
    digests = {}
    schema = pa.schema({"id": pa.int64(), "blob": pa.large_binary(), "caption": pa.string()})
    (workspace.path / "in").mkdir()
    writer = None
    for i, size in enumerate(sizes):
        if i % 5 == 0:
            if writer:
                writer.close()
            writer = pq.ParquetWriter(
                workspace.path / f"in/{i // 5}.parquet", schema, compression="snappy", use_dictionary=False
            )
        blob = r.bytes(size // 2) + bytes(size - size // 2)
        digests[i] = hashlib.sha256(blob).hexdigest()
        writer.write_table(pa.table({"id": [i], "blob": pa.array([blob], pa.large_binary()), "caption": ["x"]}, schema))
    writer.close()
    del blob
    workspace.write(
        "p.yaml",
        "steps:\n  - read_parquet: in\n  - filter: id >= 0\n"
        "  - write_parquet: {path: out, compression: snappy, row_group_size: 1}\n"
        "  - write_webdataset: {path: shards, extensions: {blob: bin}}\n",
    )
    run_limited(workspace, 512, capsys, threads=threads)
    for path in workspace.dataset("out").files():
        file = pq.ParquetFile(path)
        for g in range(file.num_row_groups):
            group = file.read_row_group(g)
            for i, blob in zip(group["id"].to_pylist(), group["blob"], strict=True):
                assert hashlib.sha256(blob.as_buffer()).hexdigest() == digests.pop(i)
    assert not digests


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_one_big_text_file(workspace, capsys, kind):
    size = int(192 * MIB * SCALE)
    r = random.Random(3)
    words = [f"{r.getrandbits(120):030x}" for _ in range(500)]
    path = workspace.path / f"in/a.{kind}"
    path.parent.mkdir()
    rows = 0
    with path.open("w") as out:
        if kind == "csv":
            out.write("id,text,n\n")
        while out.tell() < size:
            chunk = []
            for _ in range(5000):
                text = words[rows % 500] * (1 + rows % 7)
                chunk.append(
                    json.dumps({"id": rows, "text": text, "n": rows / 3})
                    if kind == "jsonl"
                    else f"{rows},{text},{rows / 3}"
                )
                rows += 1
            out.write("\n".join(chunk) + "\n")
    workspace.write(
        "p.yaml",
        f"steps:\n  - read_{kind}: {{path: in, partition_bytes: 1GiB}}\n  - filter: id % 2 = 0\n"
        "  - write_parquet: out\n  - write_jsonl: {path: lines, rows_per_file: 100000}\n",
    )
    run_limited(workspace, 96, capsys, threads=8)
    assert workspace.dataset("out").manifest["num_rows"] == (rows + 1) // 2


@pytest.mark.parametrize("threads", [1, 8])
def test_many_partition_folders(workspace, capsys, threads):
    """A thousand open files at once would not fit: encoders are given back, not multiplied."""
    rows = int(400_000 * SCALE)
    table = pa.table({"k": noise(rows, 1) % 300, "v": noise(rows, 2), "t": [f"text {i}" * 4 for i in range(rows)]})
    workspace.write_table("in/a.parquet", table, row_group_size=rows)
    workspace.write(
        "p.yaml",
        f"steps:\n  - read_parquet: {{path: in, rows_per_partition: {rows // 3}}}\n"
        "  - write_parquet: {path: out, partition_by: [k]}\n  - write_csv: {path: csv, partition_by: [k]}\n",
    )
    run_limited(workspace, 128, capsys, threads=threads)
    assert workspace.dataset("out").manifest["num_rows"] == rows


def test_a_fast_branch_beside_a_slow_one(workspace, capsys):
    """The slow sink must not make the fast one hold rows without bound, nor may either wait for ever."""
    rows = int(3_000_000 * SCALE)
    table = pa.table({"a": noise(rows, 1), "b": noise(rows, 2)})
    workspace.write_table("in/a.parquet", table, row_group_size=rows, compression="none")
    workspace.write(
        "p.yaml",
        """
steps:
  - read_parquet: {path: in, rows_per_partition: 700000}
    name: base
  - write_parquet: {path: out, compression: none, dictionary: false}
  - filter: a % 10 = 0
  - with_columns: {t: "repeat(cast(b as string), 30)"}
  - write_parquet: {path: slow, compression: zstd, compression_level: 12}
  - filter: a % 3 = 0
    input: base
  - limit: 500000
  - write_csv: limited
""",
    )
    run_limited(workspace, 64, capsys, threads=2)
    assert workspace.dataset("out").manifest["num_rows"] == rows
    assert workspace.dataset("limited").manifest["num_rows"] == min(500000, int((table["a"].to_numpy() % 3 == 0).sum()))


def test_expanding_rows(workspace, capsys):
    """A step that makes a hundred times more than it takes: it runs on slices, its output never stands whole."""
    workspace.write(
        "p.yaml",
        f"steps:\n  - range: {{n: {int(60_000 * SCALE)}}}\n"
        "  - with_columns: {t: \"repeat(cast(id as string) || '-0123456789', 400)\"}\n"
        "  - filter: starts_with(t, '1')\n  - write_jsonl: out\n",
    )
    run_limited(workspace, 64, capsys, threads=8)


def test_a_value_that_cannot_fit_is_a_clear_error(workspace):
    blob = os.urandom(MIB) * 200
    workspace.write_table(
        "in/a.parquet",
        pa.table({"id": [0, 1], "blob": pa.array([b"x", blob], pa.large_binary())}),
        use_dictionary=False,
    )
    del blob
    workspace.write("p.yaml", "steps:\n  - read_parquet: in\n  - filter: id < 5\n  - write_parquet: out\n")
    with kernel_limit(64 * MIB + SLACK) as limit:
        finished = workspace.run_bad("p.yaml", memory="64MiB", preexec_fn=limit.enter)
        assert limit.kills == 0
    assert "memory" in finished.stderr
    assert "--memory" in finished.stderr
    assert "partition 0" in finished.stderr
    assert not workspace.dataset("out").is_finished
    # The advice is true: with more memory the same command goes on.
    workspace.run_ok("p.yaml", memory="1GiB")


def write_whole_pages(workspace, values_of_files, compression):
    """All values of a file in one page: what common writers make of ten fat rows. Returns digests by id."""
    digests = {}
    for number, values in enumerate(values_of_files):
        ids = range(len(digests), len(digests) + len(values))
        for i, value in zip(ids, values, strict=True):
            digests[i] = hashlib.sha256(value).hexdigest()
        table = pa.table({"id": ids, "k": [i % 3 for i in ids], "blob": pa.array(values, pa.large_binary())})
        workspace.write_table(f"in/{number}.parquet", table, use_dictionary=False, compression=compression)
    return digests


def fat_blob(size, seed):
    return np.random.default_rng(seed).bytes(size // 2) + bytes(size // 4) + b"some words " * (size // 44)


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("compression", ["snappy", "zstd", "none"])
def test_a_page_larger_than_the_budget(workspace, capsys, threads, compression):
    size = int(16 * MIB * SCALE)
    files = [[fat_blob(size, 100 * f + i) for i in range(10)] for f in range(2)]
    digests = write_whole_pages(workspace, files, compression)
    del files
    workspace.write(
        "p.yaml",
        "steps:\n  - read_parquet: in\n  - write_parquet: {path: out, partition_by: [k], compression: snappy}\n",
    )
    run_limited(workspace, 96, capsys, threads=threads)
    for path in workspace.dataset("out").files():
        for batch in pq.ParquetFile(path).iter_batches(1, columns=["id", "blob"]):
            assert hashlib.sha256(batch["blob"][0].as_buffer()).hexdigest() == digests.pop(batch["id"][0].as_py())
    assert not digests


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_a_value_of_a_page_that_cannot_fit_is_a_clear_error(workspace, threads):
    """Several tasks are refused at once: what one gives back must not send the others round for ever."""
    files = [[fat_blob(size * MIB, size + f) for size in (4, 4, 96, 4)] for f in range(4)]
    write_whole_pages(workspace, files, "snappy")
    del files
    workspace.write(
        "p.yaml",
        "steps:\n  - read_parquet: in\n  - filter: id < 100\n  - write_parquet: {path: out, partition_by: [k]}\n",
    )
    with kernel_limit(64 * MIB + SLACK) as limit:
        finished = workspace.run_bad("p.yaml", memory="64MiB", threads=threads, preexec_fn=limit.enter)
        assert limit.kills == 0
    assert finished.exit_code == 4, str(finished)
    for words in ("read_parquet", "partition ", "row 2", "96", "--memory"):
        assert words in finished.stderr, str(finished)
    workspace.run_ok("p.yaml", memory="1GiB")
    assert workspace.dataset("out").manifest["num_rows"] == 16


def test_a_budget_below_the_least_is_refused_before_anything_is_written(workspace):
    sinks = "".join(f"  - write_parquet: {{path: out{i}, partition_by: [b]}}\n" for i in range(12))
    workspace.write("p.yaml", "steps:\n  - range: {n: 5}\n  - with_columns: {b: id % 2}\n" + sinks)
    finished = workspace.run_bad("p.yaml", memory="16MiB")
    assert "--memory" in finished.stderr
    assert not list(workspace.path.glob("out*"))
    assert "option memory" in workspace.run_bad("p.yaml", memory="1MiB").stderr
