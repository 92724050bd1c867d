"""The peers do what they are measured at: they store a signed event once, and nothing that is not signed."""

import hashlib
import hmac
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.bench.servers import PEERS, PEERS_MISSING, SECRET, Peer
from tests.e2e.server import WEBHOOK, Connection, request, sent


def post(port: int, body: bytes, secret: bytes = SECRET) -> int:
    signature = hmac.new(secret, body, hashlib.sha256).hexdigest()
    headers = (f"X-Leadterra-Signature: {signature}", "Content-Type: application/json")
    with Connection(port) as client:
        return client.ask(request("POST", WEBHOOK, body, headers)).status


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.title)
def test_it_stores_a_signed_event_once_and_refuses_a_wrong_signature(peer: Peer, tmp_path: Path) -> None:
    if peer.missing:
        pytest.skip(f"{', '.join(peer.missing)} {PEERS_MISSING}")
    with peer.start(tmp_path) as running:
        assert [post(running.port, sent("m1")), post(running.port, sent("m1")), post(running.port, sent("m2"))] == [
            204,
            204,
            204,
        ]
        assert post(running.port, sent("m3"), b"another secret") == 401
    with closing(sqlite3.connect(tmp_path / "bench.db")) as conn:
        stored = conn.execute("SELECT event, message_id FROM events ORDER BY id").fetchall()
    assert stored == [("message.sent", "m1"), ("message.sent", "m2")]
