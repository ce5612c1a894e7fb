"""The scripted gateway, served."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.scripted import Scripted


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
