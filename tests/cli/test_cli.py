"""The `partita` command as a user meets it: verbs, errors, exit codes, progress, Ctrl-C.

The binary is $PARTITA_BIN, or that of the release build.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("PARTITA_BIN", str(ROOT / "build/release/bin/partita"))
VERBS = ["run", "validate", "explain", "compile", "inspect", "components", "task", "schema"]
PATIENCE = 120  # seconds until a test that hangs fails; nothing is measured

FIVE = """\
pipeline: five
parameters: {n: {type: int, default: 5}}
steps:
  - range: {n: "${n}", rows_per_partition: 2}
  - with_columns: {double: id * 2}
  - write_jsonl: {path: out/}
"""
# Runs until it is stopped.
ENDLESS = """\
pipeline: endless
steps:
  - range: {n: 100000000000, rows_per_partition: 1000000}
  - filter: (id + 7) * 3 < 0
  - write_jsonl: {path: out/}
"""


class Cli:
    """Runs the command in one folder, without the caller's PARTITA_* variables."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("PARTITA_")}

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text, encoding="utf-8")
        return name

    def __call__(self, *args: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [BINARY, *args],
            cwd=self.folder,
            env=self.env | variables,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == code, f"exit {done.returncode}\nstdout: {done.stdout}\nstderr: {done.stderr}"
        return done

    def start(self, *args: str, **kwargs: object) -> subprocess.Popen[str]:
        return subprocess.Popen([BINARY, *args], cwd=self.folder, env=self.env, text=True, **kwargs)  # type: ignore[call-overload]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def rows(folder: Path) -> list[dict[str, int]]:
    return [json.loads(line) for file in sorted(folder.glob("part-*.jsonl")) for line in file.read_text().splitlines()]


def wait_until(condition: object) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


# ----------------------------------------------------------------------------------------------- usage


def test_usage_names_every_verb(cli: Cli) -> None:
    for args, code in ((["--help"], 0), ([], 2)):
        text = cli(*args, code=code).stdout
        for verb in VERBS:
            assert f"\n  {verb} " in text
    assert cli("--version").stdout.startswith("partita ")


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_verb(cli: Cli, verb: str) -> None:
    for flag in ("--help", "-h"):
        text = cli(verb, flag).stdout
        assert text.startswith(f"Usage: partita {verb}")
        assert max(len(line) for line in text.splitlines()) <= 110
    if verb in ("run", "task", "inspect"):
        assert "--memory" in text
        assert "--threads" in text


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["rn"], "did you mean 'run'?"),
        (["run"], "an argument is missing"),
        (["run", "a.yaml", "b.yaml"], "no place for 'b.yaml'"),
        (["run", "a.yaml", "--memori", "1GiB"], "did you mean --memory?"),
        (["run", "a.yaml", "-x"], "unknown option -x"),
        (["run", "a.yaml", "--memory"], "option --memory needs a value"),
        (["run", "a.yaml", "--quiet=1"], "takes no value"),
        (["run", "missing.yaml"], "missing.yaml"),
        (["run", "five.yaml", "--memory", "much"], "option memory"),
        (["run", "five.yaml", "--set", "n"], "--set takes NAME=VALUE"),
        (["run", "five.yaml", "--set", "m=1"], "--set m: "),
        (["inspect", "five.yaml", "--rows", "-1"], "--rows"),
        (["task", "--plan", "p.json", "--stage", "0"], "--partition is missing"),
        (["components", "limt"], "did you mean 'limit'?"),
    ],
)
def test_wrong_words(cli: Cli, args: list[str], message: str) -> None:
    cli.write("five.yaml", FIVE)
    assert message in cli(*args, code=2).stderr


# ----------------------------------------------------------------------------------------- run, resume


def test_run_writes_and_then_has_nothing_to_do(cli: Cli) -> None:
    cli.write("five.yaml", FIVE)
    first = cli("run", "five.yaml")
    assert "write_jsonl: 5 rows in 3 files" in first.stdout
    assert "peak memory" in first.stdout
    assert rows(cli.folder / "out") == [{"id": i, "double": 2 * i} for i in range(5)]
    assert "nothing to do: complete" in cli("run", "five.yaml").stdout
    assert "nothing to do" not in cli("run", "five.yaml", "--fresh").stdout


def test_run_json(cli: Cli) -> None:
    cli.write("five.yaml", FIVE)
    done = cli("run", "five.yaml", "--json", "--quiet")
    assert done.stderr == ""
    result = json.loads(done.stdout)
    assert result["status"] == "ok"
    assert result["was_complete"] is False
    [dataset] = result["datasets"]
    assert dataset.keys() == {"step", "path", "format", "rows", "files", "bytes", "partitions"}
    assert (dataset["rows"], dataset["format"], dataset["partitions"]) == (5, "jsonl", 3)
    assert {step["name"] for step in result["stats"]["steps"]} >= {"range", "with_columns"}
    assert result["stats"]["tasks"]["done"] == 3
    assert (cli.folder / result["record"]).exists()
    assert json.loads(cli("run", "five.yaml", "--json").stdout)["was_complete"] is True


def test_a_failed_run_tells_json_too(cli: Cli) -> None:
    cli.write("bad.yaml", FIVE.replace("id * 2", "idd * 2"))
    result = json.loads(cli("run", "bad.yaml", "--json", code=2).stdout)
    assert result["status"] == "failed"
    assert result["error"]["kind"] == "user"
    assert result["error"]["exit_code"] == 2
    assert result["error"]["step"] == "with_columns"


def test_set_changes_a_parameter(cli: Cli) -> None:
    cli.write("five.yaml", FIVE)
    assert "write_jsonl: 3 rows" in cli("run", "five.yaml", "--set", "n=3").stdout


def test_flag_over_environment_over_file(cli: Cli) -> None:
    cli.write("five.yaml", FIVE + "options: {memory: 100MiB}\n")

    def limit(*args: str, **variables: str) -> int:
        out = cli("run", "five.yaml", "--fresh", "--json", "--quiet", *args, **variables).stdout
        return json.loads(out)["stats"]["memory"]["limit"] >> 20

    assert limit() == 100
    assert limit(PARTITA_MEMORY="200MiB") == 200
    assert limit("--memory", "300MiB", PARTITA_MEMORY="200MiB") == 300
    assert limit("--memory=300MiB") == 300
    assert "PARTITA_MEMORY" in cli("run", "five.yaml", code=2, PARTITA_MEMORY="much").stderr


def test_bad_rows_are_counted_by_step(cli: Cli) -> None:
    cli.write("in.jsonl", '{"a": 1}\n{"a": oops}\n{"a": 3}\n')
    cli.write("p.yaml", "steps:\n  - read_jsonl: {path: in.jsonl, column_types: {a: int64}}\n  - write_jsonl: out/\n")
    failed = cli("run", "p.yaml", code=3)
    assert "in.jsonl" in failed.stderr
    done = cli("run", "p.yaml", "--on-error", "skip", "--fresh")
    assert "read_jsonl: 1 skipped" in done.stdout
    assert "write_jsonl: 2 rows" in done.stdout
    done = cli("run", "p.yaml", "--on-error", "quarantine", "--fresh")
    assert "quarantine: 1 row " in done.stdout
    shown = cli("inspect", "out/_quarantine", "--columns", "__step,__kind", "--json").stdout
    assert json.loads(shown) == {"__step": "read_jsonl", "__kind": "data"}
    whole = json.loads(cli("inspect", "out/_quarantine", "--json").stdout)
    assert "step" not in whole  # the folder's name tells it a second time


BAD_ROWS = """\
steps:
  - range: {n: 20}
  - with_columns: {v: "cast(case when id % 10 = 5 then 'bad' else '1' end as int32)"}
    on_error: quarantine
  - write_parquet: out/
"""


def test_the_quarantine_has_its_place_in_the_options(cli: Cli) -> None:
    cli.write("p.yaml", BAD_ROWS + "options: {quarantine: bad/}\n")
    cli("run", "p.yaml")
    assert "rows     2" in cli("inspect", "bad").stdout
    assert not (cli.folder / "out/_quarantine").exists()
    cli("run", "p.yaml", "--quarantine", "worse", "--fresh")
    assert "rows     2" in cli("inspect", "worse").stdout
    cli("compile", "p.yaml", "-o", "plan.json")
    assert "compiled plan" in cli("run", "plan.json", "--quarantine", "other", code=2).stderr


def test_a_retry_tells_its_own_rows_and_memory(cli: Cli) -> None:
    cli.write("p.yaml", BAD_ROWS)
    cli("run", "p.yaml")
    retried = cli("run", "p.yaml", "--retry-quarantine").stdout
    assert "with_columns: 2 quarantined" in retried
    assert "write_parquet: 18 rows" in retried
    assert "peak memory 0 B" not in retried
    again = json.loads(cli("run", "p.yaml", "--retry-quarantine", "--json", "--quiet").stdout)
    assert again["quarantine"]["rows"] == 2
    assert again["stats"]["memory"]["peak"] > 0


@pytest.mark.parametrize("word", ["--version", "components"])
def test_what_reads_no_url_loads_no_libcurl(cli: Cli, word: str) -> None:
    loaded = cli(word, LD_DEBUG="files").stderr
    assert "libarrow" in loaded
    assert "libcurl" not in loaded
    assert "libcrypto" not in loaded


# ----------------------------------------------------------------------------- errors name their place


@pytest.mark.parametrize(
    ("wrong", "right", "place", "nearest"),
    [
        ("with_columns:", "with_column:", "five.yaml:5:5", "with_columns"),
        ("rows_per_partition: 2", "row_per_partition: 2", "five.yaml:4:19", "rows_per_partition"),
        ("double: id * 2", "double: idd * 2", "five.yaml:5:5", "id"),
        ("parameters:", "parameter:", "five.yaml:2:1", "parameters"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "validate", "explain", "compile"])
def test_a_typo_is_told_with_its_place(cli: Cli, verb: str, wrong: str, right: str, place: str, nearest: str) -> None:
    cli.write("five.yaml", FIVE.replace(wrong, right).replace('"${n}"', "5"))
    error = cli(verb, "five.yaml", code=2).stderr
    assert place in error
    assert f"did you mean '{nearest}'" in error
    assert error.count("five.yaml:") == 1
    assert not (cli.folder / "out").exists()


def test_exit_codes(cli: Cli) -> None:
    cli.write("five.yaml", FIVE)
    cli("run", "nothing.yaml", code=2)
    cli.write("rows.jsonl", '{"a": 1}\n{"a"\n')
    cli.write(
        "data.yaml", "steps:\n  - read_jsonl: {path: rows.jsonl, column_types: {a: int64}}\n  - write_jsonl: out2/\n"
    )
    cli("run", "data.yaml", code=3)
    sinks = "".join(f"  - write_parquet: out-{i}/\n" for i in range(8))
    cli.write("wide.yaml", "steps:\n  - range: {n: 5}\n" + sinks)
    assert json.loads(cli("explain", "wide.yaml", "--json").stdout)["least_memory_bytes"] > 16 << 20
    assert "--memory" in cli("run", "wide.yaml", "--memory", "16MiB", code=4).stderr
    with open("/dev/full", "w") as full:
        assert subprocess.run([BINARY, "schema"], stdout=full, stderr=subprocess.DEVNULL, check=False).returncode == 5


def test_a_reader_that_goes_away_is_no_error(cli: Cli) -> None:
    cli.write("many.yaml", "steps:\n  - range: {n: 1000000}\n  - write_jsonl: out/\n")
    with cli.start(
        "inspect", "many.yaml", "--json", "--rows", "1000000", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == '{"id":0}\n'
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE) == 0


# -------------------------------------------------------------------- validate, explain, compile, task


def test_validate(cli: Cli) -> None:
    cli.write("five.yaml", FIVE)
    assert cli("validate", "five.yaml").stdout.startswith("ok: five.yaml: pipeline 'five', 3 steps")
    assert "double int64" in cli("validate", "five.yaml", "--schemas").stdout
    result = json.loads(cli("validate", "five.yaml", "--json").stdout)
    assert [step["name"] for step in result["steps"]] == ["range", "with_columns", "write_jsonl"]
    assert not (cli.folder / "out").exists()


def test_validate_looks_at_sources_unless_told_not_to(cli: Cli) -> None:
    cli.write("p.yaml", "steps:\n  - read_parquet: later.parquet\n  - write_jsonl: out/\n")
    error = cli("validate", "p.yaml", code=2).stderr
    assert "p.yaml:2:5" in error
    assert "later.parquet" in error
    cli("validate", "p.yaml", "--no-sources")
    result = json.loads(cli("validate", "p.yaml", "--json", code=2).stdout)
    assert result["ok"] is False
    assert result["error"]["kind"] == "user"


def test_explain(cli: Cli) -> None:
    cli.write("five.yaml", FIVE)
    text = cli("explain", "five.yaml").stdout
    assert "least memory" in text
    assert "double = id * 2" in text
    assert json.loads(cli("explain", "five.yaml", "--json").stdout)["stages"] == [{"stage": 0, "partitions": 3}]


def test_a_compiled_plan_is_the_pipeline(cli: Cli) -> None:
    cli.write("five.yaml", FIVE)
    cli("compile", "five.yaml", "-o", "plan.json")
    assert cli("compile", "five.yaml").stdout == (cli.folder / "plan.json").read_text()
    assert "ok" in cli("validate", "plan.json").stdout
    assert cli("explain", "plan.json").stdout == cli("explain", "five.yaml").stdout
    assert cli("inspect", "plan.json").stdout == cli("explain", "five.yaml").stdout
    cli("run", "five.yaml")
    assert "nothing to do" in cli("run", "plan.json").stdout
    assert "compiled already" in cli("compile", "plan.json", code=2).stderr
    cli.write("broken.json", '{"plan": 1, "snapshot": {}}')
    assert "broken.json" in cli("run", "broken.json", code=2).stderr


def test_tasks_write_what_run_writes(cli: Cli) -> None:
    cli.write("five.yaml", FIVE)
    cli("compile", "five.yaml", "-o", "plan.json")
    for partition in (2, 0, 1, 1):
        cli("task", "--plan", "plan.json", "--stage", "0", "--partition", str(partition))
    assert "3 of 3 tasks done before" in cli("run", "plan.json").stdout
    assert rows(cli.folder / "out") == [{"id": i, "double": 2 * i} for i in range(5)]
    for wrong in (
        ["--stage", "0", "--partition", "3"],
        ["--stage", "1", "--partition", "0"],
        ["--stage", "x", "--partition", "0"],
    ):
        cli("task", "--plan", "plan.json", *wrong, code=2)
    assert "no compiled plan" in cli("task", "--plan", "five.yaml", "--stage", "0", "--partition", "0", code=2).stderr


# --------------------------------------------------------------------------------------------- inspect


def many_files(folder: Path, files: int = 20) -> None:
    folder.mkdir()
    for i in range(files):
        table = pa.table({"id": [2 * i, 2 * i + 1], "text": ["größe", None], "raw": [b"\0" * 12 * 1024, b"x"]})
        pq.write_table(table, folder / f"p-{i:04d}.parquet")


def test_inspect_shows_the_first_rows_as_a_table(cli: Cli) -> None:
    many_files(cli.folder / "data")
    lines = cli("inspect", "data", "--rows", "2").stdout.splitlines()
    assert lines[0] == "data"
    assert re.match(r"format +parquet$", lines[1])
    assert re.match(r"files +20, ", lines[2])
    assert lines[3].split() == ["columns", "3"]
    assert lines[-4].split() == ["id", "text", "raw"]
    assert lines[-2].split("  ")[-1].strip() == "<binary 12 KiB>"
    assert "größe" in lines[-2]
    assert "null" in lines[-1]


def test_inspect_opens_the_first_file_alone(cli: Cli) -> None:
    many_files(cli.folder / "data")
    for file in sorted((cli.folder / "data").iterdir())[1:]:
        file.write_bytes(b"no parquet at all")
    assert json.loads(cli("inspect", "data", "--rows", "1", "--json").stdout)["id"] == 0
    assert "files    20" in cli("inspect", "data", "--rows", "2").stdout
    cli("inspect", "data", "--rows", "3", code=3)


def test_inspect_json_has_whole_rows_of_several_files(cli: Cli) -> None:
    many_files(cli.folder / "data")
    out = [json.loads(line) for line in cli("inspect", "data", "--rows", "7", "--json").stdout.splitlines()]
    assert [row["id"] for row in out] == list(range(7))
    assert out[1]["raw"] == "eA=="
    assert (
        cli("inspect", "data/*.parquet", "--rows", "3", "--json", "--columns", "id").stdout
        == '{"id":0}\n{"id":1}\n{"id":2}\n'
    )


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"x,y\n1,a\n2,b\n", ("csv", ["x", "y"])),
        ("a.jsonl", b'{"x": 1}\n', ("jsonl", ["x"])),
        ("a.txt", b"one\ntwo\n", ("text", ["text"])),
        ("a.bin", b"\x00\x01", ("files", ["path", "bytes", "size", "modified"])),
    ],
)
def test_inspect_knows_formats_by_name(cli: Cli, name: str, content: bytes, expected: tuple[str, list[str]]) -> None:
    (cli.folder / name).write_bytes(content)
    text = cli("inspect", name).stdout
    assert re.search(rf"^format +{expected[0]}$", text, re.MULTILINE)
    for column in expected[1]:
        assert re.search(rf"^  {column}  ", text, re.MULTILINE)


def test_inspect_a_hive_folder(cli: Cli) -> None:
    for year in (2023, 2024):
        (cli.folder / f"data/year={year}").mkdir(parents=True)
        (cli.folder / f"data/year={year}/a.csv").write_text("x\n1\n")
    assert cli("inspect", "data", "--json").stdout == '{"x":1,"year":2023}\n{"x":1,"year":2024}\n'


def test_inspect_a_written_dataset_and_shards(cli: Cli) -> None:
    cli.write("p.yaml", FIVE.replace("write_jsonl: {path: out/}", "write_webdataset: {path: out/}"))
    cli("run", "p.yaml")
    text = cli("inspect", "out").stdout
    assert re.search(r"^format +webdataset$", text, re.MULTILINE)
    assert re.search(r"^rows +5$", text, re.MULTILINE)
    [first, *_] = sorted((cli.folder / "out").glob("*.tar"))
    assert "__key__" in cli("inspect", f"out/{first.name}").stdout


def test_inspect_a_pipeline(cli: Cli) -> None:
    cli.write("five.yaml", FIVE)
    assert cli("inspect", "five.yaml", "--json", "--rows", "2").stdout == '{"id":0,"double":0}\n{"id":1,"double":2}\n'
    assert cli("inspect", "five.yaml", "--json", "--rows", "1", "--step", "range").stdout == '{"id":0}\n'
    assert not (cli.folder / "out").exists()
    assert "no step 'rang'" in cli("inspect", "five.yaml", "--step", "rang", code=2).stderr


def test_inspect_errors(cli: Cli) -> None:
    many_files(cli.folder / "data", 1)
    assert "nothing/" in cli("inspect", "nothing/", code=2).stderr
    assert "did you mean 'id'" in cli("inspect", "data", "--columns", "idd", code=2).stderr
    assert "did you mean 'parquet'" in cli("inspect", "data", "--format", "parket", code=2).stderr


def test_inspect_count(cli: Cli) -> None:
    many_files(cli.folder / "data")
    assert re.search(r"^rows +40$", cli("inspect", "data", "--count").stdout, re.MULTILINE)


# ---------------------------------------------------------------------------------- components, schema


def test_components(cli: Cli) -> None:
    text = cli("components").stdout
    for name in ("read_parquet", "filter", "resize_images", "write_webdataset"):
        assert f"\n  {name} " in text
    one = cli("components", "resize_images").stdout
    assert "center_crop" in one
    assert max(len(line) for line in one.splitlines()) <= 110
    assert "read_jsonl" in cli("components", "read_json").stdout  # by alias
    listed = json.loads(cli("components", "--json").stdout)
    assert "from_memory" not in {step["name"] for step in listed}
    [size] = [arg for arg in json.loads(cli("components", "limit", "--json").stdout)["args"] if arg["name"] == "n"]
    assert size["required"] is True


def test_schema_is_one_that_editors_can_use(cli: Cli) -> None:
    schema = json.loads(cli("schema").stdout)
    assert schema["$schema"].startswith("https://json-schema.org/draft/2020-12/")


@pytest.mark.parametrize(
    ("file", "command"),
    [("docs/pipeline.schema.json", ["schema"]), ("docs/steps.md", ["components", "--markdown"])],
)
def test_generated_documents_are_up_to_date(cli: Cli, file: str, command: list[str]) -> None:
    made = cli(*command).stdout
    assert (ROOT / file).read_text(encoding="utf-8") == made, f"run: partita {' '.join(command)} > {file}"


def test_the_page_of_the_command_names_every_flag(cli: Cli) -> None:
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    for verb in VERBS:
        assert f"## partita {verb}" in page
        for flag in re.findall(r"^  (--[a-z-]+)", cli(verb, "--help").stdout, re.MULTILINE):
            assert f"`{flag}" in page, f"{verb} {flag}"


# ------------------------------------------------------------------------------------ progress, Ctrl-C


def read_terminal(fd: int, until: object) -> str:
    """What a process printed on its terminal, until `until` of it holds or the process has gone."""
    text = b""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        ready, _, _ = select.select([fd], [], [], 0.2)
        if not ready:
            continue
        try:
            text += os.read(fd, 65536)
        except OSError:  # the other side is closed
            break
        if until(text.decode(errors="replace")):  # type: ignore[operator]
            break
    return text.decode(errors="replace")


def test_progress_on_a_terminal_is_in_place(cli: Cli) -> None:
    cli.write("endless.yaml", ENDLESS)
    cli.env["TERM"] = "xterm"
    ours, theirs = pty.openpty()
    process = cli.start("run", "endless.yaml", "--threads", "2", stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    shown = read_terminal(ours, lambda text: text.count("tasks ") >= 3 and "rows/s" in text)
    process.send_signal(signal.SIGINT)
    rest = read_terminal(ours, lambda text: False)
    assert process.wait(PATIENCE) == 130
    os.close(ours)
    assert "\x1b[" in shown
    for step in ("range", "filter", "write_jsonl"):
        assert step in shown
    assert re.search(r"memory .* of ", shown)
    last = rest.rsplit("\x1b[J", 1)[-1]  # after the display is taken away
    assert "the same command resumes" in last
    assert re.search(r"\d of 100,000 tasks (is|are) done", last)


def test_no_display_where_there_is_no_terminal(cli: Cli) -> None:
    cli.write("five.yaml", FIVE)
    assert cli("run", "five.yaml").stderr == ""
    cli.env["TERM"] = "dumb"
    ours, theirs = pty.openpty()
    process = cli.start("run", "five.yaml", "--fresh", stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    assert "\x1b" not in read_terminal(ours, lambda text: False)
    assert process.wait(PATIENCE) == 0
    os.close(ours)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_cleanly_and_the_same_command_resumes(cli: Cli, number: signal.Signals) -> None:
    cli.write("p.yaml", ENDLESS)
    process = cli.start("run", "p.yaml", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    log = cli.folder / "out/_partita/commits.log"
    wait_until(lambda: log.exists() and log.stat().st_size > 0)
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "the same command resumes" in err
    result = json.loads(out)
    assert result["status"] == "cancelled"
    done = result["stats"]["tasks"]["done"]
    assert done > 0

    process = cli.start("run", "p.yaml", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    size = log.stat().st_size
    wait_until(lambda: log.stat().st_size > size)
    process.send_signal(number)
    resumed = json.loads(process.communicate(timeout=PATIENCE)[0])["stats"]["tasks"]
    assert resumed["resumed"] >= done
    assert resumed["done"] > resumed["resumed"]


def test_a_stall_is_told_with_what_is_waited_for(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/slow.jpg"
        cli.write("urls.jsonl", json.dumps({"url": url}) + "\n")
        cli.write(
            "p.yaml",
            "steps:\n  - read_jsonl: urls.jsonl\n"
            f"  - download: {{timeout: {PATIENCE}, allow_private_addresses: true, respect_robots: false}}\n"
            "  - write_jsonl: out/\n",
        )
        with cli.start("run", "p.yaml", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            assert process.stderr
            line = next((line for line in process.stderr if line.startswith("stall")), "")
            process.send_signal(signal.SIGINT)
            process.stderr.read()
            assert process.wait(PATIENCE) == 130
    assert "partition 0" in line
    assert url in line


def test_the_second_ctrl_c_does_not_wait(cli: Cli) -> None:
    cli.write("p.yaml", ENDLESS)
    process = cli.start("run", "p.yaml", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until((cli.folder / "out/_partita").exists)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130


def test_ctrl_c_stops_inspect(cli: Cli) -> None:
    cli.write("p.yaml", ENDLESS)
    process = cli.start("inspect", "p.yaml", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode in (130, -signal.SIGINT)  # the latter: before it began to read
