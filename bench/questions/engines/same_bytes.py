"""Every pipeline of the other questions at reduced size, on every engine: do they write the same bytes?"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import time

import paths
import pyarrow as pa
import pyarrow.parquet as pq
from harness import make
from results import Report, table

from questions import groupby, image, join, sort, startup, udf

from .cluster import IMAGE_PORT, image_servers, make_cluster, use_tests

QUESTION = "Every benchmark's pipeline at reduced size: the same bytes on local, worker processes, batch commands, Ray and Dask?"
IMAGES, RECORDS, ROWS, TENSORS, FAT_BYTES = 40, 20_000, 10_000, 20_480, 1 << 20
PARTITION_ROWS = 2000


def pipelines() -> dict[str, str]:
    """The text of each, with its parameters filled in; outputs are `out` in the folder it is run in."""
    fat = paths.DATA / f"fat-pages-4x10x{FAT_BYTES}"
    if not (fat / "_expected.json").exists():
        make("fat_data.py", fat, 4, 10, FAT_BYTES, "pages")
    tensors = {}
    for kind, rows in (("floats", 20_000), ("images", 64)):
        tensors[kind] = paths.DATA / f"tensors-{kind}-{rows}"
        if not (tensors[kind] / "_made").exists():
            make("tensors.py", "make", kind, tensors[kind], rows)
    pictures, _ = image.make_sources(IMAGES, "exact")
    urls = paths.DATA / f"cluster-urls-{IMAGES}.parquet"
    names = [f"{i:06d}" for i in range(IMAGES)]
    pq.write_table(pa.table({"url": [f"http://127.0.0.1:{IMAGE_PORT}/{n}.jpg" for n in names], "key": names}), urls)
    records, rows = sort.make_records(RECORDS), groupby.make_rows(ROWS)
    many, five = startup.make_sources(20)
    floats = udf.make_tensors(TENSORS)
    found = {
        "image to Parquet": filled("image_parquet", urls=urls),
        "image to WebDataset": filled("image_webdataset", urls=urls),
        "quality": filled("quality", **{"in": pictures}),
        "fat": filled("fat", **{"in": f"{fat}/*.parquet"}),
        "startup": filled("five_rows", **{"in": five}),
        "many files": json.dumps(
            {"steps": [{"read_parquet": {"path": str(many)}}, {"write_parquet": {"path": "out"}}]}
        ),
        "tasks": json.dumps(
            {
                "steps": [
                    {"range": {"n": 800, "rows_per_partition": 4}},
                    {"map_batches": {"fn": "identity:same", "schema": "id: int64"}},
                    {"write_parquet": {"path": "out"}},
                ]
            }
        ),
        "sort": filled("sort", **{"in": records / "data"}),
        "shuffle": filled("shuffle", **{"in": records / "data"}),
        "udf": filled("udf", **{"in": f"{floats}/*.parquet"}),
        "udf model": filled("udf_model", **{"in": f"{floats}/*.parquet"}),
        "udf double": filled("udf_double", **{"in": f"{floats}/*.parquet"}),
        "udf kills": filled("udf_kills", **{"in": f"{floats}/*.parquet"}).replace("1024", "8"),  # so that some die
    }
    for kind, folder in tensors.items():
        found[f"tensors {kind}"] = filled("tensors", **{"in": f"{folder}/*.parquet", "dictionary": kind == "images"})
    for question, (by, aggregates, behind) in groupby.QUERIES.items():
        read = {"read_parquet": {"path": str(rows / "data"), "rows_per_partition": PARTITION_ROWS}}
        steps = [read, {"group_by": {"by": by, "aggregates": aggregates}}]
        found[f"groupby {question}"] = json.dumps({"steps": [*steps, *behind, {"write_parquet": {"path": "out"}}]})
    tables = {kind: join.make_tables(kind, ROWS) for kind in ("wide", "db")}
    for job, (right, key, how) in join.JOINS.items():
        folder = tables["wide" if job == "wide" else "db"]
        found[f"join {job}"] = filled("join", left=folder / "left", right=folder / right, on=key, how=how)
    return found


def filled(name: str, **given: object) -> str:
    """A pipeline file with its parameters' values instead of their names."""
    steps = "steps:\n" + (paths.BENCH / "pipelines" / f"{name}.yaml").read_text().split("steps:\n")[1]
    for key, value in {"out": "out", "scaled": True, **given}.items():
        steps = steps.replace(f'"${{{key}}}"', json.dumps(value if isinstance(value, bool) else str(value)))
    assert "${" not in steps, steps
    # Reduced like the rows: else each would be one task.
    steps = re.sub(r"(read_parquet: \{path: \"[^\"]*\")\}", rf"\1, rows_per_partition: {PARTITION_ROWS}}}", steps)
    return steps.replace("rows_per_partition: 250", "rows_per_partition: 10")


def main(arguments: argparse.Namespace) -> int:
    use_tests()
    from binary import digests
    from under_test import BatchEngine, DaskEngine, Engine, ProcessEngine, RayEngine

    texts = {
        name: text
        for name, text in pipelines().items()
        if not arguments.only or name.startswith(tuple(arguments.only.split(",")))
    }
    report = Report("engines-bytes", QUESTION, {"pipelines": len(texts)})
    work = paths.empty(paths.ROOT / "build" / "bench-work" / "engines")
    found: dict[str, dict[str, tuple[str, dict[str, str]]]] = {}

    def play(engine: Engine, name: str) -> None:
        folders = {}
        for number, (pipeline, text) in enumerate(texts.items()):
            folders[pipeline] = folder = paths.empty(work / "run" / f"{number:02}")
            (folder / "pipeline.yaml").write_text(text)
            (folder / "identity.py").write_text("def same(batch):\n    return batch\n")
            shutil.copy(paths.PEERS / "udf.py", folder)
        began = time.monotonic()
        errors = engine.run_many(list(folders.values()), arguments.within)
        found[name] = {p: (errors[f], digests(f / "out") if (f / "out").exists() else {}) for p, f in folders.items()}
        print(f"  {name:<10} {time.monotonic() - began:6.1f} s", flush=True)
        paths.empty(work / "run")

    pictures, _ = image.make_sources(IMAGES, "exact")
    with image_servers(None, pictures):
        for engine in (Engine(), ProcessEngine(), BatchEngine()):
            play(engine, engine.address)
    for kind, engine in (("ray", RayEngine), ("dask", DaskEngine)):
        if kind in arguments.clusters.split(","):
            with contextlib.closing(make_cluster(kind)) as cluster, image_servers(cluster, pictures):
                play(engine(cluster), kind)
    lines = [[pipeline, *(verdict(found, name, pipeline) for name in found), ""] for pipeline in texts]
    report.say("\n" + table(["", *found, ""], lines) + "\n")
    same = sum(all(word == "same" for word in line[2:-1]) and line[1].endswith("files") for line in lines)
    report.say(f"**{same} of {len(lines)} pipelines: every file and every manifest is the same on each engine.**")
    report.data["digests"] = {name: {p: (e, len(d)) for p, (e, d) in of.items()} for name, of in found.items()}
    report.write(arguments.tag)
    paths.clean(work)
    return 0 if same == len(lines) else 1


def verdict(found, name: str, pipeline: str) -> str:
    error, files = found[name][pipeline]
    expected = found["local"][pipeline][1]
    if error or not files:
        return f"failed: {(error or 'nothing written').splitlines()[0][:80]}"
    if name == "local":
        return f"{len(files)} files"
    return "same" if files == expected else f"{sum(files.get(k) != v for k, v in expected.items())} files differ"
