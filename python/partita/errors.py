"""Exceptions: who must act, and on what.

Every error of Partita is a [PartitaError][partita.PartitaError]; its subclass says who must act:

| class | who acts | also a |
| --- | --- | --- |
| `UserError` | the author of the pipeline | `ValueError` |
| `DataError` | whoever made the data, or the step's `on_error` | `ValueError` |
| `ResourceError` | give more memory or disk, or ask for less | `MemoryError` |
| `RunEnvironmentError` | network, storage, permissions: the operator of the machine | `OSError` |
| `BugError` | Partita: please report it | `RuntimeError` |
| `CancelledError` | nobody: the run was asked to stop | |

Ctrl-C is a `KeyboardInterrupt`, as everywhere in Python.
"""

from __future__ import annotations

__all__ = [
    "BugError",
    "CancelledError",
    "DataError",
    "PartitaError",
    "ResourceError",
    "RunEnvironmentError",
    "UserError",
]


class PartitaError(Exception):
    """The base of all errors of Partita.

    Attributes:
        kind: `"user"`, `"data"`, `"resource"`, `"environment"`, `"bug"` or `"cancelled"`.
        message: What happened, without place and hint.
        step: Name of the step, or None.
        partition: Number of the partition, or None.
        file: The file that was read, or None.
        row: Ordinal of the row in the file (in the partition where there is no file), or None.
        hint: The next thing to try, or None.
        retriable: Whether the same call may succeed later.

    Example:
        >>> try:
        ...     pt.range(3).filter("idd > 1").schema()
        ... except pt.PartitaError as error:
        ...     print(error.kind, error.step)
        user filter
    """

    kind: str = "bug"
    message: str = ""
    step: str | None = None
    partition: int | None = None
    file: str | None = None
    row: int | None = None
    hint: str | None = None
    retriable: bool = False

    def __init__(self, message: str = "", *, text: str | None = None, hint: str | None = None) -> None:
        # As the engine renders its own.
        super().__init__(text or f"{self.kind} error: {message}" + (f"\n  try: {hint}" if hint else ""))
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        # OSError and others would format their arguments in ways of their own.
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.args, dict(self.__dict__)))


class UserError(PartitaError, ValueError):
    """The pipeline, an argument or an option is wrong: edit it.

    Example:
        >>> try:
        ...     pt.range(3).filter("idd > 1").schema()
        ... except pt.UserError as error:
        ...     print(error.hint)
        use one of: id
    """

    kind = "user"


class DataError(PartitaError, ValueError):
    """A row or a file is bad. The step's `on_error` can skip or quarantine such rows.

    Example:
        >>> ages = pt.from_pydict({"age": ["7", "seven"]})
        >>> try:
        ...     ages.cast(age="int32").to_arrow()
        ... except pt.DataError as error:
        ...     print(error.step, error.row)
        cast 1
        >>> ages.cast(age="int32", on_error="skip").take(2)
        [{'age': 7}]
    """

    kind = "data"


class ResourceError(PartitaError, MemoryError):
    """Memory or disk ran out. The message names step, partition, row and bytes where they are known.

    Example:
        >>> try:
        ...     pt.range(1).with_columns(text="binary_repeat('x', 100000000)").to_arrow(memory="64MiB")
        ... except pt.ResourceError as error:
        ...     print(error.step, error.row)
        with_columns 0
    """

    kind = "resource"


class RunEnvironmentError(PartitaError, OSError):
    """Network, storage or permissions failed, also after retries.

    Example:
        >>> with open("file", "w") as file:
        ...     _ = file.write("in the way")
        >>> try:
        ...     pt.range(3).write_csv("file/out")
        ... except pt.RunEnvironmentError as error:
        ...     print(error.kind)
        environment
    """

    kind = "environment"


class BugError(PartitaError, RuntimeError):
    """Partita did something it must never do. Please report it.

    Example:
        >>> print(pt.BugError("two and two make five"))
        bug error: two and two make five
    """

    kind = "bug"


class CancelledError(PartitaError):
    """The run was asked to stop, and not by Ctrl-C.

    Example:
        >>> issubclass(pt.CancelledError, pt.PartitaError)
        True
    """

    kind = "cancelled"


_CLASSES: dict[str, type[PartitaError]] = {
    cls.kind: cls for cls in (UserError, DataError, ResourceError, RunEnvironmentError, BugError, CancelledError)
}


def _make(
    kind: str,
    message: str,
    text: str,
    retriable: bool,
    step: str | None,
    partition: int | None,
    file: str | None,
    row: int | None,
    hint: str | None,
) -> PartitaError:
    """Called by the native module."""
    error = _CLASSES.get(kind, BugError)(message, text=text, hint=hint)
    error.retriable = retriable
    error.step = step
    error.partition = partition
    error.file = file
    error.row = row
    return error


def _rebuild(cls: type[PartitaError], args: tuple[object, ...], attributes: dict[str, object]) -> PartitaError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error
