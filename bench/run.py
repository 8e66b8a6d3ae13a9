#!/usr/bin/env python3
"""One question, one command: `.venv/bin/python bench/run.py image`. The questions are the files in bench/questions/."""

from __future__ import annotations

import argparse
import importlib
import pathlib
import pkgutil
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import harness
import paths
import questions

# Each has a QUESTION, its usual REPETITIONS, add_arguments and main.
QUESTIONS = {
    name: importlib.import_module(f"questions.{name}") for _, name, _ in pkgutil.iter_modules(questions.__path__)
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--build", type=pathlib.Path, default=paths.ROOT / "build" / "release", help="build folder of the C++ programs"
    )
    parser.add_argument("--binary", type=pathlib.Path, help="the partita binary, when it is not the build folder's")
    asked = parser.add_subparsers(dest="question", required=True)
    for name, module in QUESTIONS.items():
        sub = asked.add_parser(name, help=module.QUESTION, description=module.QUESTION)
        sub.add_argument("--scale", type=float, default=1.0, help="fraction of the full size")
        sub.add_argument("--repeat", type=int, default=module.REPETITIONS, help="rounds [%(default)s]")
        sub.add_argument(
            "--only", default="", help="comma-separated names (beginnings) of programs to run; default all"
        )
        sub.add_argument(
            "--tag", default="", help="goes into the name of the result files; default 'scaled' below full scale"
        )
        module.add_arguments(sub)
    arguments = parser.parse_args()
    problem = harness.can_measure()
    if problem:
        sys.exit(problem)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: see harness.play
    paths.use_build(arguments.build, arguments.binary)
    if not arguments.tag and (arguments.scale != 1.0 or arguments.only):
        arguments.tag = "scaled" if arguments.scale != 1.0 else "part"
    return QUESTIONS[arguments.question].main(arguments)


if __name__ == "__main__":
    sys.exit(main())
