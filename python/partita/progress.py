"""The progress of a run on stderr: a few live lines on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import json
import shutil
import sys
import time
from typing import Any, TextIO

from ._native import native
from .stats import format_bytes, format_count, format_seconds

FIRST_SECONDS = 0.5  # shorter runs show nothing
REDRAW_SECONDS = 0.1
LINE_SECONDS = 10.0
TELL_SECONDS = 0.5


class Progress:
    """Draws what an observer tells each time `poll` is called; `close` leaves the last state on the screen.

    Nothing is drawn before half a second has passed, so that small runs stay silent. Where nothing is drawn, it still
    tells which function is stuck, unless the mode is "never".
    """

    def __init__(self, observer: native.Observer, mode: str, stream: TextIO | None = None) -> None:
        self._observer = observer
        self._stream = stream if stream is not None else sys.stderr
        terminal = bool(getattr(self._stream, "isatty", bool)())
        self.tells = mode != "never" and self._stream is not None
        self.enabled = self.tells and mode != "events"
        self._live = terminal and self.enabled
        self._started = time.monotonic()
        self._next = self._started + (FIRST_SECONDS if self._live else LINE_SECONDS)
        self._drawn = 0
        self._cursor, self._next_tell = 0, self._started + TELL_SECONDS
        self._previous: tuple[float, dict[str, int]] = (self._started, {})
        self._rates: dict[str, float] = {}

    def poll(self) -> None:
        """Called by the engine about every 50 ms."""
        now = time.monotonic()
        local = sys.modules.get("partita.worker.local")
        # The terminal is the debugger's then. (Another thread may be importing the module just now.)
        is_debugged = getattr(local, "inline_now", False)
        if self.tells and now >= self._next_tell and not is_debugged:
            self._next_tell = now + TELL_SECONDS
            self._tell()
        if not self.enabled or now < self._next or is_debugged:
            return
        snapshot = json.loads(self._observer.snapshot())
        self._measure(now, snapshot)
        if self._live:
            self._next = now + REDRAW_SECONDS
            self._draw(self._lines(now, snapshot))
        else:
            self._next = now + LINE_SECONDS
            self._write(self._line(now, snapshot) + "\n")

    def close(self) -> None:
        """Draws the last state, if anything was drawn."""
        if self._drawn:
            snapshot = json.loads(self._observer.snapshot())
            self._draw(self._lines(time.monotonic(), snapshot))
        self.enabled = False

    def _tell(self) -> None:
        """Batches that take long, above the live lines. That a whole run waits is what these show."""
        text, self._cursor = self._observer.events_since(self._cursor)
        for event in json.loads(text):
            if event["kind"] == "stall" and event["step"]:
                if self._drawn:
                    self._write(f"\x1b[{self._drawn}F\x1b[0J")
                    self._drawn = 0
                self._write(f"partita: step '{event['step']}', partition {event['partition']}: {event['message']}\n")

    def _measure(self, now: float, snapshot: dict[str, Any]) -> None:
        """Rows a second of each step, smoothed over a few seconds."""
        then, before = self._previous
        rows = {step["name"]: step["rows_out"] for step in snapshot["steps"]}
        elapsed = now - then
        if elapsed <= 0:
            return
        weight = min(1.0, elapsed / 2)
        for name, count in rows.items():
            rate = (count - before.get(name, 0)) / elapsed
            self._rates[name] = rate if name not in self._rates else self._rates[name] * (1 - weight) + rate * weight
        self._previous = (now, rows)

    def _line(self, now: float, snapshot: dict[str, Any]) -> str:
        tasks, memory = snapshot["tasks"], snapshot["memory"]
        elapsed = now - self._started
        parts = [format_seconds(elapsed)]
        total, done = tasks["total"], tasks["done"]
        if total > 0:
            parts.append(f"{format_count(done)}/{format_count(total)} tasks ({100 * done // total} %)")
        if memory["limit"] > 0:
            parts.append(f"memory {format_bytes(memory['used'])} of {format_bytes(memory['limit'])}")
        wait = snapshot["current_wait"]
        if wait != "none" and done < total:
            parts.append(f"waiting: {wait}")
        bad = sum(step["rows_skipped"] + step["rows_quarantined"] for step in snapshot["steps"])
        if bad:
            parts.append(f"{format_count(bad)} bad rows")
        fresh = done - tasks["resumed"]
        if fresh > 0 and done < total:
            parts.append(f"ETA {format_seconds(elapsed / fresh * (total - done))}")
        return "partita: " + ", ".join(parts)

    def _lines(self, now: float, snapshot: dict[str, Any]) -> list[str]:
        lines = [self._line(now, snapshot)]
        steps = snapshot["steps"]
        width = max((len(step["name"]) for step in steps), default=0)
        for step in steps:
            rate = self._rates.get(step["name"], 0.0)
            text = (
                f"  {step['name']:<{width}}  {format_count(step['rows_out']):>13} rows  {format_count(rate):>11} rows/s"
            )
            text += f"  {format_bytes(step['bytes_out']):>9}"
            if step["rows_skipped"]:
                text += f"  {format_count(step['rows_skipped'])} skipped"
            if step["rows_quarantined"]:
                text += f"  {format_count(step['rows_quarantined'])} in quarantine"
            lines.append(text)
        return lines

    def _draw(self, lines: list[str]) -> None:
        size = shutil.get_terminal_size()
        most = max(1, size.lines - 1)  # lines that scrolled away cannot be drawn again
        if len(lines) > most:
            lines = lines[:most]
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        self._write(up + "".join(f"\x1b[2K{line[: size.columns - 1]}\n" for line in lines) + "\x1b[0J")
        self._drawn = len(lines)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # the terminal went away: the run goes on
            self.enabled = self.tells = False
