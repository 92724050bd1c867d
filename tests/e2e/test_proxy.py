"""Behind a proxy: whose headers are believed, and what stands under a path."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.server import Server, delivery, request, rows, sent


def peer(server: Server, *headers: str) -> str:
    """The address that the journal knows a delivery by."""
    with server.connect() as client:
        assert client.ask(delivery(sent("m1"), *headers)).status == 204
    return str(rows(server.database, "SELECT peer FROM journal")[0][0])


def test_nobody_is_believed_unless_trusted(server: Server) -> None:
    assert peer(server, "X-Forwarded-For: 203.0.113.9") == "127.0.0.1"


@pytest.mark.parametrize("proxy", ["127.0.0.1", "127.0.0.0/8"])
def test_a_trusted_proxy_tells_who_it_was(serve: Callable[..., Server], proxy: str) -> None:
    server = serve(server__trusted_proxies=f'["{proxy}"]')
    assert peer(server, "X-Forwarded-For: 203.0.113.9") == "203.0.113.9"


def test_another_proxy_is_not_believed(serve: Callable[..., Server]) -> None:
    assert peer(serve(server__trusted_proxies='["192.0.2.7"]'), "X-Forwarded-For: 203.0.113.9") == "127.0.0.1"


def test_what_a_client_adds_before_the_proxys_own_entry_is_not_believed(serve: Callable[..., Server]) -> None:
    server = serve(server__trusted_proxies='["127.0.0.1"]')
    assert peer(server, "X-Forwarded-For: 198.51.100.1, 203.0.113.9") == "203.0.113.9"


@pytest.mark.parametrize("forwarded", ["unknown", "_hidden", "[::1", "1.2.3.4:99999", ""])
def test_a_strange_entry_harms_nobody(serve: Callable[..., Server], forwarded: str) -> None:
    server = serve(server__trusted_proxies='["127.0.0.1"]')
    assert peer(server, f"X-Forwarded-For: {forwarded}") is not None
    unsigned = request("POST", "/webhooks/leadterra", sent("m2"), (f"X-Leadterra-Signature: {'0' * 64}",))
    with server.connect() as client:
        assert (
            client.ask(unsigned.replace(b"Content-L", f"X-Forwarded-For: {forwarded}\r\nContent-L".encode())).status
            == 401
        )
    assert server.stop() == 0
    assert "Traceback" not in server.stderr


def test_under_a_path_that_the_proxy_takes_off_everything_is_found(serve: Callable[..., Server]) -> None:
    server = serve(server__root_path="/figures")
    assert server.post(sent("m1")).outcome == "stored"
    assert server.campaign()["sent"] == 1
    assert server.get("/openapi.json").json()["servers"] == [{"url": "/figures"}]
    assert server.get("/docs").status == 200
    assert server.get("/nothing").status == 404


def test_the_public_url_is_where_the_description_says_it_is(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(server__public_url="https://figures.example.com/x/", server__root_path="/x")
    assert server.get("/openapi.json").json()["servers"] == [{"url": "https://figures.example.com/x"}]
