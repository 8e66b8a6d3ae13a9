"""Writes what was measured: bench/results/<name>-<date>.json and .md, with commit and machine."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import pathlib
import platform
import subprocess

import harness
from harness import Contender, Run

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"


def machine() -> dict:
    """What a reader needs to compare: no names of hosts or folders."""
    model = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(pages / 2**30, 1),
        "kernel": platform.release().split("-")[0],
        "libc": " ".join(platform.libc_ver()),
    }


def commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False
        ).stdout.strip()

    changed = [line for line in git("status", "--porcelain").splitlines() if "bench/results/" not in line]
    return git("rev-parse", "--short=12", "HEAD") + (" with changes" if changed else "")


def versions() -> dict[str, str]:
    wanted = {
        "img2dataset",
        "daft",
        "ray",
        "dask",
        "distributed",
        "polars",
        "duckdb",
        "pyarrow",
        "pillow",
        "opencv-python-headless",
        "pandas",
        "torch",
        "mosaicml-streaming",
        "litdata",
        "webdataset",
        "datasets",
    }
    found = {}
    for file in sorted((ROOT / "build" / "bench-venvs").glob("*/versions.txt")):
        for line in file.read_text().splitlines():
            name, _, version = line.partition("==")
            if name.lower() in wanted:
                found[f"{file.parent.name}: {name}"] = version
    return found


class Report:
    """Collects one question's result."""

    def __init__(self, name: str, question: str, parameters: dict):
        self.name, self.question, self.parameters = name, question, parameters
        self.load_before = os.getloadavg()[0]
        self.sections: list[str] = []
        self.data: dict = {}
        self.started = datetime.datetime.now(datetime.UTC)

    def say(self, text: str) -> None:
        print(text, flush=True)
        self.sections.append(text)

    def add_runs(self, title: str, contenders: list[Contender]) -> None:
        self.data.setdefault("runs", {})[title] = [
            {
                "name": contender.name,
                "ours": contender.is_ours,
                "limit": contender.is_limit,
                "same_work": contender.same_work,
                "note": contender.note,
                "memory_limit_mib": (contender.limit_bytes or 0) >> 20 or None,
                "runs": [_run_as_json(run) for run in contender.runs],
            }
            for contender in contenders
        ]

    def write(self, tag: str = "") -> pathlib.Path:
        name = f"{self.name}{'-' + tag if tag else ''}-{self.started:%Y-%m-%d}"
        facts = {
            "question": self.question,
            "date": f"{self.started:%Y-%m-%d %H:%M} UTC",
            "commit": commit(),
            "machine": machine(),
            "load_before": round(self.load_before, 2),
            "parameters": self.parameters,
            "versions": versions(),
        }
        RESULTS.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**facts, **self.data}, indent=1, default=str)
        text = text.replace(str(ROOT) + "/", "").replace(str(ROOT), ".")  # no folder of this machine
        (RESULTS / f"{name}.json").write_text(text + "\n")
        about = facts["machine"]
        head = [
            f"# {self.name}: {self.question}",
            "",
            f"{facts['date']}, commit {facts['commit']}; {about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB, "
            f"Linux {about['kernel']}; load before the run {facts['load_before']}.",
            "",
            "Parameters: " + ", ".join(f"{key} = {value}" for key, value in self.parameters.items()) + ".",
            "",
        ]
        if self.load_before > 0.3:
            head += ["**The machine was not idle: trust CPU seconds, not wall time.**", ""]
        if harness.interrupted:
            head += ["**It was interrupted: not all was run.**", ""]
        tail = ["", "Versions: " + ", ".join(f"{key} {value}" for key, value in facts["versions"].items()) + ".", ""]
        file = RESULTS / f"{name}.md"
        file.write_text("\n".join(head + self.sections + tail).replace(str(ROOT) + "/", ""))
        print(f"written: {file.relative_to(ROOT)} and .json")
        return file


def _run_as_json(run: Run) -> dict:
    value = dataclasses.asdict(run)
    for key in ("wall_s", "cpu_s"):
        value[key] = round(value[key], 4)
    return value | {"ok": run.ok}


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, padded so that it reads well in a terminal too."""
    widths = [max(2, *(len(row[i]) for row in [header, *rows])) for i in range(len(header))]

    def line(cells: list[str]) -> str:
        words = (0, len(header) - 1 if not header[-1] else 0)  # the first column, and an unnamed last one, are text
        aligned = [
            cell.ljust(width) if i in words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(aligned) + " |"

    rule = (
        "| "
        + " | ".join(
            "-" * width if i == 0 or not header[i] else "-" * (width - 1) + ":" for i, width in enumerate(widths)
        )
        + " |"
    )
    return "\n".join([line(header), rule, *(line(row) for row in rows)])


def number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def mib(value: float | None) -> str:
    return "–" if value is None else f"{value / 2**20:,.0f} MiB"


def outcome(contender: Contender) -> str:
    """Why a program has no number: the first failure."""
    bad = [run for run in contender.runs if not run.ok]
    if not bad:
        return contender.note
    why = " ".join(bad[0].note.replace("|", "/").split())
    text = f"{len(bad)} of {len(contender.runs)} failed: {why[:100]}"
    return f"{text} ({contender.note})" if contender.note else text
