"""The webhook's answers: what is taken in, what is refused, and what each header says."""

import asyncio
import base64
from typing import Any

import pytest
from starlette.types import Message

from receiver.leadterra.signature import sign
from tests.web.conftest import SECRET, Api, Start, bounced, problem, replied, sent, unread

UNSIGNED = problem(401, "Unauthorized", "signature_invalid", "The signature is missing or matches no secret.")


async def code(api: Api, **headers: str) -> int:
    return (await api.client.post("/webhooks/leadterra", content=sent(), headers=headers)).status_code


async def test_a_new_event_is_stored_and_a_known_one_a_duplicate(api: Api) -> None:
    assert await api.post(sent(), sent(), sent(campaign="b"), sent(at="2014-01-01T00:00:00Z")) == [
        "stored",
        "duplicate",
        "duplicate",
        "duplicate",
    ]


async def test_the_answer_is_204_without_a_body(api: Api) -> None:
    response = await api.deliver(sent())
    assert (response.status_code, response.content) == (204, b"")
    assert set(response.headers) == {"receiver-outcome", "x-request-id"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"[]", "not_json"),
        (b'"x"', "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"[" * 100_000, "not_json"),
        (unread(), "unknown_event"),
        (b"{}", "missing_field"),
        (sent(step=-1), "invalid_field"),
        (sent(campaign="a b"), "invalid_field"),
        (sent(campaign="x" * 129), "invalid_field"),
        (sent("m" * 513), "invalid_field"),
        (sent(at="2025-06-11T09:00:00"), "bad_timestamp"),
        (bounced(), "campaign_unknown"),
        (replied(campaign=None, message="m1"), "campaign_unknown"),
        (replied(campaign=None), "campaign_missing"),
        (sent(campaign=None), "campaign_missing"),
    ],
)
async def test_signed_means_kept_whatever_is_in_it(api: Api, body: bytes, reason: str) -> None:
    assert await api.post(body) == ["quarantined"]
    assert [row["reason"] for row in (await api.json("/v1/quarantine"))["data"]] == [reason]


async def test_a_get_after_the_answer_sees_the_event(api: Api) -> None:
    for number in range(20):
        await api.deliver(sent(f"m{number}"))
        assert (await api.json("/v1/campaigns/a"))["observed"]["sent"] == number + 1


@pytest.mark.parametrize("path", ["/webhooks/leadterra", "/webhooks/leadterra/", "/webhooks/leadterra?x=1&x=2&%ff"])
async def test_slash_query_and_content_type_do_not_matter(api: Api, path: str) -> None:
    headers = {"X-Leadterra-Signature": sign(SECRET, sent()).hex(), "Content-Type": "text/plain"}
    response = await api.client.post(path, content=sent(), headers=headers)
    assert response.headers["receiver-outcome"] == "stored"


@pytest.mark.parametrize("secret", [b"second \xc3\xa9", SECRET])
async def test_any_of_several_secrets_will_do(start: Start, secret: bytes) -> None:
    api = await start(RECEIVER_WEBHOOK__SECRETS='["web-secret", "second é"]')
    assert await code(api, **{"X-Leadterra-Signature": sign(secret, sent()).hex()}) == 204


async def test_signatures_come_in_several_forms(api: Api) -> None:
    good = sign(SECRET, sent())
    wrong = "0" * 64
    encoded = base64.b64encode(good).decode()
    forms = [good.hex().upper(), f"sha256={good.hex()}", encoded, f" {encoded} ", f"{wrong}, {good.hex()}"]
    assert [await code(api, **{"X-Leadterra-Signature": form}) for form in forms] == [204] * 5
    repeated = [("X-Leadterra-Signature", wrong), ("X-Leadterra-Signature", good.hex())]
    assert (await api.client.post("/webhooks/leadterra", content=sent(), headers=repeated)).status_code == 204


@pytest.mark.parametrize("signature", ["", "0" * 64, "sha256=", "é", "sha256=" + "0" * 64, "a" * 44])
async def test_nothing_unsigned_gets_in(api: Api, signature: str) -> None:
    headers = {b"X-Leadterra-Signature": signature.encode()}
    response = await api.client.post("/webhooks/leadterra", content=sent(), headers=headers)
    assert (response.status_code, response.json()) == (401, UNSIGNED)
    assert (await api.json("/v1/campaigns"))["data"] == []
    assert (await api.json("/v1/quarantine"))["data"] == []


async def test_a_body_of_the_limit_is_taken_and_a_longer_one_is_not(start: Start) -> None:
    api = await start(RECEIVER_SERVER__BODY_LIMIT_BYTES=str(len(sent())))
    assert await api.post(sent()) == ["stored"]
    response = await api.deliver(sent() + b" ")
    text = f"The body is larger than {len(sent())} bytes."
    assert response.json() == problem(413, "Content Too Large", "body_too_large", text)
    assert response.headers["connection"] == "close"


async def test_a_chunked_body_is_measured_too(start: Start) -> None:
    api = await start(RECEIVER_SERVER__BODY_LIMIT_BYTES="10")

    async def chunks() -> Any:
        yield b"012345"
        yield b"67890"

    response = await api.client.post("/webhooks/leadterra", content=chunks())
    assert (response.status_code, response.headers["connection"]) == (413, "close")


@pytest.mark.parametrize("coding", ["gzip", "br", "gzip, identity", "x"])
async def test_an_encoded_body_is_refused(api: Api, coding: str) -> None:
    response = await api.deliver(sent(), **{"Content-Encoding": coding})
    text = "Send the body without Content-Encoding."
    assert response.json() == problem(415, "Unsupported Media Type", "unsupported_encoding", text)


@pytest.mark.parametrize("coding", ["identity", "Identity", " identity ", ""])
async def test_an_identity_coding_is_none(api: Api, coding: str) -> None:
    assert (await api.deliver(sent(), **{"Content-Encoding": coding})).status_code == 204


class Wire:
    """One request below httpx: the test decides what the client does, and when."""

    def __init__(self, api: Api, *messages: Message) -> None:
        self.answered: list[Message] = []
        self._api = api
        self._messages = list(messages)

    async def run(self) -> None:
        scope = {
            "type": "http", "method": "POST", "path": "/webhooks/leadterra", "root_path": "", "query_string": b"",
            "client": None, "headers": [(b"x-leadterra-signature", sign(SECRET, sent()).hex().encode())],
        }  # fmt: skip
        await self._api.service.app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        return self._messages.pop(0) if self._messages else await asyncio.get_running_loop().create_future()

    async def _send(self, message: Any) -> None:
        self.answered.append(message)

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.answered[0]["headers"])


async def test_a_body_that_does_not_come_is_408(start: Start) -> None:
    wire = Wire(await start(RECEIVER_SERVER__BODY_TIMEOUT_S="0.1"))
    await wire.run()
    assert (wire.answered[0]["status"], wire.headers[b"connection"]) == (408, b"close")
    assert b'"The body was not complete within 0.1 s."' in wire.answered[1]["body"]


async def test_a_client_that_leaves_gets_no_answer_and_is_counted(api: Api) -> None:
    wire = Wire(api, {"type": "http.disconnect"})
    await wire.run()
    assert wire.answered == []
    assert 'receiver_deliveries_total{outcome="gone"} 1.0' in (await api.get("/metrics")).text


async def test_a_client_without_an_address_is_served(api: Api) -> None:
    wire = Wire(api, {"type": "http.request", "body": sent()})
    await wire.run()
    assert (wire.answered[0]["status"], wire.headers[b"receiver-outcome"]) == (204, b"stored")


async def test_a_delivery_while_draining_is_503_with_retry_after(api: Api) -> None:
    api.service.drain()
    response = await api.deliver(sent())
    text = "The receiver is shutting down; send the event again."
    assert response.json() == problem(503, "Service Unavailable", "unavailable", text)
    assert (response.headers["retry-after"], response.headers["connection"]) == ("5", "close")


async def test_a_delivery_that_cannot_be_stored_is_503_with_retry_after(api: Api) -> None:
    api.service.writer.failed.set()
    response = await api.deliver(sent())
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert (await api.get("/metrics")).text.count('outcome="unavailable"') >= 1
    api.service.writer.failed.clear()


@pytest.mark.parametrize(
    ("headers", "refusals"),
    [({}, 0), ({"X-Leadterra-Signature": "nonsense"}, 0), ({"X-Leadterra-Signature": "0" * 64}, 1)],
)
async def test_only_what_is_shaped_like_the_sender_is_a_refusal(
    api: Api, headers: dict[str, str], refusals: int
) -> None:
    await api.client.post("/webhooks/leadterra", content=sent(), headers=headers)
    found = api.service.writer.heartbeat.refusals()
    assert (found.count if found else 0) == refusals
