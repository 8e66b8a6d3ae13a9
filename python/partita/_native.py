"""The one place that loads the native module: after pyarrow, whose Arrow libraries both share in the process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

try:
    import pyarrow as pa
except ImportError as missing:
    raise ImportError(
        "partita needs pyarrow, whose Arrow libraries it shares: install it with `pip install 'pyarrow==26.*'`"
    ) from missing

# The Arrow that the native module is linked to; its own ARROW_MAJOR says the same. It cannot be asked before it is
# loaded, and loading it beside another Arrow is what must not happen.
ARROW_MAJOR = 26

_found = int(pa.__version__.split(".", 1)[0])
if _found != ARROW_MAJOR:
    raise ImportError(
        f"partita is built against Arrow {ARROW_MAJOR}, but pyarrow is {pa.__version__}: "
        f"install the right one with `pip install 'pyarrow=={ARROW_MAJOR}.*'`"
    )

from . import _partita as native  # noqa: E402

if native.ARROW_MAJOR != ARROW_MAJOR:
    raise ImportError(
        f"this build of partita is linked to Arrow {native.ARROW_MAJOR}, not {ARROW_MAJOR}: install it again"
    )

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ARROW_MAJOR", "native", "schema_of", "session", "step_specs", "to_json"]

# One session a process: it holds no run, only the rows that datasets made from memory read.
session = native.Session()

_specs: dict[str, dict[str, Any]] | None = None


def step_specs() -> Mapping[str, dict[str, Any]]:
    """All registered steps by name."""
    global _specs
    if _specs is None:
        _specs = {spec["name"]: spec for spec in json.loads(native.steps())}
    return _specs


def to_json(value: object) -> str:
    """JSON as the native module reads it; a lone surrogate or another value without JSON form is a user error."""
    from .errors import UserError

    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError) as error:
        raise UserError(f"this value cannot be part of a pipeline: {error}") from None
    return text


def schema_of(capsule: object) -> pa.Schema:
    """The schema in a capsule of the native module."""
    return pa.schema(_Capsule(capsule))


class _Capsule:
    """A schema capsule on its way to pyarrow."""

    def __init__(self, capsule: object) -> None:
        self._capsule = capsule

    def __arrow_c_schema__(self) -> object:
        return self._capsule
