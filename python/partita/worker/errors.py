"""Errors of user code as text: the user's own frames, nothing of ours."""

from __future__ import annotations

import pathlib
import re
import sys
import traceback
from types import FrameType, TracebackType

_FOLDERS = (str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).resolve().parent))
_LONGEST = 16 << 10
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{4,}")


class BadRowsError(Exception):
    """A function of single rows failed on some: their places in the batch, and why."""

    def __init__(self, rows: list[tuple[int, BaseException]]) -> None:
        super().__init__()
        self.rows = rows

    def clear(self) -> None:
        for _, error in self.rows:
            forget(error)
        self.rows = []


class WrongReturnError(TypeError):
    """The function returned something that cannot be rows of the step's columns."""


def forget(error: BaseException) -> None:
    """Frames hold what their variables hold: the batch."""
    seen: BaseException | None = error
    while seen is not None:
        if seen.__traceback__ is not None:
            traceback.clear_frames(seen.__traceback__)
            seen.__traceback__ = None
        seen = seen.__cause__ or seen.__context__


def text(error: BaseException, *, short: bool) -> str:
    return short_text(error) if short else full_text(error)


def full_text(error: BaseException) -> str:
    """As Python prints it, from the user's first frame on."""
    if isinstance(error, WrongReturnError):
        return str(error)
    lines = traceback.format_exception(type(error), error, _users(error.__traceback__))
    return "".join(lines).rstrip()[-_LONGEST:]


def short_text(error: BaseException) -> str:
    """One line that is the same on every machine: it may become data."""
    said = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()
    first = _ADDRESS.sub("0x…", said[-1] if said else type(error).__name__)
    if isinstance(error, WrongReturnError):
        return _ADDRESS.sub("0x…", str(error))
    frames = traceback.extract_tb(_users(error.__traceback__))
    where = f" ({pathlib.PurePath(frames[0].filename).name}:{frames[0].lineno} in {frames[0].name})" if frames else ""
    return (first + where)[:_LONGEST]


def stack_text(frame: FrameType) -> str:
    """Where a thread is in the user's code, the innermost frame first; "" where it is not in it."""
    frames = traceback.extract_stack(frame)
    own = [place for place, one in enumerate(frames) if one.filename.startswith(_FOLDERS)]
    users = frames[own[-1] + 1 :] if own else frames
    return "\n".join(f'  File "{one.filename}", line {one.lineno} in {one.name}' for one in reversed(users))


def _users(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_FOLDERS):
        trace = trace.tb_next
    return trace


def print_own() -> None:
    traceback.print_exc(file=sys.stderr)
