"""Servers for the tests: one of each test's own, and one that tests share which leave no trace in it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.server import Connection, Server

BODY_LIMIT = 65_536


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "receiver.db"


@pytest.fixture
def serve(database: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers on this test's database; whatever still runs at the end is killed."""
    with ExitStack() as servers:

        def start(*prefix: str, wait: bool = True, **settings: object) -> Server:
            server = Server(database, *prefix, wait=False, **settings)
            servers.enter_context(server)
            if wait:
                server.wait_until_listening()
            return server

        yield start


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    return serve()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that each look at their own campaign only. Its body limit is BODY_LIMIT."""
    database = tmp_path_factory.mktemp("shared") / "receiver.db"
    with Server(database, server__body_limit_bytes=BODY_LIMIT) as server:
        yield server
        assert server.stop() == 0
        assert '"level": "error"' not in server.stderr
        assert "Traceback" not in server.stderr


@pytest.fixture
def client(shared: Server) -> Iterator[Connection]:
    with shared.connect() as connection:
        yield connection
