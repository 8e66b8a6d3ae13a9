"""A real S3 server for tests (moto's, in a process of its own), and a front that can make it fail.

PARTITA_TEST_S3=http://host:port names a server that runs already (versitygw, MinIO, …); its keys are those of the
environment.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import http.server
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

KEYS = {"AWS_ACCESS_KEY_ID": "partita-test", "AWS_SECRET_ACCESS_KEY": "not-so-secret-0123456789"}
# Nothing of the machine's own configuration reaches a test.
NOTHING = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def running_server(**variables: str) -> Iterator[str]:
    """Starts moto's server; yields its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)],
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(url, timeout=5).close()
                break
            assert process.poll() is None, "the S3 server ended"
            assert time.monotonic() < deadline, "the S3 server does not answer"
            time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()


@dataclass
class Bucket:
    """A bucket of its own for a test."""

    url: str
    name: str
    client: Any
    keys: dict[str, str] = field(default_factory=lambda: dict(KEYS))

    def env(self, **more: str) -> dict[str, str]:
        """The environment of a command that uses this server, and nothing else of the machine's."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PARTITA_STORAGE"))}
        return {**kept, **NOTHING, **self.keys, "AWS_ENDPOINT_URL": self.url, **more}

    def uri(self, key: str = "") -> str:
        return f"s3://{self.name}/{key}"

    def put(self, key: str, body: bytes | str) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=body.encode() if isinstance(body, str) else body)

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def names(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def digests(self, prefix: str) -> dict[str, str]:
        """What readers see below a folder: all but the run's books."""
        found = [key for key in self.names(prefix) if "/_partita/" not in key]
        return {key[len(prefix) + 1 :]: hashlib.sha256(self.get(key)).hexdigest() for key in found}

    def uploads(self) -> list[str]:
        return [found["Key"] for found in self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])]


def new_bucket(url: str, keys: dict[str, str]) -> Bucket:
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        config=Config(s3={"addressing_style": "path"}),
    )
    name = f"partita-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    return Bucket(url, name, client, keys)


Answer = tuple[int, dict[str, str], bytes]


class Front:
    """Stands before a server; `answer(method, path, nth)` may answer in its place, `after(method, path)` change what it
    answered, `rewrite(path)` ask for something else (of servers that do not check signatures).
    """

    def __init__(
        self,
        url: str,
        answer: Callable[[str, str, int], Answer | None],
        after: Callable[[str, str], Answer | None] = lambda method, path: None,
        rewrite: Callable[[str], str] = lambda path: path,
    ):
        self.requests: list[tuple[str, str]] = []
        lock = threading.Lock()
        host = url.removeprefix("http://")
        front = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with lock:
                    front.requests.append((self.command, self.path))
                    nth = len(front.requests)
                given = answer(self.command, self.path, nth)
                if given is None:
                    connection = http.client.HTTPConnection(host, timeout=60)
                    # With the host it was signed for.
                    connection.putrequest(self.command, rewrite(self.path), skip_host=True, skip_accept_encoding=True)
                    for name, value in self.headers.items():
                        connection.putheader(name, value)
                    connection.endheaders(body)
                    reply = connection.getresponse()
                    given = reply.status, dict(reply.getheaders()), reply.read()
                    connection.close()
                    given = after(self.command, self.path) or given
                status, headers, content = given
                self.send_response_only(status)
                for name, value in headers.items():
                    if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                length = headers.get("Content-Length") or headers.get("content-length")
                self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve  # noqa: N815

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Front:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def error(status: int, code: str, more: str = "", **headers: str) -> Answer:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>as told</Message>{more}</Error>"
    return status, {"Content-Type": "application/xml", **headers}, body.encode()
