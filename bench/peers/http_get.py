"""GET over kept-alive connections, one a thread: what a careful hand-written client does."""

import http.client
import threading
import urllib.parse

_local = threading.local()


def get(url: str) -> bytes:
    parts = urllib.parse.urlsplit(url)
    for attempt in range(2):
        connection = getattr(_local, "connection", None)
        if connection is None:
            connection = _local.connection = http.client.HTTPConnection(parts.netloc, timeout=10)
        try:
            connection.request("GET", parts.path)
            answer = connection.getresponse()
            data = answer.read()
            if answer.status != 200:
                raise ValueError(f"HTTP {answer.status}")
            return data
        except (http.client.HTTPException, OSError):
            connection.close()
            _local.connection = None
            if attempt:
                raise
    raise AssertionError
