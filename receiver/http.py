"""The one place that builds httpx clients."""

import httpx

_TIMEOUT_S = 30.0


def server_client(url: str, token: str | None, timeout_s: float = _TIMEOUT_S) -> httpx.Client:
    """A client for our own server at `url`; it follows no redirects and takes no proxy from the environment."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=url, headers=headers, timeout=timeout_s, trust_env=False)
