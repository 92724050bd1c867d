"""The client that commands use towards our own server."""

import httpcore
import httpx
import pytest

from receiver.http import Lanes, server_client

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

    lanes = Lanes("sk_1", 15, httpx.MockTransport(answer))
    for _ in range(2):
        async with lanes.send("GET", "https://api.example/") as response:
            assert response.status_code == 302
    assert [(request.url.host, request.headers.get("Cookie")) for request in asked] == [("api.example", None)] * 2
    assert asked[0].headers["Authorization"] == "Bearer sk_1"


async def test_a_connection_to_an_api_goes_through_no_proxy_and_serves_one_request_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    lanes = Lanes("sk_1", 15)
    pool = lanes._new()._pool  # type: ignore[attr-defined] # of sockets
    assert (type(pool), pool._max_connections) == (httpcore.AsyncConnectionPool, 1)
    await lanes.close()


async def test_nothing_is_asked_over_connections_that_are_closed() -> None:
    lanes = Lanes("sk_1", 15, httpx.MockTransport(lambda _: httpx.Response(200)))
    await lanes.close()
    with pytest.raises(httpx.ConnectError):
        await lanes.send("GET", "https://api.example/").__aenter__()
