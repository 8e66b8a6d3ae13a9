"""The clusters are what tests believe them to be, and leave nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clusters.hosts import MIB, Room, Unsupported, wait_for


@pytest.fixture
def room():
    try:
        made = Room()
    except Unsupported as reason:
        pytest.skip(str(reason))
    with made:
        yield made


def fetch(host, address):
    """Whether `host` reaches the web server at `address`."""
    code = f"import urllib.request; urllib.request.urlopen('http://{address}:8000/', timeout=1)"
    try:
        host.run([sys.executable, "-S", "-c", code])
    except AssertionError:
        return False
    return True


def test_a_network_is_cut_and_healed(room):
    near, far = room.add(), room.add()
    server = [sys.executable, "-m", "http.server", "8000", "--bind", far.address]
    far.start(server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for("the server", lambda: fetch(near, far.address), 20)
    far.cut_off()
    assert not fetch(near, far.address)
    far.heal()
    assert fetch(near, far.address)
    far.kill()
    assert not fetch(near, far.address)


def test_a_host_has_its_own_disk_and_processes(room):
    one, other = room.add(disk_bytes=MIB), room.add()
    one.run(["sh", "-c", f"echo mine > {one.disk}/a && echo shared > {room.folder}/b"])
    assert other.run(["sh", "-c", f"ls {other.disk}; cat {room.folder}/b; hostname"]).split() == ["shared", other.name]
    with pytest.raises(AssertionError, match="No space left"):
        one.run(["dd", "if=/dev/zero", f"of={one.disk}/big", "bs=1M", "count=2"])
    sleeper = other.start(["sleep", "1000"])
    wait_for("sleep", lambda: "1000" in other.run(["ps", "ax"]), 20)
    assert "1000" not in one.run(["ps", "ax"])
    other.signal(sleeper, signal.SIGTERM)
    assert sleeper.wait(20) == -signal.SIGTERM


def test_memory_is_limited(room):
    host = room.add(memory_bytes=64 * MIB)
    if host.limits:
        pytest.skip(host.limits)
    assert host.run([sys.executable, "-S", "-c", "print(len(bytearray(8 << 20)))"]).strip() == str(8 * MIB)
    with pytest.raises(AssertionError, match="exit"):
        host.run([sys.executable, "-S", "-c", "bytearray(b'x' * (200 << 20))"])


def test_nothing_is_left_after_kill_9(room):
    """A program with two hosts and a stubborn process on one is killed: the kernel and the watchdog clean up."""
    code = (
        f"import sys, time; sys.path[:0] = [{str(Path(__file__).parents[1])!r}]\n"
        "from clusters.hosts import Room\n"
        "room = Room(); host = room.add(); room.add()\n"
        "host.start(['sh', '-c', \"trap '' TERM INT HUP; setsid sleep 12345 & wait\"])\n"
        "print(room.folder, *[f for h in room.hosts for f in h._cgroup.folders.values()], flush=True)\n"
        "time.sleep(100)\n"
    )
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    with program.stdout as output:
        names = [Path(word) for word in output.readline().decode().split()]
    assert all(name.exists() for name in names)
    assert names

    def stubborn():
        found = []
        for entry in os.listdir("/proc"):
            try:
                if b"sleep\x0012345" in Path(f"/proc/{entry}/cmdline").read_bytes():
                    found.append(entry)
            except OSError:
                pass
        return found

    wait_for("the process", stubborn, 20)
    program.kill()
    program.wait()
    wait_for("the end of all processes", lambda: not stubborn(), 20)
    wait_for("the end of all names", lambda: not any(name.exists() for name in names), 30)
