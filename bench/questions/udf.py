"""A NumPy function over batches of tensors, Parquet to Parquet: how far from a bare loop, and from others?"""

from __future__ import annotations

import argparse
import pathlib
import subprocess

import paths
from harness import Contender, Run, peer_environment, play
from results import Report, mib, number, outcome, table

QUESTION = "A tensor of 64 floats a row through a NumPy function (normalise, 64x64 matmul), 1,024 rows a batch, Parquet to Parquet: rows/s?"
REPETITIONS = 3
ROWS, FILES = 5_000_000, 16
PEERS = ("dask", "daft", "ray")
VENV = {"daft": "daft"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--python",
        type=pathlib.Path,
        default=paths.ROOT / ".venv" / "bin" / "python",
        help="the interpreter of Partita's workers [%(default)s]",
    )


def make_tensors(rows: int) -> pathlib.Path:
    folder = paths.DATA / f"tensors-{rows}"
    if not (folder / "_made").exists():
        words = [paths.python_of("peers"), paths.PEERS / "udf.py", "make", folder, str(rows), str(FILES)]
        subprocess.run([str(word) for word in words], check=True, env=peer_environment(paths.DATA))
        (folder / "_made").touch()
    return folder


def main(arguments: argparse.Namespace) -> int:
    rows = max(10_000, round(ROWS * arguments.scale))
    source = make_tensors(rows)
    work = paths.empty(paths.ROOT / "build" / "bench-work" / "udf")
    parameters = {
        "rows": rows,
        "files": FILES,
        "bytes": rows * 256,
        "processes": 2,
        "codec": "none, no dictionary",
        "rounds": arguments.repeat,
        "page cache": "warm",
    }
    report = Report("udf" if arguments.scale == 1 else f"udf-{rows}", QUESTION, parameters)

    def contender(name: str, command: list[object], **more: object) -> Contender:
        out = work / name

        def prepare() -> None:
            paths.empty(out).rmdir()
            subprocess.run(["sync"], check=True)

        def check(run: Run) -> None:
            words = [paths.python_of("peers"), paths.PEERS / "udf.py", "check", out, source]
            done = subprocess.run(
                [str(word) for word in words],
                capture_output=True,
                text=True,
                check=False,
                env=peer_environment(paths.DATA),
            )
            assert done.returncode == 0, (done.stderr.strip().splitlines() or ["the check failed"])[-1]
            paths.empty(out)

        return Contender(name, [str(word) for word in command], prepare=prepare, check=check, **more)

    ours = [paths.program("partita"), "run", paths.BENCH / "pipelines" / "udf.yaml", "--quiet", "--threads", "2"]
    ours += ["--set", f"in={source}/*.parquet", "--set", f"out={work / 'partita'}"]
    environment = {"PARTITA_PYTHON": str(arguments.python), "PYTHONPATH": f"{paths.package()}:{paths.PEERS}"}
    contenders = [contender("partita", ours, is_ours=True, environment=environment)]
    peer = paths.PEERS / "udf.py"
    contenders.append(
        contender(
            "loop",
            [paths.python_of("peers"), peer, "loop", source, work / "loop"],
            is_limit=True,
            note="NumPy and pyarrow in two processes, no engine",
        )
    )
    for name in PEERS:
        contenders.append(contender(name, [paths.python_of(VENV.get(name, "peers")), peer, name, source, work / name]))
    if arguments.only:
        contenders = [c for c in contenders if c.name.startswith(tuple(arguments.only.split(",")))]
    play(contenders, arguments.repeat, work)
    report.add_runs("udf", contenders)
    seconds = {c.name: s for c in contenders if (s := c.median(lambda run: run.job_s))}
    lines = [
        [
            c.name,
            number(seconds.get(c.name), 2),
            number(rows / seconds[c.name] if c.name in seconds else None, 0),
            number(c.median(lambda run: run.cpu_s), 1),
            mib(max((run.peak_bytes for run in c.runs), default=None)),
            outcome(c),
        ]
        for c in contenders
    ]
    report.say("\n" + table(["", "s", "rows/s", "CPU s", "peak memory", ""], lines) + "\n")
    report.say("Peers without imports and cluster start; the loop with its processes' start, Partita with everything.")
    peers = {name: s for name, s in seconds.items() if name in PEERS}
    if "partita" in seconds and peers:
        best = min(peers, key=lambda name: peers[name])
        report.say(f"\n**{peers[best] / seconds['partita']:.2f} times {best}, the fastest peer.**")
    if "partita" in seconds and "loop" in seconds:
        report.say(f"\n**{seconds['partita'] / seconds['loop']:.2f} of the time of the bare loop.**")
    report.say("\nNot run: Hugging Face `datasets` (in none of the benchmark's environments).")
    report.write(arguments.tag)
    paths.clean(work)
    return 0
