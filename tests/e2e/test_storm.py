"""Ten thousand half-open connections at a server of default settings: nobody waits for them, and they go soon."""

import json
import resource

import pytest

from tests.bench.storm import measure
from tests.e2e.server import Server

CONNECTIONS = 10_000
P99_MAX_MS = 100.0
GONE_MAX_S = 15.0


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[1] < CONNECTIONS + 200, reason="needs 10,200 open files per process"
)
def test_ten_thousand_half_open_connections_are_gone_soon_and_delay_nobody(server: Server) -> None:
    storm = measure(server, CONNECTIONS)
    # A machine that is busy with other things is slow before the storm too.
    assert storm.p99_ms(storm.kept_s) < max(P99_MAX_MS, 5 * storm.p99_ms(storm.calm_s))
    assert storm.gone_s < GONE_MAX_S
    # Within the first second a new connection may find all places taken by others as new as itself.
    assert storm.refused < len(storm.new_s) / 4
    metrics = server.get("/metrics").body.decode()
    assert "receiver_connections 1.0" in metrics
    assert server.stop() == 0
    lines = [json.loads(line) for line in server.stderr.splitlines() if line.startswith("{")]
    summaries = [line for line in lines if line["event"] == "connections_refused"]
    ended = sum(line.get("header_timeout", 0) + line.get("too_many_connections", 0) for line in summaries)
    assert ended >= CONNECTIONS
    assert len(summaries) <= 3
    assert not any(line["level"] == "error" for line in lines)
