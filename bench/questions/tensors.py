"""Tensors from Parquet to Parquet: what do lists of one length cost beside their bytes?"""

from __future__ import annotations

import argparse
import pathlib

import paths
from harness import Contender, Run, judge, make, play
from results import Report, mib, number, outcome, table

QUESTION = "1,000,000 x 64 floats and 20,000 x 150,528 bytes as fixed-size lists, Parquet to Parquet: CPU beside pyarrow's reader and writer alone?"
REPETITIONS = 3
ROWS = {"floats": 1_000_000, "images": 20_000}
ROW_BYTES = {"floats": 256, "images": 150_528}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--timeout", type=float, default=300, help="seconds after which a run counts as stalled")


def contender(kind: str, source: pathlib.Path, work: pathlib.Path, ours: bool, timeout_s: float) -> Contender:
    out = work / f"{kind}-{'partita' if ours else 'pyarrow'}"
    if ours:
        command = [paths.program("partita"), "run", paths.BENCH / "pipelines" / "tensors.yaml", "--quiet"]
        command += ["--threads", "1", "--set", f"in={source}/*.parquet", "--set", f"out={out}"]
        command += ["--set", f"dictionary={'true' if kind == 'images' else 'false'}"]
    else:
        command = [paths.python_of("peers"), paths.PEERS / "tensors.py", "copy", kind, source, out]

    def check(run: Run) -> None:
        judge("tensors.py", "check", out, source)
        paths.empty(out)

    return Contender(
        f"{'partita' if ours else 'pyarrow'}-{kind}",
        [str(word) for word in command],
        prepare=lambda: paths.empty(out).rmdir(),
        check=check,
        is_ours=ours,
        is_limit=not ours,
        timeout_s=timeout_s,
        note="" if ours else "a loop over batches, no engine",
    )


def cpu_of(run: Run) -> float:
    """Of a peer without its imports."""
    return float(run.report.get("cpu", run.cpu_s))


def main(arguments: argparse.Namespace) -> int:
    work = paths.empty(paths.ROOT / "build" / "bench-work" / "tensors")
    rows = {kind: max(64, round(count * arguments.scale)) for kind, count in ROWS.items()}
    parameters = {**rows, "threads": 1, "codec": "none", "rounds": arguments.repeat, "page cache": "warm"}
    report = Report("tensors", QUESTION, parameters)
    lines, found = [], []
    for kind, count in rows.items():
        source = paths.DATA / f"tensors-{kind}-{count}"
        if not (source / "_made").exists():
            make("tensors.py", "make", kind, source, count)
        contenders = [contender(kind, source, work, ours, arguments.timeout) for ours in (True, False)]
        if arguments.only:
            contenders = [c for c in contenders if c.name.startswith(tuple(arguments.only.split(",")))]
        play(contenders, arguments.repeat, work)
        report.add_runs(kind, contenders)
        cpu = {c.is_ours: seconds for c in contenders if (seconds := c.median(cpu_of))}
        for c in contenders:
            seconds = c.median(lambda run: run.job_s)
            rate = count * ROW_BYTES[kind] / seconds / (1 << 20) if seconds else None
            peak = mib(c.median(lambda run: run.peak_bytes))
            lines.append([c.name, number(seconds, 2), number(rate, 0), number(cpu.get(c.is_ours), 2), peak, outcome(c)])
        if len(cpu) == 2:
            found.append(f"**{kind}: {cpu[True] / cpu[False]:.2f} of the CPU time of pyarrow alone.**")
    report.say("\n" + table(["", "s", "MiB/s", "CPU s", "peak memory", ""], lines) + "\n")
    report.say("MiB of values. pyarrow without its imports, Partita with everything.")
    for line in found:
        report.say(f"\n{line}")
    report.write(arguments.tag)
    paths.clean(work)
    return 0
