"""What steps there are, for people at a prompt."""

from __future__ import annotations

import json
from typing import Any

from . import manifests
from ._native import native, step_specs
from .errors import UserError
from .stats import Text


def components() -> str:
    """All registered steps, one a line: sources, steps between, sinks.

    Example:
        >>> "filter" in pt.components()
        True
    """
    specs = [spec for spec in step_specs().values() if not spec["internal"]]
    width = max(len(spec["name"]) for spec in specs)
    lines = []
    for kind, title in (("source", "Sources"), ("transform", "Steps: ds.apply(name, …)"), ("sink", "Sinks")):
        lines.append(title)
        lines.extend(f"  {spec['name']:<{width}}  {spec['summary']}" for spec in specs if spec["kind"] == kind)
    return Text("\n".join(lines))


def describe(component: Any) -> str:
    """A step's arguments, with meaning, unit and default.

    Args:
        component: Its registered name, or what `pt.component` made.

    Raises:
        UserError: There is no such step; the message has the nearest name.

    Example:
        >>> print(pt.describe("limit"))
        limit: Keeps the first rows, in the order of the dataset.
          n  int, required  Number of rows.
    """
    if not isinstance(component, str):
        return Text(manifests.describe_own(component))
    spec = step_specs().get(component) or _by_alias(component)
    if spec is None:
        nearest = native.nearest_name(component, list(step_specs()))
        raise UserError(
            f"unknown step '{component}'", hint=f"did you mean '{nearest}'?" if nearest else "see pt.components()"
        )
    lines = [f"{spec['name']}: {spec['summary']}"]
    rows = [(arg["name"], _kind(arg), _doc(arg)) for arg in spec["args"]]
    widths = [max((len(row[i]) for row in rows), default=0) for i in (0, 1)]
    lines.extend(f"  {name:<{widths[0]}}  {kind:<{widths[1]}}  {doc}" for name, kind, doc in rows)
    return Text("\n".join(lines))


def _by_alias(name: str) -> dict[str, Any] | None:
    return next((spec for spec in step_specs().values() if name in spec["aliases"]), None)


def _kind(arg: dict[str, Any]) -> str:
    return f"{arg['type']}, required" if arg["required"] else f"{arg['type']} = {json.dumps(arg['default'])}"


def _doc(arg: dict[str, Any]) -> str:
    text: str = arg["doc"]
    if arg.get("choices"):
        text += " One of " + ", ".join(arg["choices"]) + "."
    return text
