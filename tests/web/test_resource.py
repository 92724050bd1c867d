"""What surrounds every answer: entity tags, HEAD and OPTIONS, request ids, compression, stamps."""

import asyncio
import gzip
import json
import re

import pytest

from tests.web.conftest import ADMIN, ANALYST, KEYS, Api, Start, problem, sent, started, unread
from tests.web.test_exports import fill

MINUTE_MS = 60_000
CACHED = ["/v1/campaigns", "/v1/campaigns/a", "/v1/campaigns/a/steps", "/v1/events", "/v1/quarantine"]


async def etag(api: Api, url: str = "/v1/campaigns", **headers: str) -> str:
    return str((await api.get(url, headers=headers)).headers["etag"])


# Entity tags.


@pytest.mark.parametrize("path", CACHED)
async def test_a_known_entity_tag_is_answered_304(api: Api, path: str) -> None:
    await api.post(sent())
    known = await etag(api, path)
    assert re.fullmatch(r'W/"[0-9a-f]{32}"', known)
    response = await api.get(path, headers={"If-None-Match": known})
    assert (response.status_code, response.content) == (304, b"")
    assert "content-length" not in response.headers


async def test_a_304_carries_what_a_200_would(api: Api) -> None:
    full = await api.get("/v1/campaigns")
    response = await api.get("/v1/campaigns", headers={"If-None-Match": full.headers["etag"]})
    for name in ("etag", "cache-control", "vary", "receiver-as-of", "receiver-settled-until"):
        assert response.headers[name] == full.headers[name]
    assert response.headers["cache-control"] == "private, no-cache"


async def test_the_comparison_is_weak_and_takes_lists(api: Api) -> None:
    known = await etag(api)
    for value in (known, known.removeprefix("W/"), f'"other", {known}', f'{known},W/"x"'):
        assert (await api.get("/v1/campaigns", headers={"If-None-Match": value})).status_code == 304
    for value in ('"other"', known[:-2] + '"', "", "W/" + known):
        assert (await api.get("/v1/campaigns", headers={"If-None-Match": value})).status_code == 200


async def test_an_asterisk_does_not_hide_that_there_is_nothing(api: Api) -> None:
    assert (await api.get("/v1/campaigns/nobody", headers={"If-None-Match": "*"})).status_code == 404
    assert (await api.get("/v1/campaigns?sort=x", headers={"If-None-Match": "*"})).status_code == 400


async def test_a_delivery_moves_the_entity_tag(api: Api) -> None:
    before = await etag(api)
    assert await etag(api) == before
    await api.post(sent())
    assert await etag(api) != before


async def test_a_quarantined_and_a_repeated_delivery_move_it_too(api: Api) -> None:
    tags = set()
    for body in (unread(), sent(), sent()):
        await api.post(body)
        tags.add(await etag(api))
    assert len(tags) == 3


async def test_a_heartbeat_does_not_move_it(api: Api) -> None:
    before = await etag(api)
    await api.service.writer._beat()
    assert await etag(api) == before


async def test_the_minute_moves_it(api: Api) -> None:
    before = await etag(api)
    api.clock.now += MINUTE_MS - 1
    assert await etag(api) == before
    api.clock.now += 1
    assert await etag(api) != before


async def test_the_query_the_path_and_the_campaign_move_it(api: Api) -> None:
    await api.post(sent(), sent("m2", campaign="b"))
    urls = ["/v1/campaigns", "/v1/campaigns?limit=5", "/v1/campaigns?limit=6", "/v1/events"]
    urls += ["/v1/campaigns/a", "/v1/campaigns/b", "/v1/campaigns/a/steps"]
    assert len({await etag(api, url) for url in urls}) == len(urls)


async def test_the_role_moves_it(keyed: Api) -> None:
    analyst = await etag(keyed, Authorization=f"Bearer {ANALYST}")
    assert await etag(keyed, Authorization=f"Bearer {ADMIN}") != analyst
    headers = {"Authorization": f"Bearer {ADMIN}", "If-None-Match": analyst}
    assert (await keyed.get("/v1/campaigns", headers=headers)).status_code == 200


async def test_a_known_entity_tag_does_not_stand_in_for_a_key(keyed: Api) -> None:
    known = await etag(keyed, Authorization=f"Bearer {ANALYST}")
    assert (await keyed.get("/v1/campaigns", headers={"If-None-Match": known})).status_code == 401


async def test_another_process_gives_other_tags(start: Start) -> None:
    first = await start()
    before = await etag(first)
    await first.service.close()
    assert await etag(await start()) != before


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/v1/rebuild"])
async def test_what_changes_without_a_commit_has_no_entity_tag(admin: Api, path: str) -> None:
    response = await admin.get(path)
    assert response.status_code == 200
    assert "etag" not in response.headers
    assert response.headers["cache-control"] == "private, no-cache"


# HEAD and OPTIONS.


@pytest.mark.parametrize(
    "path", [*CACHED, "/v1/rebuild", "/livez", "/readyz", "/v1/campaigns/nobody", "/v1/events?x=1", "/nothing"]
)
async def test_head_is_get_without_the_body(admin: Api, path: str) -> None:
    await admin.post(sent())
    headers = {"X-Request-ID": "same"}
    full, head = await admin.get(path, headers=headers), await admin.ask("HEAD", path, headers=headers)
    assert (head.status_code, head.headers) == (full.status_code, full.headers)
    assert (await admin.bytes_sent("HEAD", path), len(await admin.bytes_sent("GET", path)) > 0) == (b"", True)
    assert int(head.headers["content-length"]) > 0


async def test_head_is_compressed_like_get(api: Api) -> None:
    await api.post(*(unread(number) for number in range(20)))
    full, head = await api.get("/v1/quarantine"), await api.ask("HEAD", "/v1/quarantine")
    assert head.headers["content-encoding"] == "gzip"
    assert head.headers["content-length"] == full.headers["content-length"]
    assert await api.bytes_sent("HEAD", "/v1/quarantine") == b""


async def test_head_of_a_long_export_has_its_headers_but_the_length(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.web.spool._MEMORY_MAX_BYTES", 65_536)
    await api.post(sent())
    fill(api.service.database.store.path, 5000)
    url = "/v1/events?format=csv"
    for coding in ("gzip", "identity"):
        given = {"X-Request-ID": "same", "Accept-Encoding": coding}
        full, head = await api.get(url, headers=given), await api.ask("HEAD", url, headers=given)
        expected = {name: value for name, value in full.headers.items() if name != "content-length"}
        assert (head.status_code, dict(head.headers)) == (200, expected)
        assert int(full.headers["content-length"]) > 65_536
    assert await api.bytes_sent("HEAD", url) == b""


async def test_head_of_the_webhook_is_refused_without_a_body(api: Api) -> None:
    response = await api.ask("HEAD", "/webhooks/leadterra")
    assert (response.status_code, response.headers["allow"]) == (405, "POST, OPTIONS")
    assert await api.bytes_sent("HEAD", "/webhooks/leadterra") == b""
    assert b"method_not_allowed" in await api.bytes_sent("GET", "/webhooks/leadterra")


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v1/campaigns", "GET, POST, HEAD, OPTIONS"),
        ("/v1/campaigns/nobody", "GET, HEAD, OPTIONS"),
        ("/v1/quarantine/retry", "POST, OPTIONS"),
        ("/v1/rebuild", "POST, GET, HEAD, OPTIONS"),
        ("/metrics", "GET, HEAD, OPTIONS"),
        ("/webhooks/leadterra", "POST, OPTIONS"),
        ("/webhooks/leadterra/", "POST, OPTIONS"),
    ],
)
async def test_options_says_what_is_allowed_without_a_key(keyed: Api, path: str, allow: str) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    response = await keyed.ask("OPTIONS", path, headers=headers)
    assert (response.status_code, response.content, response.headers["allow"]) == (204, b"", allow)
    assert "content-length" not in response.headers
    assert not [name for name in response.headers if name.startswith("access-control")]


async def test_options_of_an_unknown_path_is_404(api: Api) -> None:
    assert (await api.ask("OPTIONS", "/nothing")).status_code == 404


async def test_the_webhook_names_its_method(api: Api) -> None:
    response = await api.get("/webhooks/leadterra")
    text = "GET is not allowed here; use POST."
    assert response.json() == problem(405, "Method Not Allowed", "method_not_allowed", text)
    assert response.headers["allow"] == "POST, OPTIONS"


# Request ids.


@pytest.mark.parametrize("path", ["/v1/campaigns", "/nothing", "/v1/campaigns?x=1", "/webhooks/leadterra"])
async def test_a_decent_request_id_comes_back(api: Api, path: str) -> None:
    given = "a" * 100 + "-_.:/{}~!0123456789ABCDEFGH"
    response = await api.get(path, headers={"X-Request-ID": given})
    assert response.headers["x-request-id"] == given


@pytest.mark.parametrize(
    "hostile", [b"", b" ", b"a b", b"a" * 129, b"a\tb", b"\x1b[31m", b"a\r\nSet-Cookie: x=1", "é".encode(), b"a\n"]
)
@pytest.mark.parametrize("path", ["/v1/campaigns", "/nothing", "/webhooks/leadterra"])
async def test_a_hostile_request_id_is_replaced(api: Api, path: str, hostile: bytes) -> None:
    response = await api.client.get(path, headers={b"X-Request-ID": hostile})
    assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", response.headers["x-request-id"])


async def test_every_request_gets_another_id(api: Api) -> None:
    ids = {(await api.get(path)).headers["x-request-id"] for path in ("/livez", "/livez", "/nothing", "/readyz")}
    ids.add((await api.deliver(sent())).headers["x-request-id"])
    assert len(ids) == 5


# Compression.


async def raw(api: Api, url: str, **headers: str) -> tuple[str | None, bytes]:
    """Content-Encoding and the bytes as they were sent."""
    async with api.client.stream("GET", url, headers=headers) as response:
        assert response.headers["vary"] == "Accept, Accept-Encoding"
        content = b"".join([chunk async for chunk in response.aiter_raw()])
        assert int(response.headers["content-length"]) == len(content)
        return response.headers.get("content-encoding"), content


async def test_answers_over_a_kilobyte_are_compressed(api: Api) -> None:
    await api.post(*(unread(number) for number in range(20)))
    coding, content = await raw(api, "/v1/quarantine", **{"Accept-Encoding": "br, GZIP;q=0.5"})
    assert coding == "gzip"
    assert len(json.loads(gzip.decompress(content))["data"]) == 20


@pytest.mark.parametrize("accepted", ["gzip;q=0", "gzip; q=0.000", "identity", "br", "", "gzipped", "*"])
async def test_they_are_not_for_who_does_not_take_it(api: Api, accepted: str) -> None:
    await api.post(*(unread(number) for number in range(20)))
    coding, content = await raw(api, "/v1/quarantine", **{"Accept-Encoding": accepted})
    assert coding is None
    assert len(json.loads(content)["data"]) == 20


async def test_short_answers_are_not_compressed(api: Api) -> None:
    assert (await raw(api, "/v1/campaigns", **{"Accept-Encoding": "gzip"}))[0] is None


async def test_long_answers_are_compressed_beside_the_event_loop(api: Api) -> None:
    await asyncio.gather(*(api.deliver(unread(number)) for number in range(600)))
    coding, content = await raw(api, "/v1/quarantine?limit=2000", **{"Accept-Encoding": "gzip"})
    assert coding == "gzip"
    assert len(gzip.decompress(content)) > 65_536


# Stamps.


@pytest.mark.parametrize("path", [*CACHED, "/v1/rebuild"])
async def test_every_answer_says_when_it_was_made_and_what_is_settled(admin: Api, path: str) -> None:
    await admin.post(started())
    admin.clock.now += 61_007
    response = await admin.get(path)
    assert response.json()["as_of"] == response.headers["receiver-as-of"] == "2025-06-11T09:31:01.007Z"
    settled = "2025-06-10T22:40:00Z"
    assert response.json()["settled_until"] == response.headers["receiver-settled-until"] == settled


async def test_posts_are_stamped_too(admin: Api) -> None:
    response = await admin.ask("POST", "/v1/quarantine/retry")
    assert response.json()["as_of"] == response.headers["receiver-as-of"] == "2025-06-11T09:30:00Z"


async def test_bodies_of_commands_have_the_webhooks_bounds(start: Start) -> None:
    api = await start(key=ADMIN, RECEIVER_SERVER__BODY_LIMIT_BYTES="10", **KEYS)
    response = await api.ask("POST", "/v1/quarantine/retry", content=b" " * 11)
    text = "The body is larger than 10 bytes."
    assert response.json() == problem(413, "Content Too Large", "body_too_large", text)
    assert response.headers["connection"] == "close"


async def test_a_command_that_arrives_while_draining_is_told_to_come_again(admin: Api) -> None:
    admin.service.drain()
    response = await admin.ask("POST", "/v1/quarantine/retry", content=b"{}")
    text = "The receiver is shutting down; try again."
    assert response.json() == problem(503, "Service Unavailable", "unavailable", text)
    assert response.headers["retry-after"] == "5"
