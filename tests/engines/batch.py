"""A batch system of one machine, as small as it gets: `batch.py [BINARY, FILE, OPTIONS]` (JSON).

Compiles, then runs each stage's tasks as commands of their own, two at a time, and the finishing run after the last.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os._exit(128 + number))  # its commands end by themselves
    binary, file, options = json.loads(sys.argv[1])
    plan = file
    if not file.endswith(".json"):
        plan = file + ".plan.json"
        command = [binary, "compile", file, "-o", plan, *options_of_compile(options)]
        compiled = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        if compiled.returncode:
            sys.stderr.write(compiled.stderr)
            return compiled.returncode
    with open(plan) as stream:
        stages = len(json.load(stream)["plan"]["stages"])

    def run_task(stage: int, partition: int) -> subprocess.CompletedProcess[str]:
        command = [binary, "task", "--plan", plan, "--stage", str(stage), "--partition", str(partition), *options]
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for stage in range(stages):
            # A stage that reads an exchange has as many partitions as the exchange turned out to have: asking for one
            # that is not there tells how many there are.
            asked = run_task(stage, (1 << 31) - 1)
            found = re.search(r"has (\d+) partition", asked.stderr)
            if not found:
                sys.stderr.write(asked.stderr)
                return asked.returncode or 1
            for done in pool.map(lambda p, stage=stage: run_task(stage, p), range(int(found[1]))):
                if done.returncode:
                    sys.stderr.write(done.stderr)
                    return done.returncode
    return subprocess.run([binary, "run", plan, *options]).returncode


def options_of_compile(options: list[str]) -> list[str]:
    """Those that are frozen into a plan."""
    kept = []
    for flag in ("--on-error", "--quarantine"):
        if flag in options:
            kept += [flag, options[options.index(flag) + 1]]
    return kept


if __name__ == "__main__":
    sys.exit(main())
