"""Serving: what stands in the way of a start, how a stop goes, and where the server says it is."""

import asyncio
import gc
import json
import os
import signal
import socket
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from receiver import server, serving
from receiver.app import Service
from receiver.clock import SimulatedClock, SystemClock
from receiver.errors import CommandError, StorageError
from receiver.ingest.meters import Meters
from receiver.leadterra.signature import sign
from receiver.server import serve
from receiver.settings import Settings, clock_of, load
from receiver.storage.lock import DatabaseLock, Holder
from receiver.web.connections import ConnectionLimits, Connections
from tests.web.conftest import sent

Stop = Callable[[Service], Awaitable[None]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path)


def settings_of(folder: Path, **environ: str) -> Settings:
    given = {
        "RECEIVER_STORAGE__URL": f"sqlite:///{folder / 'receiver.db'}",
        "RECEIVER_WEBHOOK__SECRETS": '["app-secret"]',
        "RECEIVER_SERVER__PORT": "0",
    }
    return load(None, given | environ, {}).settings


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """A running server tunes the garbage collector for its whole process."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


async def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, stop: Stop) -> int:
    """The exit code of a server that `stop` ends once it can be reached."""
    opened: list[Service] = []
    original = Service.open

    async def noted(*arguments: Any, **named: Any) -> Service:
        opened.append(await original(*arguments, **named))
        return opened[0]

    monkeypatch.setattr(Service, "open", noted)
    lock = DatabaseLock(settings.database_path)
    serving = asyncio.create_task(serve(settings))
    while lock.holder().url is None and not serving.done():  # noqa: ASYNC110 # as a command in another process would
        await asyncio.sleep(0.005)
    if not serving.done():
        await stop(opened[0])
    return await serving


def left_since(before: set[threading.Thread]) -> list[threading.Thread]:
    """Newer threads that do not end; one that is on its way out gets the time for it."""
    newer = set(threading.enumerate()) - before
    for thread in newer:
        thread.join(20)
    return [thread for thread in newer if thread.is_alive()]


async def terminate(_: Service) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


async def test_told_to_stop_it_ends_with_0(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await run(settings, monkeypatch, terminate) == 0
    assert DatabaseLock(settings.database_path).holder() == Holder(None)


async def test_what_was_acknowledged_before_a_stop_is_there_after_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deliver(service: Service) -> None:
        url = f"{DatabaseLock(settings.database_path).holder().url}/webhooks/leadterra"
        async with httpx.AsyncClient(trust_env=False) as client:
            signature = {"X-Leadterra-Signature": sign(b"app-secret", sent()).hex()}
            assert (await client.post(url, content=sent(), headers=signature)).status_code == 204
        await terminate(service)

    assert await run(settings, monkeypatch, deliver) == 0
    with closing(sqlite3.connect(settings.database_path)) as conn:
        assert conn.execute("SELECT count(*) FROM messages").fetchone() == (1,)
        assert conn.execute("SELECT stopped FROM accepting").fetchall() == [(1,)]


async def test_a_database_that_cannot_be_trusted_any_more_ends_it_with_1(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(service: Service) -> None:
        service.writer.failed.set()

    assert await run(settings, monkeypatch, fail) == 1


async def test_a_stop_leaves_no_thread_behind(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(threading.enumerate())
    await run(settings, monkeypatch, terminate)
    assert left_since(before) == []


async def test_the_holder_of_the_database_is_named(settings: Settings) -> None:
    lock = DatabaseLock(settings.database_path)
    assert lock.acquire()
    with capture_logs() as lines, pytest.raises(CommandError) as caught:
        await serve(settings, lock_wait_s=0.2)
    lock.release()
    text = f"The database is held by process {os.getpid()}; stop that one, or name another database."
    assert str(caught.value) == text
    assert [line["event"] for line in lines] == ["waiting_for_lock"]


async def test_a_lock_that_comes_free_meanwhile_is_taken(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = DatabaseLock(settings.database_path)
    assert lock.acquire()
    asyncio.get_running_loop().call_later(0.05, lock.release)
    assert await run(settings, monkeypatch, terminate) == 0


async def test_a_start_that_fails_gives_the_lock_back(settings: Settings) -> None:
    settings.database_path.write_bytes(b"no database at all " * 100)
    with pytest.raises(StorageError):
        await serve(settings)
    lock = DatabaseLock(settings.database_path)
    assert lock.acquire()
    lock.release()


async def test_a_start_that_fails_late_leaves_no_thread_behind(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: object) -> None:
        raise RuntimeError("late")

    monkeypatch.setattr("receiver.ingest.writer.Writer.start", fail)
    before = set(threading.enumerate())
    with pytest.raises(RuntimeError, match="late"):
        await Service.open(settings, "token")
    assert left_since(before) == []


async def test_while_draining_the_figures_can_still_be_read(settings: Settings) -> None:
    service = await Service.open(settings, "token")
    service.drain()
    transport = httpx.ASGITransport(app=service.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        codes = [(await client.get(path)).status_code for path in ("/v1/campaigns", "/livez", "/readyz")]
    await service.close()
    assert codes == [200, 200, 503]


def test_the_clock_is_the_machines_unless_time_is_simulated(tmp_path: Path) -> None:
    assert isinstance(clock_of(settings_of(tmp_path)), SystemClock)
    simulated = {
        "RECEIVER_CLOCK__START": "2025-06-11T09:30:00Z",
        "RECEIVER_LEADTERRA__BASE_URL": "http://127.0.0.1:9",
    }
    clock = clock_of(settings_of(tmp_path, **simulated))
    assert isinstance(clock, SimulatedClock)
    assert 0 <= clock.now_ms() - 1_749_634_200_000 < 60_000


# Addresses.


@pytest.mark.parametrize(
    ("host", "url", "shown"),
    [
        ("127.0.0.1", "http://127.0.0.1:", "http://127.0.0.1:"),
        ("localhost", "http://127.0.0.1:", "http://127.0.0.1:"),
        ("0.0.0.0", "http://127.0.0.1:", "http://0.0.0.0:"),  # noqa: S104 # that is what is tested
        ("::1", "http://[::1]:", "http://[::1]:"),
        ("[::1]", "http://[::1]:", "http://[::1]:"),
        ("::", "http://[::1]:", "http://[::]:"),
    ],
)
def test_the_address_is_told_with_its_real_port(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], host: str, url: str, shown: str
) -> None:
    keys = {"RECEIVER_ACCESS__ANALYST_KEYS": json.dumps(["0" * 64])}
    with server._bound(host, 0) as listener:
        port = listener.getsockname()[1]
        assert serving._url(listener) == f"{url}{port}"
        serving._announce(settings_of(tmp_path, **keys), listener, None)
    assert capsys.readouterr() == ("", f"Listening on {shown}{port}\n")


def test_without_a_key_the_announcement_warns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with server._bound("127.0.0.1", 0) as listener, capture_logs() as lines:
        serving._announce(settings_of(tmp_path), listener, None)
    assert [(line["event"], line["log_level"]) for line in lines] == [("no_access_key", "warning")]
    assert capsys.readouterr().err.startswith("Listening on ")


def test_a_name_that_is_none_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(CommandError) as caught:
        server._bound("nowhere.invalid", 8000)
    assert str(caught.value) == "Setting 'server.host' is 'nowhere.invalid', which names no address here."


def test_uvicorn_adds_nothing_of_its_own(tmp_path: Path) -> None:
    async def nothing(*_: object) -> None: ...

    config = serving._config(settings_of(tmp_path), nothing, Connections(ConnectionLimits(), Meters()))
    assert (config.access_log, config.server_header, config.proxy_headers) == (False, False, False)
    assert (config.log_config, config.lifespan, config.timeout_graceful_shutdown) == (None, "off", 10)


def test_only_named_proxies_are_believed(tmp_path: Path) -> None:
    async def nothing(*_: object) -> None: ...

    environ = {"RECEIVER_SERVER__TRUSTED_PROXIES": '["192.0.2.1"]', "RECEIVER_SERVER__SHUTDOWN_TIMEOUT_S": "0.2"}
    config = serving._config(settings_of(tmp_path, **environ), nothing, Connections(ConnectionLimits(), Meters()))
    assert (config.proxy_headers, config.forwarded_allow_ips) == (True, ["192.0.2.1"])
    assert config.timeout_graceful_shutdown == 1
