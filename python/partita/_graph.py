"""Datasets as a graph of nodes.

Nodes are shared by identity: two datasets made from one have its nodes in common, and a pipeline holds each node
once, so that what they share is executed once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from . import _functions
from ._native import native, step_specs, to_json
from .errors import PartitaError, UserError
from .expressions import text_of


@dataclass(frozen=True, eq=False)
class Node:
    """One step. Immutable; compared and shared by identity."""

    op: str
    args: dict[str, Any]
    inputs: tuple[Node, ...] = ()
    on_error: str | None = None
    name: str | None = None
    # What must live as long as the step may run: the rows of from_memory.
    keep: object = field(default=None, repr=False)


ON_ERROR = ("fail", "skip", "quarantine")


def make_node(
    op: str,
    args: dict[str, Any],
    inputs: tuple[Node, ...] = (),
    *,
    on_error: str | None = None,
    name: str | None = None,
    keep: object = None,
) -> Node:
    """A checked step. Arguments that are None, or text and switches as they are by default, are left out."""
    spec = step_specs().get(op)
    defaults = {arg["name"]: arg["default"] for arg in spec["args"]} if spec is not None else {}
    # A number is kept: that the user wrote it may matter (rows_per_shard shapes partitions only when it is asked for).
    given = {
        key: value
        for key, value in args.items()
        if value is not None and not (isinstance(value, bool | str) and value == defaults.get(key))
    }
    if on_error is not None and on_error not in ON_ERROR:
        nearest = native.nearest_name(str(on_error), list(ON_ERROR))
        raise UserError(
            f"on_error cannot be {on_error!r}" + (f"; did you mean {nearest!r}?" if nearest else ""),
            hint="choose 'fail', 'skip' or 'quarantine'",
        )
    op = native.check_step(op, to_json(given))
    return Node(op, given, inputs, on_error, name, keep)


def walk(ends: Iterable[Node]) -> Iterator[Node]:
    """Every node once, inputs first, in the order in which a reader would write them."""
    seen: set[int] = set()
    stack: list[tuple[Node, bool]] = [(node, False) for node in reversed(list(ends))]
    while stack:
        node, ready = stack.pop()
        if id(node) in seen:
            continue
        if ready:
            seen.add(id(node))
            yield node
        else:
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(node.inputs))


def name_nodes(nodes: Sequence[Node]) -> dict[int, str]:
    """A name for each node, by id: the given one, else the op's with a number where that is taken."""
    names: dict[int, str] = {}
    taken: set[str] = set()
    for node in nodes:
        if node.name is not None:
            names[id(node)] = node.name  # two equal names are refused with the pipeline
            taken.add(node.name)
    counts: dict[str, int] = {}
    for node in nodes:
        if node.name is not None:
            continue
        count = counts.get(node.op, 0) + 1
        name = node.op if count == 1 else f"{node.op}_{count}"
        while name in taken:
            count += 1
            name = f"{node.op}_{count}"
        counts[node.op] = count
        taken.add(name)
        names[id(node)] = name
    return names


def nodes_of(pipeline: native.Pipeline) -> tuple[dict[str, Node], dict[str, Any]]:
    """The nodes of a pipeline by step name, in order, and the pipeline as JSON."""
    form = json.loads(pipeline.to_json())
    nodes: dict[str, Node] = {}
    for step in form["steps"]:
        on_error = step.get("on_error", "fail")
        nodes[step["name"]] = Node(
            step["op"],
            step["args"],
            tuple(nodes[name] for name in step["inputs"]),
            None if on_error == "fail" else on_error,
            step["name"],
        )
    return nodes, form


def renamed(node: Node, name: str) -> Node:
    return replace(node, name=name)


# -- Text for people ----


def plan_lines(node: Node) -> list[str]:
    """The steps from the sources down to `node`; branches of a union stand before it, side by side."""
    chain = [node]
    while len(chain[-1].inputs) == 1:
        chain.append(chain[-1].inputs[0])
    lines: list[str] = []
    branches = chain[-1].inputs
    for i, branch in enumerate(branches):
        last = i == len(branches) - 1
        for j, line in enumerate(plan_lines(branch)):
            head = "┌─ " if i == 0 and j == 0 else "├─ " if j == 0 else "│  "
            lines.append((head if not last or j > 0 or i == 0 else "├─ ") + line)
    lines.extend(step_text(step) for step in reversed(chain))
    return lines


def step_text(node: Node) -> str:
    """One step as people read it: `filter(width >= 256)`."""
    parts = [_arg_text(key, value, node) for key, value in node.args.items()]
    if node.on_error not in (None, "fail"):
        parts.append(f"on_error={node.on_error}")
    text = f"{node.op}({', '.join(parts)})"
    return f"{node.name}: {text}" if node.name is not None and node.name != node.op else text


def _arg_text(key: str, value: Any, node: Node) -> str:
    if node.op == "from_memory":
        return f"{getattr(node.keep, 'num_rows', '?')} rows" if key == "id" else f"{key}={value!r}"
    if key == "predicate":
        return _expression_text(value)
    if key == "steps":  # inside a map_groups: each has one above it
        steps = [Node(step["op"], step["args"], (node,), step.get("on_error")) for step in value]
        return " | ".join(step_text(step) for step in steps)
    if key == "columns" and isinstance(value, list) and node.inputs:
        return ", ".join(_column_text(item) for item in value)
    if key == "columns" and isinstance(value, dict) and node.inputs:
        return ", ".join(f"{name}={item}" for name, item in value.items())
    if key == "n":
        return str(value)
    if key == "fn" and isinstance(node.keep, _functions.Function):
        return node.keep.name
    return f"{key}={value!r}"


def _column_text(item: Any) -> str:
    if isinstance(item, list) and len(item) == 2:
        text = _expression_text(item[1])
        return text if text == item[0] else f"{item[0]}={text}"
    return str(item)


def _expression_text(value: Any) -> str:
    try:
        return text_of(to_json(value)) if isinstance(value, dict) else str(value)
    except PartitaError:
        return str(value)
