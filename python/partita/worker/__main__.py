"""Starts the base process.

Run by path, so that the package around it is not loaded.
"""

import importlib.util
import pathlib
import sys


def _load() -> None:
    folder = pathlib.Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        "partita_worker", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["partita_worker"] = package
    spec.loader.exec_module(package)
    if sys.path and sys.path[0] == str(folder):
        del sys.path[0]  # its modules must not hide others of the same names


if __name__ == "__main__":
    _load()
    from partita_worker.server import serve  # type: ignore[import-not-found]

    serve(int(sys.argv[-1]))
