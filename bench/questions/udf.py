"""A NumPy function over batches of tensors, Parquet to Parquet: how far from a bare loop, and from others? And with a model, with
more rows than memory, with workers that die."""

from __future__ import annotations

import argparse
import pathlib
import subprocess

import paths
from harness import Contender, Run, peer_environment, play
from results import Report, mib, number, outcome, table

QUESTION = "A tensor of 64 floats a row through a NumPy function (normalise, 64x64 matmul), 1,024 rows a batch, Parquet to Parquet: rows/s?"
QUESTIONS = {
    "rate": QUESTION,
    "model": "The same in a class that holds 200 MB: start-up, steady rate, total memory?",
    "double": "10 GB through a function that doubles its input, with a budget of 2 GiB and a kernel limit of 256 MiB more: does it finish?",
    "sums": "The same 10 GB, doubled by one function and summed by a second one, so that nearly nothing is written: does it finish?",
    "kills": "The same function, ending its process in every 1,000th batch: overhead, and is anything lost or doubled?",
}
REPETITIONS = 3
ROWS, FILES = 5_000_000, 16
DOUBLE_ROWS = 40_000_000  # of 256 bytes
PEERS = ("dask", "daft", "datasets", "ray")
VENV = {"daft": "daft", "datasets": "ingest"}
LIMIT = (2 << 30) + (256 << 20)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--python",
        type=pathlib.Path,
        default=paths.ROOT / ".venv" / "bin" / "python",
        help="the interpreter of Partita's workers [%(default)s]",
    )
    parser.add_argument("--figure", choices=list(QUESTIONS), default="rate", help="; ".join(QUESTIONS.values()))
    parser.add_argument(
        "--timeout", type=float, default=3600, help="seconds of a program in the figures double and sums [%(default)s]"
    )


def make_tensors(rows: int, files: int = FILES) -> pathlib.Path:
    folder = paths.DATA / f"tensors-{rows}"
    if not (folder / "_made").exists():
        words = [paths.python_of("peers"), paths.PEERS / "udf.py", "make", folder, str(rows), str(files)]
        subprocess.run([str(word) for word in words], check=True, env=peer_environment(paths.DATA))
        (folder / "_made").touch()
    return folder


class Bench:
    """The contenders of a figure: each writes to a folder of its own, which is checked and emptied."""

    def __init__(self, python: pathlib.Path, work: pathlib.Path) -> None:
        self.work = work
        self.environment = {"PARTITA_PYTHON": str(python), "PYTHONPATH": f"{paths.package()}:{paths.PEERS}"}

    def contender(
        self, name: str, command: list[object], source: pathlib.Path, check: str, **more: object
    ) -> Contender:
        out = self.work / name

        def prepare() -> None:
            paths.empty(out).rmdir()
            for more in (".cache", ".tmp"):  # of datasets and of Dask
                paths.empty(out.with_name(out.name + more)).rmdir()
            subprocess.run(["sync"], check=True)

        def checked(run: Run) -> None:
            words = [paths.python_of("peers"), paths.PEERS / "udf.py", check, out, source]
            done = subprocess.run(
                [str(word) for word in words],
                capture_output=True,
                text=True,
                check=False,
                env=peer_environment(paths.DATA),
            )
            assert done.returncode == 0, (done.stderr.strip().splitlines() or ["the check failed"])[-1]
            paths.empty(out)

        return Contender(name, [str(word) for word in command], prepare=prepare, check=checked, **more)

    def ours(
        self, name: str, pipeline: str, source: pathlib.Path, check: str = "check", memory: str = "", **more: object
    ) -> Contender:
        command: list[object] = [paths.program("partita"), "run", paths.BENCH / "pipelines" / pipeline, "--quiet"]
        command += ["--threads", "2", *(["--memory", memory] if memory else [])]
        command += ["--set", f"in={source}/*.parquet", "--set", f"out={self.work / name}"]
        return self.contender(name, command, source, check, is_ours=True, environment=self.environment, **more)

    def peer(self, name: str, word: str, source: pathlib.Path, check: str = "check", **more: object) -> Contender:
        engine = word.partition("_")[0]
        command = [paths.python_of(VENV.get(engine, "peers")), paths.PEERS / "udf.py", word, source, self.work / name]
        return self.contender(name, command, source, check, **more)


def contenders_of(figure: str, bench: Bench, source: pathlib.Path, timeout_s: float) -> list[Contender]:
    if figure == "rate":
        limit = bench.peer("loop", "loop", source, is_limit=True, note="NumPy and pyarrow in two processes, no engine")
        peers = [name for name in PEERS if paths.is_installed(VENV.get(name, "peers"))]
        return [bench.ours("partita", "udf.yaml", source), limit, *(bench.peer(name, name, source) for name in peers)]
    if figure == "model":
        few = make_tensors(FILES * 1024)  # a batch a file: nothing but the start
        found = []
        for suffix, data in (("", source), ("-start", few)):
            found.append(bench.ours(f"partita{suffix}", "udf_model.yaml", data, same_work=not suffix))
            limit = bench.peer(f"loop{suffix}", "loop_model", data, is_limit=True, same_work=not suffix)
            limit.note = "a model in each of two processes, no engine"
            found.append(limit)
            found.append(bench.peer(f"ray{suffix}", "ray_model", data, same_work=not suffix))
        return found
    if figure in ("double", "sums"):
        check, limits = f"check_{figure}", {"limit_bytes": LIMIT, "timeout_s": timeout_s}
        ours = bench.ours("partita", f"udf_{figure}.yaml", source, check, "2GiB", **limits)
        return [ours, bench.peer("ray", f"ray_{figure}", source, check, **limits)]
    calm = bench.ours("partita", "udf.yaml", source)
    return [
        calm,
        bench.ours("partita-kills", "udf_kills.yaml", source, same_work=False, note="a kill every 1,000 batches"),
    ]


def main(arguments: argparse.Namespace) -> int:
    figure = arguments.figure
    rows = max(20_000, round((DOUBLE_ROWS if figure in ("double", "sums") else ROWS) * arguments.scale))
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
    name = "udf" if figure == "rate" else f"udf-{figure}"
    report = Report(name if arguments.scale == 1 else f"{name}-{rows}", QUESTIONS[figure], parameters)
    contenders = contenders_of(figure, Bench(arguments.python, work), source, arguments.timeout)
    if arguments.only:
        contenders = [c for c in contenders if c.name.startswith(tuple(arguments.only.split(",")))]
    play(contenders, arguments.repeat, work)
    report.add_runs("udf", contenders)
    seconds = {c.name: s for c in contenders if (s := c.median(lambda run: run.job_s))}
    lines = [
        [
            c.name,
            number(seconds.get(c.name), 2),
            number(rows / seconds[c.name] if c.name in seconds and not c.name.endswith("-start") else None, 0),
            number(c.median(lambda run: run.cpu_s), 1),
            mib(max((run.peak_bytes for run in c.runs), default=None)),
            outcome(c),
        ]
        for c in contenders
    ]
    report.say("\n" + table(["", "s", "rows/s", "CPU s", "peak memory", ""], lines) + "\n")
    report.say("Peers without imports and cluster start; the loop with its processes' start, Partita with everything.")
    for line in findings(figure, seconds, rows):
        report.say(f"\n{line}")
    if figure == "rate" and not paths.is_installed("ingest"):
        report.say("\nNot run: Hugging Face `datasets` (bench/setup.sh ingest).")
    report.write(arguments.tag)
    paths.clean(work)
    return 0


def findings(figure: str, seconds: dict[str, float], rows: int) -> list[str]:
    found = []
    if figure == "rate":
        peers = {name: s for name, s in seconds.items() if name in PEERS}
        if "partita" in seconds and peers:
            best = min(peers, key=lambda name: peers[name])
            found.append(f"**{peers[best] / seconds['partita']:.2f} times {best}, the fastest peer.**")
        if "partita" in seconds and "loop" in seconds:
            found.append(f"**{seconds['partita'] / seconds['loop']:.2f} of the time of the bare loop.**")
    if figure == "model":
        for name in ("partita", "loop", "ray"):
            if {name, f"{name}-start"} <= seconds.keys():
                start = seconds[f"{name}-start"]
                rate = rows / max(1e-9, seconds[name] - start)
                found.append(f"{name}: {start:.2f} s for one batch a file; beyond that {rate:,.0f} rows/s.")
    if figure == "kills" and {"partita", "partita-kills"} <= seconds.keys():
        found.append(
            f"**{seconds['partita-kills'] / seconds['partita']:.2f} of the time without kills; the same rows.**"
        )
    return found
