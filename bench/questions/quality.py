"""How far are resized pixels from a full decode and area resize, at each size of source?"""

from __future__ import annotations

import argparse
import json
import subprocess

import paths
from harness import peer_environment
from results import Report, number, table

from questions.image import make_sources

QUESTION = "Pixels of shortest side 256 and centre crop against a full decode and area resize, by the size of the source: mean and worst image?"
REPETITIONS = 1
IMAGES = 60
# Shortest sides from just above the target to where every JPEG scale (8/8, 4/8, 2/8, 1/8) serves.
SIZES = [
    "360x270",
    "448x320",
    "512x384",
    "640x480",
    "683x512",
    "800x600",
    "1000x750",
    "1024x768",
    "1040x790",
    "1280x960",
    "1365x1024",
    "1600x1200",
]
SIZES += ["2048x1536", "2400x1800", "2730x2048", "3000x2250"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sizes", default=",".join(SIZES), help="sizes of sources")


def main(arguments: argparse.Namespace) -> int:
    count = max(2, round(IMAGES * arguments.scale))
    report = Report("quality", QUESTION, {"images a size": count})
    work = paths.empty(paths.ROOT / "build" / "bench-work" / "quality")
    environment = peer_environment(paths.DATA)
    rows, data = [], {}
    for size in arguments.sizes.split(","):
        sources, _ = make_sources(count, size)
        cells = [size, number(min(map(int, size.split("x"))) / 256, 2)]
        data[size] = {}
        for scaled in ("true", "false"):
            out = work / f"{size}-{scaled}"
            command = [
                paths.program("partita"),
                "run",
                paths.BENCH / "pipelines" / "quality.yaml",
                "--quiet",
                "--set",
                f"in={sources}/*.jpg",
            ]
            command += ["--set", f"out={out}", "--set", f"scaled={scaled}"]
            subprocess.run(command, check=True, env=environment)
            compare = [paths.python_of("img2dataset"), paths.PEERS / "quality.py", sources, out]
            done = subprocess.run(compare, check=True, capture_output=True, text=True, env=environment)
            found = data[size]["scaled" if scaled == "true" else "full"] = json.loads(done.stdout.splitlines()[-1])
            ours, loop = found["partita"], found["python loop"]
            cells += [number(ours["mean"], 2), number(ours["worst"], 2)]
        cells += [number(loop["mean"], 2), number(loop["worst"], 2)]
        rows.append(cells)
        print("  ", *cells, flush=True)
    report.data["sizes"] = data
    header = ["source", "ratio", "partita mean", "worst", "full decode mean", "worst", "loop mean", "worst"]
    report.say("\n" + table(header, rows) + "\n")
    report.say(
        "Mean of |difference| over pixels and channels, of 255; worst: the worst image's mean. No lossy encoder in between."
    )
    report.write(arguments.tag)
    paths.clean(work)
    return 0
