"""A package that a function imports and that a node lacks: the error is the node's, and names it."""

from __future__ import annotations

import importlib.util
import json
import platform
import re

_SIGN = b"No module named"
_MISSING = re.compile(r"No module named '([\w.]+)'")
ENVIRONMENT = 5  # arrow::StatusCode of such errors


def with_node(report: bytes) -> bytes:
    """On a worker: a report that tells of a missing package also says where."""
    if _SIGN not in report:
        return report
    return json.dumps({**json.loads(report), "node": platform.node()}).encode()


def blamed(report: bytes) -> bytes:
    """On the driver: where it has the package itself, the function is right and the node is not."""
    if _SIGN not in report:
        return report
    form = json.loads(report)
    status = form["end"]["status"]
    found = _MISSING.search(status["message"]) if status else None
    if found is None or "node" not in form or not _is_here(package := found[1].partition(".")[0]):
        return report
    status.update(
        code=ENVIRONMENT,
        kind="environment",
        retriable=False,
        message=f"the node {form['node']} has no package {package}, which the function of this step imports",
        hint=f"install {package} on every node, or have the cluster ship it "
        "(Ray: ray.init(runtime_env={'pip': […]}); Dask: client.register_plugin(PipInstall(…)))",
    )
    return json.dumps(form).encode()


def _is_here(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False
