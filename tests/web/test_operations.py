"""Probes and metrics: alive, ready, and numbers that hold nothing of a payload."""

import json
import math
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from receiver.ingest.meters import Meters
from receiver.web.access import Role
from receiver.web.operation import Call
from receiver.web.operations import Operations
from receiver.web.params import NoParams
from tests.web.conftest import DAY_MS, SECRET, Api, body, problem, replied, sent, started, unread

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def samples(api: Api) -> Samples:
    text = (await api.get("/metrics")).text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def one(api: Api, name: str, **labels: str) -> float | None:
    return (await samples(api)).get((name, tuple(sorted(labels.items()))))


async def test_a_running_process_is_alive(api: Api) -> None:
    response = await api.get("/livez")
    assert (response.status_code, response.json()) == (200, {"status": "alive"})


async def test_a_database_that_takes_commits_is_ready(api: Api) -> None:
    response = await api.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ready"})


async def test_it_is_not_ready_while_draining_but_alive(api: Api) -> None:
    api.service.drain()
    response = await api.get("/readyz")
    text = "The receiver is shutting down."
    assert response.json() == problem(503, "Service Unavailable", "unavailable", text)
    assert response.headers["retry-after"] == "5"
    assert (await api.get("/livez")).status_code == 200


async def test_it_is_not_ready_once_the_database_failed(api: Api) -> None:
    api.service.writer.failed.set()
    text = "The database takes nothing now; see the log."
    assert await api.refused("/readyz", 503) == problem(503, "Service Unavailable", "unavailable", text)


async def test_parameters_are_checked_on_probes_too(api: Api) -> None:
    assert (await api.refused("/livez?verbose=1"))["parameter"] == "verbose"


async def test_the_documented_metrics_are_there_from_the_start(api: Api) -> None:
    response = await api.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8; escaping=underscores"
    families = {family.name: family.type for family in text_string_to_metric_families(response.text)}
    documented = {
        "receiver_deliveries": "counter",
        "receiver_commit_seconds": "histogram",
        "receiver_exclusive_seconds": "histogram",
        "receiver_batch_events": "histogram",
        "receiver_queue_events": "gauge",
        "receiver_wal_bytes": "gauge",
        "receiver_last_delivery_timestamp_seconds": "gauge",
        "receiver_late_deliveries": "counter",
        "receiver_quarantine_bytes": "gauge",
        "receiver_accepting": "gauge",
        "receiver_connections": "gauge",
        "receiver_connections_refused": "counter",
        "receiver_reconcile_runs": "counter",
        "receiver_reconcile_last_run_timestamp_seconds": "gauge",
        "receiver_missing_events": "gauge",
        "receiver_bounced_unattributed": "gauge",
    }
    assert {name: families.get(name) for name in documented} == documented


async def test_deliveries_are_counted_by_outcome(api: Api) -> None:
    await api.post(sent(), sent(), sent("m2"), unread())
    await api.client.post("/webhooks/leadterra", content=b"{}")
    for outcome, count in (("stored", 2), ("duplicate", 1), ("quarantined", 1), ("signature_invalid", 1)):
        assert await one(api, "receiver_deliveries_total", outcome=outcome) == count
    assert await one(api, "receiver_batch_events_sum") == 4
    assert await one(api, "receiver_commit_seconds_count") == 4


async def test_counters_do_not_start_over_when_they_are_read(api: Api) -> None:
    await api.post(sent())
    assert await one(api, "receiver_deliveries_total", outcome="stored") == 1
    await api.post(sent("m2"))
    assert await one(api, "receiver_deliveries_total", outcome="stored") == 2


async def test_gauges_tell_the_present(api: Api) -> None:
    await api.post(unread())
    assert await one(api, "receiver_queue_events") == 0
    assert await one(api, "receiver_quarantine_bytes") == len(unread())
    assert await one(api, "receiver_last_delivery_timestamp_seconds") == 1_749_634_200
    assert (await one(api, "receiver_wal_bytes") or 0) > 0
    assert await one(api, "receiver_accepting") == 1
    api.service.drain()
    assert await one(api, "receiver_accepting") == 0


async def test_before_the_first_delivery_its_time_is_0(api: Api) -> None:
    assert await one(api, "receiver_last_delivery_timestamp_seconds") == 0


async def test_without_a_write_ahead_log_its_size_is_0(api: Api, tmp_path: Path) -> None:
    service = api.service
    operations = Operations(tmp_path / "none.db", service.database.readers, service.writer, service.reader, Meters())
    answer = await operations.metrics(Call(NoParams(), None, {}, Role.OPEN, 0))
    assert b"\nreceiver_wal_bytes 0.0\n" in answer.content


async def rename(api: Api, table: str) -> None:
    """Make a table unreadable."""
    await api.service.database.store._writing.run(lambda _, conn: conn.execute(f"ALTER TABLE {table} RENAME TO gone"))


async def test_it_is_not_ready_while_the_database_cannot_be_read(api: Api) -> None:
    await rename(api, "meta")
    with capture_logs() as lines:
        found = await api.refused("/readyz", 503)
    text = "The database cannot be read; see the log."
    assert found == problem(503, "Service Unavailable", "unavailable", text)
    assert [line["event"] for line in lines] == ["database_unreadable"]


async def test_while_the_database_cannot_be_read_the_other_metrics_are_there(api: Api) -> None:
    await api.post(sent())
    await rename(api, "quarantine")
    assert math.isnan(await one(api, "receiver_quarantine_bytes") or 0)
    assert await one(api, "receiver_deliveries_total", outcome="stored") == 1


async def test_events_later_than_any_retry_are_counted(api: Api) -> None:
    await api.post(sent("m1", "2025-06-10T22:39:00Z"), sent("m2", "2025-06-10T22:38:59.999Z"))
    assert await one(api, "receiver_late_deliveries_total") == 1


async def test_no_label_and_no_text_comes_from_a_payload(api: Api) -> None:
    canary = "canary7f3a"
    await api.post(
        started(canary, name=canary),
        sent(canary, campaign=canary),
        replied(canary, campaign=canary, lead=f"{canary}@example.org", kind=canary),
        body(canary, "09:00", email=canary),
    )
    text = (await api.get("/metrics", headers={"X-Request-ID": canary, "User-Agent": canary})).text
    assert canary not in text
    assert SECRET.decode() not in text
    labels = {name for _, pairs in await samples(api) for name, _ in pairs}
    assert labels == {"outcome", "le", "status", "figure", "state", "reason"}


async def test_a_quarantine_of_days_ago_still_counts(api: Api) -> None:
    await api.post(unread(), json.dumps([1]).encode())
    api.clock.now += 400 * DAY_MS
    assert await one(api, "receiver_quarantine_bytes") == len(unread()) + 3
