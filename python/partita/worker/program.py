"""A program as a function of batches: Arrow IPC streams go to its standard input and come from its standard output."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Sequence

import pyarrow as pa

from .component import Manifest
from .errors import WrongReturnError


class Program:
    """Calls a program with batches. It is started when it is first needed, and again when it has ended.

    For each batch the program gets one stream, with its schema and end, and answers with one. It may then read the next
    stream, or end. With `once` it is started for each batch, and its input ends behind the stream.
    """

    def __init__(
        self,
        command: Sequence[str],
        once: bool = False,
        consumes: Sequence[str] | None = None,
        produces: Sequence[str] = (),
    ) -> None:
        self._command = list(command)
        self._once = once
        # Types are the plan's business.
        columns = [dict.fromkeys(names, "") for names in (consumes or (), produces)]
        self.manifest = None if consumes is None else Manifest(consumes=columns[0], produces=columns[1])
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, batch: pa.RecordBatch) -> pa.Table:
        process, is_new = self._process, False
        if process is None or process.poll() is not None:
            process, is_new = self._started(), True
        self._process = None if self._once else process
        table = self._asked(process, batch)
        if isinstance(table, Exception):
            self._process = None
            if not is_new and process.returncode == 0:
                return self(batch)  # it had ended behind an earlier batch, as it may
            raise table
        return table

    def _asked(self, process: subprocess.Popen[bytes], batch: pa.RecordBatch) -> pa.Table | Exception:
        assert process.stdout is not None
        writing = threading.Thread(target=self._write, args=(process, batch))
        writing.start()
        try:
            return pa.ipc.open_stream(process.stdout).read_all()
        except (pa.ArrowInvalid, OSError) as error:
            return self._failed(process, error)
        finally:
            if self._once:
                process.stdout.close()
                process.wait()
            writing.join()

    def _started(self) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            raise WrongReturnError(f"the program {self._command[0]} cannot be started: {error.strerror}") from None

    def _write(self, process: subprocess.Popen[bytes], batch: pa.RecordBatch) -> None:
        assert process.stdin is not None
        # A program that ends early, and so does not read, is told of by what it does not answer.
        with contextlib.suppress(OSError, ValueError):
            with pa.ipc.new_stream(process.stdin, batch.schema) as writer:
                writer.write_batch(batch)
            process.stdin.flush()
            if self._once:
                process.stdin.close()

    def _failed(self, process: subprocess.Popen[bytes], error: Exception) -> Exception:
        try:
            code = process.wait(1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return WrongReturnError(f"the program {self._command[0]} answered with no Arrow stream: {error}")
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return WrongReturnError(f"the program {self._command[0]} ended ({how}) before it had answered")
