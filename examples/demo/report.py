"""Writes the demo's report: one self-contained HTML page, from the run record and the datasets of a run."""

from __future__ import annotations

import argparse
import base64
import json
import textwrap
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SHEET_IMAGES = 48
LEAST_IMAGE_BYTES = 4096  # white lightning on white says little
MEBIBYTE = 1 << 20


@dataclass
class Step:
    """What a run record tells of a step."""

    name: str
    rows_in: int
    rows_out: int
    bytes_out: int
    failed: int
    skipped: int
    busy_s: float
    waits_s: dict[str, float]
    details: dict[str, int]

    @property
    def left_out(self) -> int:
        """Rows that the step was asked to drop."""
        return max(0, self.rows_in - self.rows_out - self.failed - self.skipped)


@dataclass
class Run:
    """A run as its records tell it: the rows of all of it, time and memory of the last part that did work."""

    steps: list[Step]
    seconds: float
    rows_per_second: float
    tasks_resumed: int
    tasks: int
    memory: dict[str, int]
    options: dict[str, str]
    plan_hash: str
    snapshot_hash: str
    build: str

    @property
    def rows_read(self) -> int:
        return self.steps[0].rows_out

    def step(self, operator: str) -> Step:
        return next(step for step in self.steps if step.name == operator)


def read_steps(record: dict[str, Any]) -> list[Step]:
    return [
        Step(
            name=step["name"],
            rows_in=step["rows_in"],
            rows_out=step["rows_out"],
            bytes_out=step["bytes_out"],
            failed=step["rows_quarantined"],
            skipped=step["rows_skipped"],
            busy_s=step["busy_ms"] / 1e3,
            waits_s={reason: ms / 1e3 for reason, ms in step["wait_ms"].items()},
            details=step["details"],
        )
        for step in record["stats"]["steps"]
    ]


def read_run(dataset: Path) -> Run:
    """The newest run that worked; runs after it that found nothing to do are passed over."""
    folder = dataset / "_partita" / "runs"
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    finished = [record for record in records if record["status"] == "ok"]
    if not finished:
        raise SystemExit(f"report: no finished run in {folder}")
    working = [record for record in finished if record["stats"]["tasks"]["done"] > record["stats"]["tasks"]["resumed"]]
    record = (working or finished)[-1]
    stats = record["stats"]
    seconds = max(1e-6, (stats["finished_us"] - stats["started_us"]) / 1e6)
    tasks = stats["tasks"]
    steps = read_steps(record)
    share = 1 - tasks["resumed"] / max(1, tasks["total"])
    return Run(
        steps=steps,
        seconds=seconds,
        rows_per_second=steps[0].rows_out * share / seconds,
        tasks_resumed=tasks["resumed"],
        tasks=tasks["total"],
        memory=stats["memory"],
        options=record["options"],
        plan_hash=record["plan"],
        snapshot_hash=record["snapshot"],
        build=record["build"],
    )


@dataclass
class Reason:
    """Why rows of the input are not in the output."""

    step: str
    text: str
    rows: int
    hazards: list[str]
    colour: str


def failed_reasons(quarantine: Path, run: Run) -> list[Reason]:
    """Rows of the quarantine dataset by step and message, in the order of the steps."""
    reasons: dict[tuple[str, str], Reason] = {}
    for file in sorted(quarantine.glob("**/*.parquet")):
        rows = pq.read_table(file, columns=["__step", "__message", "hazard"], partitioning=None)
        for row in rows.to_pylist():
            key = row["__step"], row["__message"]
            reason = reasons.setdefault(key, Reason(*key, 0, [], "failed"))
            reason.rows += 1
            if row["hazard"]:
                reason.hazards.append(row["hazard"])
    order = [step.name for step in run.steps]
    return sorted(reasons.values(), key=lambda r: (order.index(r.step), -r.rows, r.text))


def predicate_text(node: dict[str, Any]) -> str:
    """An expression of the plan as text."""
    signs = {
        "greater_equal": ">=",
        "greater": ">",
        "less": "<",
        "less_equal": "<=",
        "and_kleene": "and",
        "or_kleene": "or",
    }
    if "column" in node:
        return str(node["column"])
    if "literal" in node:
        return str(node["literal"])
    words = [predicate_text(argument) for argument in node["args"]]
    if node["call"] in signs and len(words) == 2:
        return f"{words[0]} {signs[node['call']]} {words[1]}"
    return f"{node['call']}({', '.join(words)})"


def filter_reasons(dataset: Path, run: Run) -> list[Reason]:
    """Rows that the pipeline's filters left out."""
    plan = json.loads((dataset / "_partita" / "plan.json").read_text())
    nodes = {node["step"]: node for stage in plan["plan"]["stages"] for node in stage["nodes"]}
    reasons = []
    for step in run.steps:
        node = nodes.get(step.name)
        if node is None or step.left_out == 0:
            continue
        if node["op"] == "filter":
            text, why = f"not {predicate_text(node['args']['predicate'])}", "is too small to learn from"
        else:
            text, why = (
                f"max_aspect_ratio {node['args'].get('max_aspect_ratio'):g}",
                "is too long or too tall for a square",
            )
        reasons.append(Reason(step.name, text, step.left_out, [why], "left"))
    return reasons


def pick(table: pa.Table, n: int) -> list[dict[str, Any]]:
    """About n rows, as many from each category as possible, evenly spaced within it."""
    rows: dict[str, list[dict[str, Any]]] = {}
    is_telling = pc.greater_equal(pc.binary_length(table["image"]), LEAST_IMAGE_BYTES)
    for row in table.filter(pc.and_(pc.is_null(table["hazard"]), is_telling)).to_pylist():
        rows.setdefault(row["category"], []).append(row)
    shares = dict.fromkeys(rows, 0)
    while sum(shares.values()) < min(n, sum(map(len, rows.values()))):
        open_shares = [category for category in rows if shares[category] < len(rows[category])]
        shares[min(open_shares, key=lambda category: shares[category])] += 1
    return [rows[c][(2 * i + 1) * len(rows[c]) // (2 * shares[c])] for c in rows for i in range(shares[c])]


def size_text(n: float) -> str:
    for unit in ("B", "KiB"):
        if n < 1000:
            return f"{n:,.0f} {unit}"
        n /= 1024
    return f"{n:,.1f} MiB"


def seconds_text(seconds: float) -> str:
    if seconds < 0.0005:
        return "–"
    return f"{seconds * 1e3:,.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def count_text(n: int) -> str:
    return f"{n:,}" if n else "–"


def tile(value: str, text: str) -> str:
    return f'<div class="tile"><b>{value}</b><span>{escape(text)}</span></div>'


def tiles_html(run: Run) -> str:
    download = run.step("download_images")
    peak = run.memory["peak"]
    waiting = f", {timeouts} URLs never answer" if (timeouts := download.details.get("timeout")) else ""
    return (
        '<div class="tiles">'
        + tile(f"{run.rows_read:,}", "URLs read")
        + tile(f"{download.rows_out:,}", f"downloaded, {size_text(download.details.get('downloaded_bytes', 0))}")
        + tile(f"{run.steps[-1].rows_in:,}", "images written, to two datasets")
        + tile(f"{run.rows_per_second:,.0f} <small>rows/s</small>", f"{run.seconds:.1f} s from start to end{waiting}")
        + tile(
            f"{peak / MEBIBYTE:,.0f} <small>MiB</small>", f"peak, of {run.memory['limit'] / MEBIBYTE:,.0f} MiB allowed"
        )
        + "</div>"
    )


def stacked_bar(parts: list[tuple[str, float]]) -> str:
    return (
        '<div class="bar">' + "".join(f'<i class="{c}" style="flex:{n:.4f}"></i>' for c, n in parts if n > 0) + "</div>"
    )


def rows_html(run: Run) -> str:
    written = run.steps[-1].rows_in
    failed = sum(step.failed + step.skipped for step in run.steps)
    left = run.rows_read - written - failed
    legend = [
        ("kept", f"{written:,} written"),
        ("left", f"{left:,} left out"),
        ("failed", f"{failed:,} failed, in quarantine"),
    ]
    return (
        "<section><h2>Where the rows went</h2><p>Every row that was read is in exactly one of the three.</p>"
        + stacked_bar([("kept", written), ("left", left), ("failed", failed)])
        + '<ul class="legend">'
        + "".join(f'<li><i class="{c}"></i>{escape(text)}</li>' for c, text in legend)
        + "</ul></section>"
    )


def memory_html(run: Run) -> str:
    peak, limit = run.memory["peak"], run.memory["limit"]
    beside = run.memory.get("unaccounted_peak", 0)
    return (
        "<section><h2>Memory</h2><p>The budget holds reading, downloading, decoding, encoding and writing.</p>"
        + stacked_bar([("used", peak), ("room", limit - peak)])
        + f'<ul class="legend"><li><i class="used"></i>{size_text(peak)} at the peak</li>'
        + f'<li><i class="room"></i>{size_text(limit)} budget</li>'
        + f'<li class="quiet">{size_text(beside)} beside it: program and libraries</li></ul></section>'
    )


def reasons_html(reasons: list[Reason]) -> str:
    lines = "".join(
        f'<tr><td class="reason"><span class="dot {r.colour}"></span>{escape(r.text)}</td>'
        f'<td class="mono quiet">{escape(r.step)}</td>'
        f'<td class="number">{r.rows:,}</td><td class="quiet">{escape("; ".join(r.hazards))}</td></tr>'
        for r in reasons
    )
    return (
        "<section><h2>What was dropped, and why</h2><p>A bad row need not end a run: it goes to the quarantine dataset "
        "with its reason and its place in the input, and those rows alone can be tried again.</p>"
        '<div class="scroll"><table><tr><th>Reason</th><th>Step</th><th class="number">Rows</th>'
        "<th>The picture, its address or its server …</th></tr>"
        f"{lines}</table></div></section>"
    )


def step_line(step: Step, slowest_s: float) -> str:
    waits = ", ".join(f"{reason} {seconds_text(s)}" for reason, s in step.waits_s.items() if s >= 0.0005) or "–"
    width = 100 * step.busy_s / slowest_s if slowest_s else 0
    cells = [
        f'<td class="mono">{escape(step.name)}</td>',
        f'<td class="number">{count_text(step.rows_in)}</td>',
        f'<td class="number">{step.rows_out:,}</td>',
        f'<td class="number">{count_text(step.left_out)}</td>',
        f'<td class="number">{count_text(step.failed)}</td>',
        f'<td class="number">{size_text(step.bytes_out) if step.bytes_out else "–"}</td>',
        f'<td class="number">{seconds_text(step.busy_s)}'
        f'<span class="meter"><i style="width:{width:.1f}%"></i></span></td>',
        f'<td class="quiet">{escape(waits)}</td>',
    ]
    return f"<tr>{''.join(cells)}</tr>"


def steps_html(run: Run) -> str:
    slowest_s = max(step.busy_s for step in run.steps)
    heads = ["Rows in", "Rows out", "Left out", "Failed", "Bytes out", "Busy, all threads"]
    text = "All steps run at once, on blocks that flow through."
    if timeouts := run.step("download_images").details.get("timeout"):
        text += (
            f" {timeouts} of the URLs never answer: the run lasts at least as long as their time limit and one retry."
        )
    if run.tasks_resumed:
        text += f" This run went on where another stopped: {run.tasks_resumed} of {run.tasks} tasks were done already."
    return (
        f'<section><h2>Step by step</h2><p>{escape(text)}</p><div class="scroll"><table><tr><th>Step</th>'
        + "".join(f'<th class="number">{head}</th>' for head in heads)
        + "<th>Waited for</th></tr>"
        + "".join(step_line(step, slowest_s) for step in run.steps)
        + "</table></div></section>"
    )


def figure_html(row: dict[str, Any], language: str) -> str:
    image = base64.b64encode(row["image"]).decode()
    caption = row["caption"] or row["key"]
    other = row.get(f"caption_{language}")
    second = f'<span lang="{language}" dir="auto">{escape(other)}</span>' if other else ""
    short = textwrap.shorten(caption, 60, placeholder=" …")
    return (
        f'<figure title="{escape(caption)}"><img alt="{escape(caption)}" src="data:image/jpeg;base64,{image}">'
        f"<figcaption><b>{escape(short)}</b>{second}</figcaption></figure>"
    )


def sheet_html(table: pa.Table) -> str:
    rows = pick(table, SHEET_IMAGES)
    languages = [name.removeprefix("caption_") for name in table.column_names if name.startswith("caption_")]
    figures = "".join(figure_html(row, languages[i % len(languages)]) for i, row in enumerate(rows))
    side = f"{rows[0]['width']} × {rows[0]['height']}" if rows else ""
    return (
        f"<section><h2>What came out</h2><p>{len(rows)} of the {table.num_rows:,} images, {side} pixels, with their "
        f'captions and, where there is one, a translation.</p><div class="sheet">{figures}</div></section>'
    )


def outputs_html(work: Path, output: Path) -> str:
    lines = []
    for folder, text in [
        ("shards", "WebDataset"),
        ("table", "Parquet"),
        ("shards/_quarantine", "Parquet, rows that failed"),
    ]:
        path = work / folder / "_manifest.json"
        if not path.is_file():
            continue
        manifest = json.loads(path.read_text())
        files = [file for partition in manifest["partitions"] for file in partition["files"]]
        link = (work / folder).resolve().relative_to(output.parent.resolve())
        lines.append(
            f'<tr><td><a class="mono" href="{link}/">{escape(str(work / folder))}/</a></td><td>{text}</td>'
            f'<td class="number">{manifest["num_rows"]:,}</td><td class="number">{len(files)}</td>'
            f'<td class="number">{size_text(sum(file["bytes"] for file in files))}</td></tr>'
        )
    return (
        "<section><h2>Outputs</h2><p>Each folder is whole: its manifest was written last.</p>"
        '<div class="scroll"><table><tr><th>Folder</th><th>Format</th>'
        + "".join(f'<th class="number">{head}</th>' for head in ("Rows", "Files", "Size"))
        + "</tr>"
        + "".join(lines)
        + "</table></div></section>"
    )


def page_html(work: Path, output: Path) -> str:
    run = read_run(work / "shards")
    table = pq.read_table(work / "table", partitioning=None)
    reasons = filter_reasons(work / "shards", run) + failed_reasons(work / "shards" / "_quarantine", run)
    style = Path(__file__).with_name("report.css").read_text()
    title = f"{run.steps[-1].rows_in:,} training images from {run.rows_read:,} URLs"
    lead = "Downloaded, decoded, cropped, filtered and written in one streamed run, inside one number for memory."
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Partita: {title}</title><style>{style}</style></head><body><main>"
        f'<p class="brand">Partita · demo run</p><h1>{title}</h1><p class="lead">{lead}</p>'
        f"{tiles_html(run)}"
        f'<div class="pair" style="margin-top:18px">{rows_html(run)}{memory_html(run)}</div>'
        f"{sheet_html(table)}{reasons_html(reasons)}{steps_html(run)}{outputs_html(work, output)}"
        f"<footer>Partita {escape(run.build)} · {escape(run.options['engine'])} engine, "
        f"{escape(run.options['threads'])} threads · plan <code>{run.plan_hash[:16]}</code> · "
        f"snapshot <code>{run.snapshot_hash[:16]}</code></footer>"
        "</main></body></html>\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="the demo's folder")
    parser.add_argument("--output", type=Path, required=True, help="the HTML file, in that folder")
    arguments = parser.parse_args()
    html = page_html(arguments.work, arguments.output)
    arguments.output.write_text(html, encoding="utf-8")


if __name__ == "__main__":
    main()
