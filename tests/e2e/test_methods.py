"""The webhook's path: which methods it knows, and what it ignores."""

import pytest

from tests.e2e.server import WEBHOOK, Answer, Connection, request, sent, sign

BODY = sent("methods", "camp_methods")
SIGNED = f"X-Leadterra-Signature: {sign(BODY)}"


def ask(client: Connection, method: str, path: str = WEBHOOK, *headers: str) -> Answer:
    return client.ask(request(method, path, BODY, (SIGNED, *headers)))


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "TRACE"])
def test_only_post_delivers(client: Connection, method: str) -> None:
    answer = ask(client, method)
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST, OPTIONS"
    assert answer.json()["detail"] == f"{method} is not allowed here; use POST."


def test_head_is_refused_without_a_body(client: Connection) -> None:
    client.send(request("HEAD", WEBHOOK))
    assert client.answer(to_head=True).status == 405
    assert ask(client, "OPTIONS").status == 204


def test_options_tells_what_is_allowed(client: Connection) -> None:
    answer = client.ask(request("OPTIONS", WEBHOOK))
    assert (answer.status, answer.headers["allow"]) == (204, "POST, OPTIONS")
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "path", [WEBHOOK, f"{WEBHOOK}/", f"{WEBHOOK}?a=b", f"{WEBHOOK}/?a=%00&a", "/webhooks%2Fleadterra"]
)
def test_slash_and_query_make_no_difference(client: Connection, path: str) -> None:
    assert ask(client, "POST", path).status == 204


@pytest.mark.parametrize(
    "path", ["/webhooks", f"{WEBHOOK}/x", f"{WEBHOOK}//", f"/{WEBHOOK}", "/Webhooks/leadterra", "*"]
)
def test_no_other_path_takes_deliveries(client: Connection, path: str) -> None:
    answer = ask(client, "POST", path)
    assert answer.status == 404
    assert "location" not in answer.headers


def test_a_path_that_is_not_ascii_is_no_path(client: Connection) -> None:
    assert client.ask(request("POST", "/webhooks/é", BODY)).status == 400


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "multipart/form-data", ""])
def test_the_content_type_makes_no_difference(client: Connection, content_type: str) -> None:
    assert ask(client, "POST", WEBHOOK, f"Content-Type: {content_type}").status == 204


def test_every_answer_carries_the_request_id_that_was_given(client: Connection) -> None:
    answers = [ask(client, method, WEBHOOK, "X-Request-ID: canary-7") for method in ("POST", "GET", "OPTIONS")]
    assert {answer.headers["x-request-id"] for answer in answers} == {"canary-7"}


def test_an_indecent_request_id_is_not_echoed(client: Connection) -> None:
    answer = ask(client, "POST", WEBHOOK, "X-Request-ID: " + "x" * 129)
    assert len(answer.headers["x-request-id"]) < 40


def test_http_1_0_is_answered_and_closed(client: Connection) -> None:
    answer = client.ask(request("POST", WEBHOOK, BODY, (SIGNED,)).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
    assert answer.status == 204
    assert client.closed_by_server()


UPGRADES = ["h2c", "websocket", "TLS/1.0, h2c"]


@pytest.mark.parametrize("upgrade", UPGRADES)
def test_an_offered_upgrade_is_ignored_and_the_body_taken(client: Connection, upgrade: str) -> None:
    offer = ("Connection: keep-alive, Upgrade, HTTP2-Settings", f"Upgrade: {upgrade}", "HTTP2-Settings: AAMAAABkAAQ")
    assert [ask(client, "POST", WEBHOOK, *offer).status for _ in range(3)] == [204, 204, 204]


def test_an_offered_upgrade_and_a_chunked_body_in_small_pieces_are_taken(client: Connection) -> None:
    head = request(
        "POST", WEBHOOK, b"", (SIGNED, "Connection: Upgrade", "Upgrade: h2c", "Transfer-Encoding: chunked")
    )
    raw = head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    for byte in raw:
        client.send(bytes([byte]))
    assert client.answer().status == 204


def test_an_offered_upgrade_without_a_body_is_answered_and_the_connection_closed_if_asked(client: Connection) -> None:
    offer = ("Connection: Upgrade, close", "Upgrade: h2c")
    assert client.ask(request("GET", "/livez", b"", offer)).status == 200
    assert client.closed_by_server()


def test_many_offers_in_one_go_are_answered_one_by_one(client: Connection) -> None:
    client.send(request("GET", "/livez", b"", ("Connection: Upgrade", "Upgrade: h2c")) * 1000)
    assert {client.answer().status for _ in range(1000)} == {200}
