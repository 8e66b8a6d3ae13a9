"""Servers that tests of storage share."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from s3_server import KEYS, new_bucket, running_server


@pytest.fixture(scope="session")
def s3_url():
    if given := os.environ.get("PARTITA_TEST_S3"):
        yield given
        return
    pytest.importorskip("moto", reason="tools/requirements.txt has moto")
    with running_server() as url:
        yield url


@pytest.fixture
def bucket(s3_url):
    keys = dict(KEYS)
    if "PARTITA_TEST_S3" in os.environ:
        keys = {name: os.environ[name] for name in KEYS}
    return new_bucket(s3_url, keys)
