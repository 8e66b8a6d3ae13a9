"""What a component says of itself. Here, because workers know it too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Manifest:
    """Of a component that a user writes.

    Attributes:
        name: What people call it.
        version: Of the component; for people.
        summary: What it does, in one line.
        consumes: The columns that it is given, with their types as text.
        produces: The columns that it returns, a row for each row, with their types as text.
        batch_size: As for `map_batches`.
        batch_format: As for `map_batches`.
    """

    name: str = ""
    version: str = ""
    summary: str = ""
    consumes: Mapping[str, str] = field(default_factory=dict)
    produces: Mapping[str, str] = field(default_factory=dict)
    batch_size: int | str = 1024
    batch_format: str = "numpy"


def manifest_of(thing: Any) -> Manifest | None:
    """None: it is no component."""
    found = getattr(thing, "manifest", None)
    # By name: in a worker, a module of the user's knows this class as another than the worker does.
    return found if type(found).__name__ == Manifest.__name__ else None
