"""Batches of stored tensors for a training loop: rows a second, time to the first batch, at the start and in mid-epoch?"""

from __future__ import annotations

import argparse
import pathlib
import subprocess

import numpy as np
import paths
from harness import Contender, Run, peer_environment, play
from results import Report, mib, number, outcome, table

QUESTION = "images of 64x64x3 bytes, shuffled, in batches of 128: rows a second, CPU, first batch, first batch after a restart in mid-epoch?"
REPETITIONS = 3
ROWS, BATCH, CHUNK = 40_000, 128, 1000
PEERS = {
    "datasets": ("ingest", "arrow files, buffer of 10,000 rows"),
    "webdataset": ("ingest", "tar shards, buffer of 10,000 rows; no state: replayed"),
    "mosaic": ("ingest", "MDS shards, StreamingDataLoader"),
    "litdata": ("ingest", "chunks of 64 MB, StreamingDataLoader"),
    "ray": ("peers", "Parquet, buffer of 2,000 rows; no state: replayed"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--timeout", type=float, default=300)


def expected_checksum(rows: int) -> int:
    total = 0
    for first in range(0, rows, CHUNK):
        images = np.random.default_rng(first).integers(0, 255, (CHUNK, 64, 64, 3), dtype=np.uint8)
        total += int(((np.arange(first, first + CHUNK) + 1) * (images[:, 5, 7, 1].astype(np.int64) + 1)).sum())
    return total


def prepared(name: str, python: object, rows: int, environment: dict[str, str]) -> pathlib.Path:
    """The rows in the peer's own format, made once."""
    kind = name.partition("_")[0]
    folder = paths.DATA / f"ingest-{rows}" / kind
    done = folder.parent / f"{kind}.done"
    if not done.exists():
        paths.empty(folder)
        command = [str(python), str(paths.PEERS / "ingest.py"), f"prepare-{kind}", str(folder), str(rows), str(BATCH)]
        subprocess.run(
            command, check=True, env=peer_environment(paths.DATA, **environment), capture_output=True, text=True
        )
        done.touch()
    return folder


def main(arguments: argparse.Namespace) -> int:
    rows = max(4, round(ROWS * arguments.scale / CHUNK / 4) * 4) * CHUNK
    work = paths.empty(paths.ROOT / "build" / "bench-work" / "ingest")
    report = Report("ingest", QUESTION, {"rows": rows, "rows a batch": BATCH, "rounds": arguments.repeat})
    checksum = expected_checksum(rows)

    def check(run: Run) -> None:
        assert run.report.get("rows") == run.report.get("distinct") == rows, f"{run.report.get('rows')} rows"
        assert run.report.get("checksum") == checksum, "other pixels"

    ours = {"PYTHONPATH": str(paths.build_folder() / "python")}
    wanted: list[tuple[str, object, str, dict[str, str]]] = [
        ("partita", paths.ROOT / ".venv" / "bin" / "python", "Parquet, windows of 128 MiB", ours),
        ("partita_none", paths.ROOT / ".venv" / "bin" / "python", "the same, in the order of the files", ours),
    ]
    wanted += [(name, paths.python_of(venv), note, {}) for name, (venv, note) in PEERS.items()]
    if arguments.only:
        wanted = [item for item in wanted if item[0].startswith(tuple(arguments.only.split(",")))]
    contenders, missing = [], []
    for name, python, note, environment in wanted:
        try:
            folder = prepared(name, python, rows, environment)
        except subprocess.CalledProcessError as error:
            missing.append(f"{name}: its data could not be written ({error.stderr.strip().splitlines()[-1][:100]})")
            continue
        command = [str(python), str(paths.PEERS / "ingest.py"), name, str(folder), str(rows), str(BATCH)]
        contender = Contender(
            name, command, check=check, note=note, timeout_s=arguments.timeout, environment=environment
        )
        contender.is_ours = name.startswith("partita")
        contender.same_work = name != "partita_none"
        contenders.append(contender)
    play(contenders, arguments.repeat, work)
    report.add_runs("ingest", contenders)
    rate = {c.name: rows / seconds for c in contenders if (seconds := c.median(lambda run: run.job_s))}

    def said(contender: Contender, key: str, scale: float = 1) -> str:
        value = contender.median(lambda run: float(run.report[key]) * scale)
        return number(value, 2 if scale == 1 else 0)

    rows_of_table = [
        [
            c.name,
            number(rate.get(c.name), 0),
            said(c, "cpu"),
            said(c, "first", 1000),
            said(c, "resume", 1000),
            "yes" if any(run.report.get("exact") for run in c.runs) else "no",
            mib(c.median(lambda run: run.peak_bytes)),
            outcome(c),
        ]
        for c in contenders
    ]
    header = ["", "rows/s", "CPU s", "first batch ms", "after restart ms", "exact", "peak memory", ""]
    report.say("\n" + table(header, rows_of_table) + "\n")
    report.say(
        "An epoch without imports and start of a runtime, files in the page cache. CPU: of the process and its threads, in the epoch. "
        "After restart: a new loader that is given the state of the middle of the epoch (or, without states, is read up to there) to its "
        "first batch. Exact: that batch has the rows that stood next, in their order. Ray's CPU is that of its driver alone."
    )
    for text in missing:
        report.say(f"\nNot run: {text}.")
    peers = {c.name: rate[c.name] for c in contenders if c.name in rate and not c.is_ours}
    if "partita" in rate and peers:
        best = max(peers, key=lambda name: peers[name])
        report.say(f"\n**{rate['partita'] / peers[best]:.2f} times {best}, the fastest peer.**")
    report.write(arguments.tag)
    paths.clean(work)
    return 0
