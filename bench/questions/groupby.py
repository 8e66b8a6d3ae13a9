"""The group-by questions of db-benchmark (h2oai), q1 to q10, from Parquet to Parquet and from a cold shell: who is fastest, in what memory?"""

from __future__ import annotations

import argparse
import json
import math
import pathlib

import paths
from harness import Contender, Run, judge, make, play
from results import Report, mib, number, outcome, table

QUESTION = "db-benchmark's group-by questions, Parquet to Parquet, process start included: time and peak memory"
REPETITIONS = 3
ROWS = 10_000_000
PEERS = ("duckdb", "polars", "ray", "pandas")
FAST = ("duckdb", "polars")  # the fastest of whom is the measure; up to PANDAS_ROWS pandas is one of them
ASKED = {"ray": ("q1", "q2", "q3", "q4", "q5", "q10"), "pandas": ("q1", "q2", "q3", "q4", "q5")}
PANDAS_ROWS = 1_000_000  # more of them, and all of its memory goes to reading

# What Partita is asked: keys, aggregates, and steps behind the group_by.
QUERIES: dict[str, tuple[list[str], dict[str, str], list[dict]]] = {
    "q1": (["id1"], {"v1": "sum(v1)"}, []),
    "q2": (["id1", "id2"], {"v1": "sum(v1)"}, []),
    "q3": (["id3"], {"v1": "sum(v1)", "v3": "mean(v3)"}, []),
    "q4": (["id4"], {"v1": "mean(v1)", "v2": "mean(v2)", "v3": "mean(v3)"}, []),
    "q5": (["id6"], {"v1": "sum(v1)", "v2": "sum(v2)", "v3": "sum(v3)"}, []),
    "q6": (["id4", "id5"], {"median_v3": "median(v3)", "sd_v3": "std(v3)"}, []),
    "q7": (
        ["id3"],
        {"most": "max(v1)", "least": "min(v2)"},
        [{"with_columns": {"columns": {"range_v1_v2": "most - least"}}}, {"drop": {"columns": ["most", "least"]}}],
    ),
    "q8": (["id6"], {"largest2_v3": "largest(v3, 2)"}, []),
    "q9": (
        ["id2", "id4"],
        {"r": "corr(v1, v2)"},
        [{"with_columns": {"columns": {"r2": "r * r"}}}, {"drop": {"columns": ["r"]}}],
    ),
    "q10": (["id1", "id2", "id3", "id4", "id5", "id6"], {"v3": "sum(v3)", "count": "count()"}, []),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rows", type=float, default=ROWS, help="times --scale; db-benchmark has 1e7, 1e8 [%(default)s]"
    )
    parser.add_argument("--questions", default=",".join(QUERIES), help="some of q1 to q10 [all]")
    parser.add_argument("--limit", type=int, default=4096, help="MiB of the kernel limit, of all alike [%(default)s]")
    parser.add_argument("--memory", default="1GiB", help="Partita's budget [%(default)s]")
    parser.add_argument("--timeout", type=float, default=300, help="seconds after which a run counts as stalled")


def make_rows(rows: int) -> pathlib.Path:
    folder = paths.DATA / f"groupby-{rows}"
    if not (folder / "_expected.json").exists():
        make("groupby.py", "make", folder, rows)
    return folder


def pipeline(question: str, work: pathlib.Path) -> pathlib.Path:
    by, aggregates, behind = QUERIES[question]
    steps = [
        {"read_parquet": {"path": "${in}"}},
        {"group_by": {"by": by, "aggregates": aggregates}},
        *behind,
        {"write_parquet": {"path": "${out}"}},
    ]
    parameters = {"in": {"type": "string"}, "out": {"type": "string"}}
    file = work / f"{question}.yaml"
    file.write_text(json.dumps({"pipeline": question, "parameters": parameters, "steps": steps}))
    return file


def contenders_of(question: str, data: pathlib.Path, rows: int, work: pathlib.Path, arguments) -> list[Contender]:
    def contender(name: str, command: list[object], **more: object) -> Contender:
        out = work / f"{name}-{question}"
        file = out.with_name(out.name + ".parquet")

        def prepare() -> None:
            paths.empty(out).rmdir()
            file.unlink(missing_ok=True)

        def check(run: Run) -> None:
            found = file if file.exists() else out
            judge("groupby.py", "check", question, found, data)
            prepare()

        return Contender(
            name,
            [str(word) for word in command],
            prepare=prepare,
            check=check,
            limit_bytes=arguments.limit << 20,
            timeout_s=arguments.timeout,
            **more,
        )

    ours = [paths.program("partita"), "run", pipeline(question, work), "--memory", arguments.memory, "--quiet"]
    ours += ["--set", f"in={data / 'data'}", "--set", f"out={work / f'partita-{question}'}"]
    found = [contender("partita", ours, is_ours=True)]
    for name in PEERS:
        if question not in ASKED.get(name, QUERIES) or (name == "pandas" and rows > PANDAS_ROWS):
            continue
        script = [paths.python_of("peers"), paths.PEERS / "groupby.py", "run", name, question, data / "data"]
        found.append(contender(name, [*script, work / f"{name}-{question}", arguments.limit]))
    if arguments.only:
        found = [c for c in found if c.name in arguments.only.split(",")]
    return found


def geometric_mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def main(arguments: argparse.Namespace) -> int:
    rows = max(1000, round(arguments.rows * arguments.scale))
    data = make_rows(rows)
    work = paths.empty(paths.ROOT / "build" / "bench-work" / "groupby")
    parameters = {
        "rows": rows,
        "limit": f"{arguments.limit} MiB for each (Partita's budget {arguments.memory})",
        "output": "Parquet, each with its own defaults",
        "rounds": arguments.repeat,
        "page cache": "warm",
        "time": "from the start of the process to its end, imports included",
    }
    fast = FAST + (("pandas",) if rows <= PANDAS_ROWS else ())
    best_of = "the faster of DuckDB and Polars" if fast == FAST else "the fastest of DuckDB, Polars and pandas"
    report = Report(f"groupby-{rows:.0e}".replace("e+0", "e"), QUESTION, parameters)
    ratios, memory, lines = [], [], []
    for question in arguments.questions.split(","):
        contenders = contenders_of(question, data, rows, work, arguments)
        play(contenders, arguments.repeat, work)
        report.add_runs(question, contenders)
        seconds = {c.name: s for c in contenders if (s := c.median(lambda run: run.wall_s))}
        peaks = {c.name: max((run.peak_bytes for run in c.runs), default=0) for c in contenders}
        peers = [name for name in fast if name in seconds]
        ratio = None
        if "partita" in seconds and peers:
            best = min(peers, key=lambda name: seconds[name])
            ratio = seconds["partita"] / seconds[best]
            ratios.append(ratio)
            memory.append(peaks["partita"] / min(peaks[name] for name in peers))
        for c in contenders:
            lines.append(
                [
                    question,
                    c.name,
                    number(seconds.get(c.name), 2),
                    number(c.median(lambda run: run.cpu_s), 2),
                    mib(peaks[c.name]),
                    number(ratio, 2) if c.is_ours else "",
                    outcome(c),
                ]
            )
    report.say("\n" + table(["", "", "s", "CPU s", "peak memory", f"of {best_of}", ""], lines) + "\n")
    if ratios:
        report.say(f"**Geometric mean of the times: {geometric_mean(ratios):.2f} of {best_of}.**")
        report.say(f"**Of the peaks of memory: {geometric_mean(memory):.2f} of the smaller.**")
    report.write(arguments.tag)
    paths.clean(work)
    return 0
