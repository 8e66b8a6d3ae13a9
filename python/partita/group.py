"""The rows of a group, as `map_groups(steps=…)` lets people say what is done with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._functions import FunctionOptions
from ._graph import Node, make_node, plan_lines
from .errors import UserError
from .transforms import Transforms


class Group(Transforms):
    """The rows of any one group: what the function `steps` of `map_groups` gets, once, when the pipeline is written.

    Its methods are those of a dataset. `sort`, `limit` and `with_row_index` mean the rows of the group; `filter`,
    `select`, `with_columns`, `apply` and their like see one row after the other, as they do in a dataset. Steps that
    need other rows or a Python function are refused.

    Example:
        >>> def latest(group):
        ...     return group.sort("t", descending=True).limit(1)
        >>> ds = pt.from_pydict({"k": ["a", "b", "a"], "t": [1, 2, 5]})
        >>> ds.group_by("k").map_groups(steps=latest).sort("k").take(9)
        [{'k': 'a', 't': 5}, {'k': 'b', 't': 2}]
    """

    def __init__(self, node: Node | None = None) -> None:
        self._node = Node("group", {}) if node is None else node

    def _from_node(self, node: Node) -> Group:
        return Group(node)

    def __repr__(self) -> str:
        return "\n".join(["Group", *(f"  {line}" for line in plan_lines(self._node)[1:])])

    def apply(
        self,
        component: Any,
        /,
        *,
        on_error: str | None = None,
        name: str | None = None,
        options: FunctionOptions | None = None,
        **args: Any,
    ) -> Group:
        """A ready step by its registered name, as `Dataset.apply`.

        Args:
            component: `"resize_images"`, `"download_images"`, …
            on_error: What becomes of bad rows: `"fail"` (the run), `"skip"` or `"quarantine"`.
            name: As for `Dataset.apply`, but steps inside have none.
            options: As for `Dataset.apply`, but components of your own cannot stand inside.
            args: The component's arguments.

        Raises:
            UserError: The component is one of your own: it runs Python.

        Example:
            >>> ds = pt.from_pydict({"k": ["a", "a"], "v": [1, 2]})
            >>> ds.group_by("k").map_groups(steps=lambda group: group.apply("limit", n=1)).count()
            1
        """
        if not isinstance(component, str):
            raise UserError(
                "a component of your own runs Python, which cannot stand inside map_groups",
                hint="give a function of whole groups to map_groups as fn",
            )
        return super().apply(component, on_error=on_error, name=name, options=options, **args)

    def with_row_index(self, name: str = "index", *, offset: int = 0) -> Group:
        """Numbers the rows of the group in their order, as SQL's `row_number() over (partition by … order by …)`.

        Args:
            name: The new column, of type int64.
            offset: The number of the first row.

        Example:
            >>> ds = pt.from_pydict({"k": ["a", "b", "a"], "v": [9, 2, 5]})
            >>> def rank(group):
            ...     return group.sort("v").with_row_index("rank", offset=1)
            >>> ranked = ds.group_by("k").map_groups(steps=rank)
            >>> ranked.sort("k", "rank").take(9)
            [{'k': 'a', 'v': 5, 'rank': 1}, {'k': 'a', 'v': 9, 'rank': 2}, {'k': 'b', 'v': 2, 'rank': 1}]
        """
        return self._from_node(make_node("with_row_index", {"name": name, "offset": offset}, (self._node,)))


def steps_of(describe: Callable[[Group], Group]) -> list[dict[str, Any]]:
    """The steps that `describe` puts behind a group, as the step `map_groups` takes them."""
    if not callable(describe):
        raise UserError(
            f"steps must be a function of a group, not {type(describe).__name__}",
            hint='write steps=lambda group: group.sort("v").limit(3)',
        )
    start = Group()
    end = describe(start)
    nodes: list[Node] = []
    node = end._node if isinstance(end, Group) else None
    while node is not None and node.inputs:
        nodes.append(node)
        node = node.inputs[0]
    if node is not start._node or not nodes:
        raise UserError(
            "steps must return the group that it was given, with steps behind it",
            hint='write steps=lambda group: group.sort("v").limit(3)',
        )
    for step in nodes:
        if step.name is not None:
            raise UserError(f"{step.op} inside map_groups takes no name", hint="name the map_groups step itself")
    return [
        {"op": step.op, "args": step.args, **({} if step.on_error is None else {"on_error": step.on_error})}
        for step in reversed(nodes)
    ]
