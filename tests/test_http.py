"""The client that commands use towards our own server."""

import httpx
import pytest

from receiver.http import server_client

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
