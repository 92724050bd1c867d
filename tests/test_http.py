"""The client that commands use towards our own server."""

import httpx
import pytest

from receiver.http import pooled_client, server_client

URL = "http://127.0.0.1:8000"


def test_the_token_goes_along() -> None:
    with server_client(URL, "secret-token") as client:
        assert client.headers["Authorization"] == "Bearer secret-token"


def test_without_a_token_nothing_does() -> None:
    with server_client(URL, None) as client:
        assert "Authorization" not in client.headers


def test_no_proxy_and_no_password_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    with server_client(URL, "secret-token") as client:
        assert client.trust_env is False
        assert client._mounts == {}


def test_redirects_are_not_followed_so_the_token_goes_nowhere_else() -> None:
    with server_client(URL, "secret-token") as client:
        assert client.follow_redirects is False


def test_it_waits_half_a_minute_unless_told_otherwise() -> None:
    with server_client(URL, None) as patient, server_client(URL, None, 5) as quick:
        assert (patient.timeout, quick.timeout) == (httpx.Timeout(30), httpx.Timeout(5))


async def test_the_client_of_an_api_takes_nothing_from_the_environment_and_nothing_from_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(302, headers={"Location": "https://other.example/", "Set-Cookie": "a=b; Path=/"})

    async with pooled_client("sk_1", 8, 15, httpx.MockTransport(answer)) as client:
        assert client.trust_env is False
        assert client._mounts == {}
        assert [(await client.get("https://api.example/")).status_code for _ in range(2)] == [302, 302]
    assert [(request.url.host, request.headers.get("Cookie")) for request in asked] == [("api.example", None)] * 2
    assert asked[0].headers["Authorization"] == "Bearer sk_1"


async def test_the_client_of_an_api_never_has_more_connections_than_httpx_stands() -> None:
    async with pooled_client("sk_1", 100, 15) as client:
        assert isinstance(client._transport, httpx.AsyncHTTPTransport)
        assert client._transport._pool._max_connections == 32
