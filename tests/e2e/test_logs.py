"""Secrets, keys, tokens and recipients never come out on standard error, whatever happens to the server."""

import hashlib
import json
from collections.abc import Callable

import pytest

from tests.e2e.server import WEBHOOK, Server, payload, request, run, sent, sign

SECRET = "canary-secret-f3b1"
KEY = "rcv_canary-key-77aa"
KEY_HASH = hashlib.sha256(KEY.encode()).hexdigest()
ADDRESS = "canary-recipient@example.org"
BODIES = [
    sent("canary-message-1", to=ADDRESS),
    sent("canary-message-1", "other", to=ADDRESS),
    payload("message.sent", to=ADDRESS),
    payload("reply.received", reply={"id": "r1", "email": ADDRESS, "campaignId": "c", "text": "canary-reply-text"}),
    payload("message.bounced", messageId="m2", bounceType="soft", bounceReason=f"550 <{ADDRESS}> is gone"),
    f'{{"event": "canary-event", "x": "{ADDRESS}"'.encode(),
    b'{"event": "message.sent", "data": {"to": "canary-recipient\\ud800@example.org"}}',
]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_secret_and_no_address_is_ever_logged(serve: Callable[..., Server], log_format: str) -> None:
    server = serve(
        webhook__secrets=json.dumps([SECRET]),
        access__admin_keys=json.dumps([KEY_HASH]),
        leadterra__api_key="canary-api-key",
        log__level="debug",
        log__format=log_format,
    )
    authorization = f"Authorization: Bearer {KEY}"
    with server.connect() as client:
        for body in BODIES:
            client.ask(request("POST", WEBHOOK, body, (f"X-Leadterra-Signature: {sign(body, SECRET)}",)))
            client.ask(request("POST", WEBHOOK, body, (f"X-Leadterra-Signature: {SECRET}",)))
        for path in (
            "/v1/campaigns",
            "/v1/events",
            "/v1/quarantine",
            f"/v1/campaigns/{ADDRESS}",
            f"/{KEY}?key={KEY}",
        ):
            assert client.ask(request("GET", path, b"", (authorization,))).status in (200, 404)
            assert client.ask(request("GET", path, b"", ("Authorization: Bearer canary-wrong",))).status in (401, 404)
        assert client.ask(request("POST", "/v1/quarantine/retry", b"{}", (authorization,))).status == 200
        client.send(f"canary {SECRET} {KEY}\r\n\r\n".encode())
    token = json.loads(server.database.with_name("receiver.db.lock").read_text())["token"]
    rebuilt = run(server.database, "rebuild", webhook__secrets=json.dumps([SECRET]))
    assert rebuilt.returncode == 0
    assert server.stop() == 0
    for said in (server.stderr, rebuilt.stderr + rebuilt.stdout):
        assert "canary" not in said
        assert token not in said
        assert KEY_HASH not in said


def test_secrets_are_not_stored(serve: Callable[..., Server]) -> None:
    server = serve(webhook__secrets=json.dumps([SECRET]))
    body = payload("reply.received", reply={"id": "r1", "email": ADDRESS, "campaignId": "c"})
    with server.connect() as client:
        client.ask(request("POST", WEBHOOK, body, (f"X-Leadterra-Signature: {sign(body, SECRET)}",)))
    assert server.stop() == 0
    content = server.database.read_bytes()
    assert SECRET.encode() not in content
    assert content.count(ADDRESS.encode()) == 1, "only the raw body holds the address"
