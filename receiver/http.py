"""The one place that builds httpx clients."""

import httpx

_TIMEOUT_S = 30.0
CONNECTIONS_MAX = 32


def server_client(url: str, token: str | None, timeout_s: float = _TIMEOUT_S) -> httpx.Client:
    """A client for our own server at `url`; it follows no redirects and takes no proxy from the environment."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=url, headers=headers, timeout=timeout_s, trust_env=False)


def delivery_client(
    connections: int, timeout_s: float, transport: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    """A client that keeps up to `connections` alive; at most 32, beyond which httpx gets slower and breaks."""
    kept = min(connections, CONNECTIONS_MAX)
    limits = httpx.Limits(max_connections=kept, max_keepalive_connections=kept, keepalive_expiry=60)
    # Waiting for a free connection is not the other side's time.
    timeout = httpx.Timeout(timeout_s, pool=None)
    return httpx.AsyncClient(transport=transport, limits=limits, timeout=timeout, trust_env=False)
