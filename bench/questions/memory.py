"""One chart of the kept results that had a memory limit: the peak of each program against what it was allowed."""

from __future__ import annotations

import argparse
import html
import json
import pathlib
import re

from results import RESULTS, ROOT

QUESTION = "peak memory of each program against its limit, drawn from kept results (nothing is run)"
REPETITIONS = 1
WIDTH, LEFT, RIGHT = 860, 150, 230  # the bars lie between the margins
BAR, GAP, HEAD = 16, 6, 30
OURS, PEER, DIED = "#2a78b8", "#9aa3ad", "#d2573c"
NAMES = {"sort": "Sort", "shuffle": "Shuffle", "groupby": "Group by", "join": "Join", "fat": "Rows of 128 MiB"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--results",
        type=pathlib.Path,
        nargs="*",
        help="kept .json files [the newest of sort, shuffle, groupby, join, fat]",
    )
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS / "memory.svg", help="[bench/results/memory.svg]")


def newest() -> list[pathlib.Path]:
    """Of each question the last result in which peers took part, by date; of one day the one of most programs."""
    chosen: dict[str, tuple[str, int, pathlib.Path]] = {}
    for file in sorted(RESULTS.glob("*.json")):
        kept = json.loads(file.read_text())
        kind = file.name.split("-")[0]
        programs = max((len(group) for group in kept.get("runs", {}).values()), default=0)
        if kind not in NAMES or programs < 2:
            continue
        rank = (kept["date"][:10], programs, file)
        if kind not in chosen or rank[:2] > chosen[kind][:2]:
            chosen[kind] = rank
    return [chosen[kind][2] for kind in NAMES if kind in chosen]


def budget_mib(parameters: dict) -> float | None:
    found = re.search(r"budget (\d+) ?(GiB|MiB)", " ".join(str(value) for value in parameters.values()))
    return None if found is None else int(found[1]) * (1024 if found[2] == "GiB" else 1)


def bars_of(kept: dict) -> list[dict]:
    """The worst of each program: of all that it was asked the run that came nearest to its limit."""
    bars: dict[str, dict] = {}
    for group in kept["runs"].values():
        for one in group:
            if one["limit"] or not one["memory_limit_mib"]:
                continue
            bar = bars.setdefault(one["name"], {"share": 0.0, "mib": 0, "limit": one["memory_limit_mib"], "end": ""})
            bar |= {"name": one["name"], "ours": one["ours"]}
            for run in one["runs"]:
                peak = run["peak_bytes"] / 2**20
                if peak > bar["mib"]:
                    bar |= {"mib": peak, "share": peak / bar["limit"]}
                if run["kernel_kills"]:
                    bar["end"] = "killed"
                elif not run["ok"]:
                    bar["end"] = bar["end"] or ("does not end" if run["timed_out"] else "gives up")
    return list(bars.values())


def text(x: float, y: float, words: str, **style: object) -> str:
    attributes = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in style.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{html.escape(words)}</text>'


def draw(results: list[tuple[str, dict]]) -> str:
    scale = WIDTH - LEFT - RIGHT
    body, y = [], 74.0
    for kind, kept in results:
        bars = bars_of(kept)
        limits = {bar["limit"] for bar in bars}
        allowed = f"{limits.pop():,} MiB for each" if len(limits) == 1 else "limits differ"
        body.append(text(16, y, f"{NAMES[kind]} ({allowed})", font_weight="bold"))
        y += 10
        for bar in bars:
            width = max(1.0, min(1.0, bar["share"]) * scale)
            colour = DIED if bar["end"] else OURS if bar["ours"] else PEER
            body.append(text(LEFT - 8, y + BAR - 4, bar["name"], text_anchor="end"))
            body.append(f'<rect x="{LEFT}" y="{y:.1f}" width="{scale}" height="{BAR}" fill="#f0f1f3"/>')
            body.append(f'<rect x="{LEFT}" y="{y:.1f}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>')
            budget = budget_mib(kept["parameters"]) if bar["ours"] else None
            if budget is not None:
                at = LEFT + min(1.0, budget / bar["limit"]) * scale
                body.append(
                    f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y - 2:.1f}" y2="{y + BAR + 2:.1f}" stroke="#111" stroke-width="2"/>'
                )
            of = f" of {bar['limit']:,}" if allowed == "limits differ" else ""
            note = f"{bar['mib']:,.0f}{of} MiB" + (f", {bar['end']}" if bar["end"] else "")
            body.append(text(LEFT + scale + 8, y + BAR - 4, note))
            y += BAR + GAP
        y += HEAD
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y:.0f}" width="{WIDTH}" height="{y:.0f}" '
        'font-family="system-ui, sans-serif" font-size="13" fill="#222">',
        f'<rect width="{WIDTH}" height="{y:.0f}" fill="#fff"/>',
        text(16, 26, "Peak memory against the kernel limit", font_size=17, font_weight="bold"),
        text(
            16,
            44,
            "A full bar is the limit; the black line is Partita's budget. Red: the program did not finish.",
            fill="#555",
        ),
    ]
    return "\n".join([*head, *body, "</svg>"]) + "\n"


def main(arguments: argparse.Namespace) -> int:
    files = arguments.results or newest()
    results = [(file.name.split("-")[0], json.loads(file.read_text())) for file in files]
    arguments.out.write_text(draw(results))
    for file in files:
        print(f"from {file.name}")
    out = arguments.out.resolve()
    print(f"written: {out.relative_to(ROOT) if out.is_relative_to(ROOT) else out}")
    return 0
