"""The image job over HTTP: how many images a second, how many per CPU second, in how much memory?"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import subprocess
from collections.abc import Iterator

import paths
import pyarrow as pa
import pyarrow.parquet as pq
from harness import Contender, Run, peer_environment, play
from results import Report, mib, number, outcome, table

QUESTION = "JPEGs of about 1024x768 from a local server, shortest side 256, centre crop, JPEG q95: images a second, images a CPU second, peak memory?"
REPETITIONS = 3
FULL_COUNT = 3000
SIZES = {"exact": "1024x768,768x1024", "mixed": "mixed"}
# img2dataset's threads a process, and shards: of the same number of rows, so that its two processes end together.
IMG2DATASET_THREADS, IMG2DATASET_SHARDS = 16, 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--formats", default="parquet,webdataset", help="outputs [%(default)s]")
    parser.add_argument(
        "--sizes",
        choices=sorted(SIZES),
        default="exact",
        help="exact: 1024x768 and 768x1024; mixed: sides vary by 10 %%",
    )
    parser.add_argument("--memory", default="1GiB", help="Partita's budget [%(default)s]")
    parser.add_argument("--img2dataset-threads", type=int, default=IMG2DATASET_THREADS)
    parser.add_argument("--img2dataset-shards", type=int, default=IMG2DATASET_SHARDS)


def make_sources(count: int, sizes: str) -> tuple[pathlib.Path, str]:
    """Makes the pictures that are missing; returns their folder and a sentence about them."""
    folder = paths.DATA / f"pictures-{sizes}-{count}"
    command = [paths.python_of("img2dataset"), paths.PEERS / "pictures.py", folder, str(count), SIZES.get(sizes, sizes)]
    about = subprocess.run(
        command, check=True, capture_output=True, text=True, env=peer_environment(paths.DATA)
    ).stdout.strip()
    return folder, about


@contextlib.contextmanager
def server(folder: pathlib.Path) -> Iterator[str]:
    """Serves a folder; yields its URL. The server runs outside of the timed groups; its CPU time is nobody's."""
    process = subprocess.Popen(
        [paths.program("partita_image_server"), "--folder", folder], stdout=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise RuntimeError("the image server did not start")
        yield line.removeprefix("listening on ").strip()
    finally:
        process.terminate()
        process.wait()


def check_output(out: pathlib.Path, count: int, sources: pathlib.Path, every: int) -> dict:
    command = [paths.python_of("img2dataset"), paths.PEERS / "check_images.py", out, str(count), sources, str(every)]
    done = subprocess.run(command, capture_output=True, text=True, env=peer_environment(paths.DATA), check=False)
    assert done.returncode == 0, (done.stderr.strip().splitlines() or ["the check failed"])[-1]
    return json.loads(done.stdout.splitlines()[-1])


def contenders_for(
    output: str, url: str, urls: pathlib.Path, work: pathlib.Path, count: int, arguments: argparse.Namespace
) -> list[Contender]:
    def out(name: str) -> pathlib.Path:
        return work / output / name.replace(" ", "-")

    def peer(venv: str, script: str, *words: object) -> list[str]:
        return [str(word) for word in (paths.python_of(venv), paths.PEERS / script, urls, *words)]

    ours = [
        paths.program("partita"),
        "run",
        paths.BENCH / "pipelines" / f"image_{output}.yaml",
        "--memory",
        arguments.memory,
    ]
    ours += ["--set", f"urls={urls}", "--set", f"out={out('partita')}", "--quiet"]
    shard_rows = -(-count // arguments.img2dataset_shards)
    made = [Contender("partita", [str(word) for word in ours], is_ours=True)]
    limit = paths.program("partita_bench_image_limit")
    for variant in ("naive", "resize_images"):
        name = f"limit {variant}"
        made.append(Contender(name, [str(limit), url, str(count), f"{out(name)}.tar", variant], is_limit=True))
    made += [
        Contender(
            "img2dataset",
            peer(
                "img2dataset",
                "image_img2dataset.py",
                out("img2dataset"),
                output,
                arguments.img2dataset_threads,
                shard_rows,
            ),
        ),
        Contender(
            "python loop",
            peer("img2dataset", "image_loop.py", out("python loop"), output),
            note="hand-written, scaled decode",
        ),
        Contender("ray data", peer("peers", "image_ray.py", out("ray data"), output)),
    ]
    if output == "parquet":
        made += [
            Contender(
                "daft udf",
                peer("daft", "image_daft.py", out("daft udf"), "udf"),
                note="its downloader, OpenCV in a function",
            ),
            Contender(
                "daft udf process",
                peer("daft", "image_daft.py", out("daft udf process"), "udf-process"),
                note="the same, in processes",
            ),
            Contender(
                "daft native",
                peer("daft", "image_daft.py", out("daft native"), "native"),
                same_work=False,
                note="its image expressions; JPEG quality cannot be set",
            ),
        ]
    for contender in made:
        contender.timeout_s = 120 + count * 0.2
        if contender.name.startswith("daft"):
            contender.environment["PYTHONPATH"] = str(paths.PEERS)  # for its worker processes
        finish(contender, out(contender.name), count, urls.parent / "pictures", contender.is_limit)
    return made


def finish(contender: Contender, out: pathlib.Path, count: int, sources: pathlib.Path, is_file: bool) -> None:
    target = out.with_name(out.name + ".tar") if is_file else out

    def prepare() -> None:
        out.parent.mkdir(parents=True, exist_ok=True)
        if is_file:
            target.unlink(missing_ok=True)
        else:
            paths.empty(out).rmdir()

    def check(run: Run) -> None:
        every = 1 if not any(earlier.ok for earlier in contender.runs) else 10
        run.report["quality"] = quality = check_output(target, count, sources.resolve(), every)
        allowed = (
            2.5 if contender.same_work else 12.0
        )  # mean of 255; a shift by one pixel or swapped colours are far above
        assert quality["from_encoded_reference"] < allowed, (
            f"the pictures differ by {quality['from_encoded_reference']} of 255"
        )

    contender.prepare, contender.check = prepare, check


def main(arguments: argparse.Namespace) -> int:
    count = max(10, round(FULL_COUNT * arguments.scale))
    sources, about = make_sources(count, arguments.sizes)
    work = paths.empty(paths.ROOT / "build" / "bench-work" / "image")
    (work / "pictures").symlink_to(sources)
    parameters = {"images": count, "pictures": about, "memory of partita": arguments.memory, "rounds": arguments.repeat}
    parameters |= {
        "threads of img2dataset": arguments.img2dataset_threads,
        "shards of img2dataset": arguments.img2dataset_shards,
    }
    report = Report("image" if arguments.sizes == "exact" else f"image-{arguments.sizes}", QUESTION, parameters)
    report.say(about + ".\n")
    with server(sources) as url:
        urls = work / "urls.parquet"
        names = [f"{i:06d}" for i in range(count)]
        pq.write_table(pa.table({"url": [f"{url}/{name}.jpg" for name in names], "key": names}), urls)
        subprocess.run(  # the server reads each file once; from here on it serves from memory
            [paths.program("partita_bench_image_limit"), url, str(count), work / "warm.tar", "download"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for output in arguments.formats.split(","):
            print(f"to {output}")
            contenders = contenders_for(output, url, urls, work, count, arguments)
            if arguments.only:
                contenders = [c for c in contenders if c.name.startswith(tuple(arguments.only.split(",")))]
            play(contenders, arguments.repeat, work)
            report.add_runs(output, contenders)
            summarise(report, output, contenders, count)
    report.write(arguments.tag)
    paths.clean(work)
    return 0


def summarise(report: Report, output: str, contenders: list[Contender], count: int) -> None:
    rows = []
    for contender in contenders:
        seconds, cpu = contender.median(lambda run: run.job_s), contender.median(lambda run: run.cpu_s)
        quality = next((run.report["quality"] for run in contender.runs if run.ok), {})
        rows.append(
            [
                contender.name + ("" if contender.same_work else " *"),
                number(count / seconds if seconds else None),
                number(count / cpu if cpu else None),
                mib(contender.median(lambda run: run.peak_bytes)),
                number(contender.median(lambda run: run.wall_s), 2),
                number(quality.get("from_reference"), 2),
                number(quality.get("from_encoded_reference"), 2),
                outcome(contender),
            ]
        )
    header = [
        "to " + output,
        "images/s",
        "images/CPU s",
        "peak memory",
        "wall s",
        "off reference",
        "off encoded ref.",
        "",
    ]
    report.say(f"\n## {output}\n\n" + table(header, rows) + "\n")
    report.say(
        "Images a second: peers without imports and cluster start, Partita with everything. Off: mean of 255, see quality. * other work."
    )

    def rate(contender: Contender) -> float:
        seconds = contender.median(lambda run: run.job_s)
        return count / seconds if seconds else 0.0

    ours = next((rate(c) for c in contenders if c.is_ours), 0.0)
    peers = [c for c in contenders if not c.is_ours and not c.is_limit and c.same_work and rate(c)]
    if ours and peers:
        loop = [c for c in peers if c.name == "python loop"]
        engines = [c for c in peers if c.name != "python loop"]
        for group in (engines, loop):
            if group:
                best = max(group, key=rate)
                report.say(f"\n**{ours / rate(best):.2f} times {best.name}** ({output}, images/s).")
    for contender in contenders:
        if contender.is_limit and ours and rate(contender):
            report.say(f"\n**{ours / rate(contender):.2f} of {contender.name}** ({output}, images/s).")
