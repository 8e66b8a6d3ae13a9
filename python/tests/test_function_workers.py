"""What workers share, what memory they count, and what else they are given."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import partita as pt

IDS = {"id": "int64"}
TOLD = {"pid": "int64", "made_in": "int64", "private": "int64"}


def private_bytes() -> int:
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("Private_Dirty:"))


class Model:
    """64 MiB."""

    def __init__(self, keeps_open: str | None = None) -> None:
        self.made_in = os.getpid()
        self.weights = np.ones(64 << 17)
        self.file = open(keeps_open) if keeps_open is not None else None  # noqa: SIM115

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        assert self.weights[7] == 1
        time.sleep(0.02)
        rows = len(batch["id"])
        return {
            "pid": np.full(rows, os.getpid()),
            "made_in": np.full(rows, self.made_in),
            "private": np.full(rows, private_bytes()),
        }


def told(*args: Any, **options: Any) -> dict[str, set[int]]:
    ds = pt.range(200).map_batches(
        Model, batch_size=5, schema=TOLD, fn_constructor_args=args, compute=pt.Actors(2, 2), **options
    )
    table = ds.to_arrow()
    return {name: set(table[name].to_pylist()) for name in table.column_names}


def test_workers_share_what_a_constructor_made() -> None:
    found = told()
    assert len(found["pid"]) == 2
    assert len(found["made_in"]) == 1
    assert not found["made_in"] & found["pid"], "who made it runs no batches"
    assert max(found["private"]) < 48 << 20


def test_what_cannot_be_shared_is_made_in_each(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("kept open")
    assert (found := told(str(tmp_path / "weights")))["made_in"] == found["pid"]
    assert (found := told(deterministic=False))["made_in"] == found["pid"]


def test_a_worker_that_ends_is_forked_again_and_costs_its_batch(tmp_path: Path) -> None:
    class Dies(Model):
        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            marker = tmp_path / str(int(batch["id"][0]) // 50)
            if not marker.exists():
                marker.touch()
                os._exit(3)
            return {"id": batch["id"]}

    ds = pt.range(200).map_batches(Dies, batch_size=10, schema=IDS, compute=pt.Actors(1, 2))
    assert ds.to_arrow()["id"].to_pylist() == list(range(200))


BASES = """
    import os, pathlib, subprocess, sys, time, partita as pt

    def parent(pid):
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

    def told(batch):
        server = os.getppid()
        return {"base": [parent(server)], "server": [server], "mood": [os.environ.get("MOOD", "")]}

    SCHEMA = {"base": "int64", "server": "int64", "mood": "string"}

    def run():
        first = pt.range(10).map_batches(told, batch_size=10, schema=SCHEMA, name="first")
        both = first.map_batches(
            lambda batch: {name: [batch[name][0], now[0]] for name, now in told(batch).items()},
            batch_format="numpy", schema=SCHEMA, name="second")
        return both.to_arrow().to_pydict()

    def children():
        ps = ["ps", "-o", "pid=,stat=,args=", "--ppid", str(os.getpid())]
        found = subprocess.run(ps, capture_output=True, text=True)
        return [line for line in found.stdout.splitlines() if "partita" in line]
"""


def in_a_program(code: str) -> str:
    text = textwrap.dedent(BASES) + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_steps_and_runs_share_one_base_process_while_the_environment_is_the_same() -> None:
    in_a_program("""
        one, two = run(), run()
        assert set(one["base"]) == set(two["base"]) and len(set(one["base"])) == 1
        assert len(set(one["server"] + two["server"])) == 4, "each step of each run has a fork server of its own"
        os.environ["MOOD"] = "good"
        three = run()
        assert three["mood"] == ["good", "good"]
        assert not set(three["base"]) & set(one["base"])
        deadline = time.monotonic() + 60
        while children():
            assert time.monotonic() < deadline, children()
            time.sleep(0.1)
        assert run()["mood"] == ["good", "good"], "another is started"
    """)


def test_a_base_process_that_is_killed_is_replaced_and_a_forked_child_has_its_own() -> None:
    told = in_a_program("""
        import signal
        (base,) = set(run()["base"])
        os.kill(base, signal.SIGKILL)
        while pathlib.Path(f"/proc/{base}").exists():  # until it is reaped
            time.sleep(0.01)
        (other,) = set(run()["base"])
        assert other != base
        child = os.fork()
        if child == 0:
            (own,) = set(run()["base"])
            print("own" if own != other and parent(own) == os.getpid() else "shared", flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert set(run()["base"]) == {other}
    """)
    assert told == "own\n"


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("whose", ["driver", "template"])
def test_nobody_is_left_when_who_forked_them_is_killed(whose: str, tmp_path: Path) -> None:
    code = """
        import os, time, partita as pt
        class Dear:
            def __init__(self):
                self.made_in, self.weights = os.getpid(), bytearray(b"x" * (32 << 20))
            def __call__(self, batch):
                open(f"worker-{os.getpid()}", "w").close()
                open(f"template-{self.made_in}", "w").close()
                time.sleep(0.1)
                return {"id": batch["id"]}
        ds = pt.range(400).map_batches(Dear, batch_size=10, schema={"id": "int64"}, compute=pt.Actors(2, 2))
        assert ds.to_arrow()["id"].to_pylist() == list(range(400))
    """
    driver = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path)

    def pids(kind: str) -> set[int]:
        return {int(path.name.partition("-")[2]) for path in tmp_path.glob(f"{kind}-*")}

    deadline = time.monotonic() + 120
    while len(pids("worker")) < 2 or not pids("template"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (template,) = pids("template")
    workers = pids("worker")
    os.kill(driver.pid if whose == "driver" else template, signal.SIGKILL)
    while any(alive(pid) for pid in workers | {template}):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert driver.wait(120) == (-signal.SIGKILL if whose == "driver" else 0), "another is made, and nothing is lost"


def test_workers_end_while_nobody_takes_rows_and_come_back(tmp_path: Path) -> None:
    def grows(batch: dict[str, Any]) -> dict[str, Any]:
        (tmp_path / str(os.getpid())).touch()
        return {"id": batch["id"], "blob": np.zeros((len(batch["id"]), 1 << 16), np.uint8)}

    def pids() -> set[int]:
        return {int(path.name) for path in tmp_path.iterdir()}

    schema = {"id": "int64", "blob": "fixed_size_list<uint8>[65536]"}
    ds = pt.range(2000).map_batches(grows, batch_size=20, schema=schema, compute=pt.Actors(0, 3))
    batches = ds.iter_batches(batch_size=20, memory="192MiB")  # 125 MiB, of which 48 MiB wait for the loop
    found = next(batches)["id"].tolist()
    deadline = time.monotonic() + 60
    while any(alive(pid) for pid in pids()):
        assert time.monotonic() < deadline, "workers that have nothing to do are still there"
        time.sleep(0.1)
    ended = pids()
    for batch in batches:
        found += batch["id"].tolist()
    assert found == list(range(2000))
    assert pids() - ended, "others did the rest"


def grows_to(size: int) -> Any:
    def grows(batch: dict[str, Any], kept: list[Any] = []) -> dict[str, Any]:  # noqa: B006
        if not kept:
            kept.append(np.ones(size, np.uint8))
        time.sleep(0.05)
        return {"id": batch["id"]}

    return grows


def test_memory_that_a_function_turns_out_to_need_is_counted() -> None:
    ds = pt.range(40).map_batches(grows_to(150 << 20), batch_size=2, schema=IDS, concurrency=1)
    ds.to_arrow(memory="1GiB")
    assert ds.stats().memory_peak_bytes > 150 << 20


def test_a_function_that_needs_more_than_the_budget_is_told() -> None:
    ds = pt.range(40).map_batches(grows_to(700 << 20), batch_size=2, schema=IDS, concurrency=1)
    with pytest.raises(pt.ResourceError, match="memory"):
        ds.to_arrow(memory="128MiB")


def test_gpus_are_leased(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(batch: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.05)
        rows = len(batch["id"])
        return {"pid": [os.getpid()] * rows, "gpu": [os.environ["CUDA_VISIBLE_DEVICES"]] * rows}

    schema = {"pid": "int64", "gpu": "string"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    ds = pt.range(60).map_batches(told, batch_size=2, schema=schema, num_gpus=0.5, concurrency=8)
    workers = set(zip(*ds.to_arrow().to_pydict().values(), strict=True))
    assert len(workers) <= 4
    assert [gpu for _, gpu in workers].count("3") <= 2
    assert {gpu for _, gpu in workers} <= {"3", "5"}
    both = pt.range(10).map_batches(told, batch_size=2, schema=schema, num_gpus=2, concurrency=8).to_arrow()
    assert set(both["gpu"].to_pylist()) == {"3,5"}
    assert len(set(both["pid"].to_pylist())) == 1
    for wrong, message in ((3, "this machine shows 2"), (1.5, "whole number")):
        with pytest.raises(pt.PartitaError, match=message):
            pt.range(3).map_batches(told, schema=schema, num_gpus=wrong).to_arrow()


def test_workers_are_as_many_as_their_cores_allow() -> None:
    def told(batch: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.02)
        return {"id": [os.getpid()] * len(batch["id"])}

    ds = pt.range(60).map_batches(told, batch_size=2, schema=IDS, num_cpus=2)
    assert len(set(ds.to_arrow(threads=2)["id"].to_pylist())) == 1


def most_at_once(table: Any) -> int:
    """Of calls with their begin and end."""
    begins, ends = sorted(table["begin"].to_pylist()), sorted(table["end"].to_pylist())
    return max(sum(b <= begin for b in begins) - sum(e <= begin for e in ends) for begin in begins)


def test_workers_are_as_many_as_the_budget_has_room_for() -> None:
    def told(batch: dict[str, Any]) -> dict[str, Any]:
        begin = time.monotonic()
        time.sleep(0.03)
        rows = len(batch["id"])
        return {"id": batch["id"], "begin": np.full(rows, begin), "end": np.full(rows, time.monotonic())}

    schema = {"id": "int64", "begin": "double", "end": "double"}
    ds = pt.range(20).map_batches(told, batch_size=1, schema=schema, concurrency=6, memory="150MiB")
    table = ds.to_arrow(threads=4, memory="512MiB")
    assert table["id"].to_pylist() == list(range(20))
    assert most_at_once(table) <= 3, "each was promised 150 MiB"


def test_resources_limit_how_many_work_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(batch: dict[str, Any]) -> dict[str, Any]:
        begin = time.monotonic()
        time.sleep(0.03)
        rows = len(batch["id"])
        return {"id": batch["id"], "begin": np.full(rows, begin), "end": np.full(rows, time.monotonic())}

    def licensed(ds: Any, name: str, **wanted: float) -> Any:
        schema = {"id": "int64", "begin": "double", "end": "double"}
        return ds.map_batches(told, batch_size=1, schema=schema, concurrency=4, resources=wanted, name=name)

    monkeypatch.setenv("PARTITA_RESOURCES", "licence=2,robot=0.5")
    table = licensed(pt.range(12), "a", licence=1).to_arrow(threads=4)
    assert table["id"].to_pylist() == list(range(12))
    assert most_at_once(table) <= 2
    assert most_at_once(licensed(pt.range(6), "a", licence=1, robot=0.3).to_arrow(threads=4)) == 1
    # Two steps that need all of it take turns.
    both = licensed(licensed(pt.range(6), "a", licence=2), "b", licence=2)
    assert both.to_arrow(threads=4)["id"].to_pylist() == list(range(6))
    for wanted in ({"licence": 3}, {"tractor": 1}):
        with pytest.raises(pt.PartitaError, match="PARTITA_RESOURCES"):
            licensed(pt.range(3), "a", **wanted).to_arrow()
    with pytest.raises(pt.UserError, match="resources must name"):
        licensed(pt.range(3), "a", licence=-1).to_arrow()
    # The option of a run wins over the environment.
    assert most_at_once(licensed(pt.range(6), "a", licence=1).to_arrow(threads=4, resources={"licence": 1})) == 1
    with pytest.raises(pt.PartitaError, match="there is 1"):
        licensed(pt.range(3), "a", licence=2).to_arrow(resources="licence=1")
    for wrong in ("licence", "licence=", "=1", "licence=many", "licence=-1"):
        with pytest.raises(pt.UserError, match="must be like"):
            licensed(pt.range(3), "a", licence=1).to_arrow(resources=wrong)
    monkeypatch.setenv("PARTITA_RESOURCES", "licence")
    with pytest.raises(pt.PartitaError, match="must be like"):
        licensed(pt.range(3), "a", licence=1).to_arrow()
