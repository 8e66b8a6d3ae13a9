"""Runs the pipeline.yaml of many folders in one program: `run_many.py ENGINE ERRORS FOLDER...`.

ENGINE `batch` compiles to plan.json and runs nothing. The errors go to the file ERRORS as JSON, by folder.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import partita as pt


def main() -> None:
    engine, errors, *folders = sys.argv[1:]
    found = {}
    for folder in folders:
        os.chdir(folder)
        sys.path[0] = folder
        try:
            pipeline = pt.from_yaml("pipeline.yaml")
            if engine == "batch":
                Path("plan.json").write_text(pipeline.compile())
            else:
                pipeline.run(engine=engine, progress="never")
            found[folder] = ""
        except pt.PartitaError as error:
            found[folder] = str(error)
    Path(errors).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
