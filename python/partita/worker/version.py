"""What byte code is good for. Apart, for whoever writes a payload and has no use for what reads it."""

from __future__ import annotations

import sys


def python_version() -> bytes:
    """What a payload begins with: byte code is for one version of Python."""
    return f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}".encode()
