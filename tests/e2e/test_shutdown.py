"""SIGTERM and Ctrl-C: the exit code is 0, in time, and every answer that was given holds."""

import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.e2e.server import WEBHOOK, Connection, Load, Server, ledger, request, rows, sent, sign, until

# Interpreter, threads and a shared machine, on top of what the setting allows.
MARGIN_S = 5.0


def begin_to_drip(server: Server, body: bytes) -> Connection:
    """A client whose body the server is reading, with its last byte still to come."""
    client = server.connect()
    headers = (f"X-Leadterra-Signature: {sign(body)}", f"Content-Length: {len(body)}", "Expect: 100-continue")
    assert client.ask(request("POST", WEBHOOK, b"", headers)).status == 100
    client.send(body[:-1])
    return client


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_ends_it_in_time_and_keeps_every_answer(server: Server, number: signal.Signals) -> None:
    idle = [server.connect() for _ in range(5)]
    dripping = begin_to_drip(server, sent("dripping"))
    with Load(server.port, "load") as load:
        load.wait_for_acks(50)
        server.signal(number)
        told_s = time.monotonic()
        refusal = dripping.answer()
        assert server.wait() == 0
    assert time.monotonic() - told_s < MARGIN_S
    assert (refusal.status, refusal.headers["connection"], refusal.headers["retry-after"]) == (503, "close", "5")
    assert refusal.json()["detail"] == "The receiver is shutting down; send the event again."
    assert load.strange == []
    assert sorted(ledger(server.database)) == sorted(set(load.acked))
    assert '"level": "error"' not in server.stderr
    for client in [*idle, dripping]:
        client.close()


def test_a_clean_stop_is_written_down(server: Server) -> None:
    server.post(sent("m1"))
    assert server.stop() == 0
    assert rows(server.database, "SELECT stopped FROM accepting") == [(1,)]


def test_a_crash_is_not_a_clean_stop(server: Server) -> None:
    server.post(sent("m1"))
    server.kill()
    with closing(sqlite3.connect(server.database)) as conn:
        assert conn.execute("SELECT stopped FROM accepting").fetchall() == [(0,)]


def test_a_locked_database_delays_the_stop_no_longer_than_allowed(serve: Callable[..., Server]) -> None:
    server = serve(server__shutdown_timeout_s=1)
    with closing(sqlite3.connect(server.database, isolation_level=None)) as other, server.connect() as client:
        other.execute("BEGIN IMMEDIATE")
        client.send(request("POST", WEBHOOK, body := sent("m1"), (f"X-Leadterra-Signature: {sign(body)}",)))
        until(lambda: server.get("/livez").status == 200, "the server to have read that")
        server.signal(signal.SIGTERM)
        assert client.answer().status == 503
        told_s = time.monotonic()
        assert server.wait() == 0
        assert time.monotonic() - told_s < 1 + MARGIN_S


def test_two_signals_are_one(server: Server) -> None:
    dripping = begin_to_drip(server, sent("dripping"))
    server.signal(signal.SIGTERM)
    server.signal(signal.SIGTERM)
    assert dripping.answer().status == 503
    assert server.wait() == 0
    dripping.close()


def test_sigterm_while_it_waits_for_the_lock_is_a_clean_stop(serve: Callable[..., Server]) -> None:
    first = serve()
    second = serve(wait=False)
    second.wait_until_said('"event": "waiting_for_lock"')
    assert second.stop() == 0
    assert first.post(sent("m1")).status == 204
