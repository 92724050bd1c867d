"""Exports from the real server: clients that go, clients that take nothing, and a stop in the middle."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.server import Connection, Server, request, sent, until
from tests.e2e.test_shutdown import MARGIN_S
from tests.web.test_exports import fill

ROWS = 25_000
EXPORT = request("GET", "/v1/events?format=csv")


@pytest.fixture
def server(serve: Callable[..., Server], database: Path) -> Server:
    """Its export is far larger than what sockets hold, and what memory may."""
    first = serve()
    first.post(sent("m1"))
    assert first.stop() == 0
    fill(database, ROWS, id_bytes=250)
    return serve(server__shutdown_timeout_s=1)


def exports_on_disk(server: Server) -> int:
    folder = Path(f"/proc/{server.pid}/fd")
    # A file without a name shows as the number of its inode.
    mark = f"{server.database.parent}/#"
    count = 0
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            count += os.readlink(folder / name).startswith(mark)
    return count


def begin(server: Server) -> Connection:
    """A client whose export waits for it on the server's disk."""
    client = server.connect()
    client.send(EXPORT)
    until(lambda: exports_on_disk(server) == 1, "the export to be on disk")
    return client


def test_a_whole_export_arrives(server: Server) -> None:
    with server.connect() as client:
        answer = client.ask(EXPORT)
    assert (answer.status, answer.body.count(b"\r\n")) == (200, ROWS + 1)
    until(lambda: exports_on_disk(server) == 0, "the export to be deleted")


def test_a_client_that_goes_leaves_nothing_on_disk(server: Server) -> None:
    begin(server).close()
    until(lambda: exports_on_disk(server) == 0, "the export to be deleted")
    assert server.post(sent("m2")).status == 204
    assert server.stop() == 0
    assert '"level": "error"' not in server.stderr


def test_a_client_that_takes_nothing_does_not_hold_up_a_stop(server: Server) -> None:
    client = begin(server)
    server.signal(signal.SIGTERM)
    told_s = time.monotonic()
    assert server.wait() == 0
    assert time.monotonic() - told_s < 1 + MARGIN_S
    client.close()
