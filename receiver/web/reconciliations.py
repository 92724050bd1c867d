"""Runs of reconciliation: listing them, and asking for one."""

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import orjson

from receiver.errors import ReconciliationOffError
from receiver.reconcile.books import Run
from receiver.reconcile.run import Reconciler
from receiver.storage.sqlite import reconciliation as rows
from receiver.storage.sqlite.store import Readers
from receiver.web.campaigns import known
from receiver.web.insights import Reconciliation
from receiver.web.operation import Answered, Call
from receiver.web.paging import asked_limit, decode_cursor, encode_cursor, every
from receiver.web.params import (
    ReconcileBody,
    ReconcileParams,
    ReconciliationsParams,
)
from receiver.web.times import rfc3339


class Reconciliations:
    """Handlers of `/v1/reconciliations`. `reconciler` is None while no API key is configured."""

    def __init__(self, readers: Readers, reconciler: Reconciler | None) -> None:
        self._readers = readers
        self._reconciler = reconciler

    async def list(self, call: Call) -> dict[str, Any]:
        params: ReconciliationsParams = call.params
        cursor = decode_cursor(params.cursor, int)
        found = await self._readers.run(rows.runs, cursor[0] if cursor else None, params.limit + 1)
        page = found[: params.limit]
        next_cursor = encode_cursor(page[-1]["id"]) if len(found) > params.limit else None
        return {"data": [self._row_json(row) for row in page], "next_cursor": next_cursor}

    async def start(self, call: Call) -> dict[str, Any] | Answered:
        """Begin a run over the named campaigns, or over all that are known; the one under way if there is one."""
        body: ReconcileBody = call.body
        params: ReconcileParams = call.params
        wanted = None if body.campaign_ids is None else list(dict.fromkeys(body.campaign_ids))
        if wanted is not None:
            await self._readers.run(_check_known, wanted)
        reconciler = self._reconciler
        if reconciler is None:
            raise ReconciliationOffError
        run = await reconciler.start("request", wanted or await reconciler.known())
        if params.wait == "false":
            return run_json(run)
        await reconciler.wait()
        return Answered(run_json(run), 200)

    def _row_json(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A run as it is stored; the one under way as it is now."""
        current = None if self._reconciler is None else self._reconciler.current
        if current is not None and current.id == row["id"] and row["status"] == "running":
            return run_json(current)
        return stored_json(row)


def stored_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A run as it is stored."""
    return {
        "id": row["id"],
        "trigger": row["trigger"],
        "status": row["status"],
        "started_at": rfc3339(row["started_at"]),
        "ended_at": rfc3339(row["ended_at"]),
        "campaigns": row["campaigns"],
        "done": row["done"],
        "failed": row["failed"],
        "differing": row["differing"],
        "errors": orjson.loads(row["errors"]),
    }


def run_rows(conn: sqlite3.Connection, call: Call) -> Iterator[dict[str, Any]]:
    """All runs as they are stored, newest first."""
    params: ReconciliationsParams = call.params
    cursor = decode_cursor(params.cursor, int)
    for row in every(rows.runs, _older, conn, cursor[0] if cursor else None, asked_limit(params)):
        yield stored_json(row)


def run_fields(_call: Call) -> Collection[str]:
    """What of a run fits into a row: not its errors, which JSON has."""
    return [name for name in Reconciliation.model_fields if name != "errors"]


def _older(_before: int | None, last: Mapping[str, Any]) -> int | None:
    return int(last["id"])


def run_json(run: Run) -> dict[str, Any]:
    """A run of this process."""
    return {
        "id": run.id,
        "trigger": run.trigger,
        "status": "running" if run.ended_at is None else run.status,
        "started_at": rfc3339(run.started_at),
        "ended_at": rfc3339(run.ended_at),
        "campaigns": run.campaigns,
        "done": run.done,
        "failed": run.failed,
        "differing": run.differing,
        "errors": list(run.errors),
    }


def _check_known(conn: sqlite3.Connection, campaign_ids: Sequence[str]) -> None:
    for campaign_id in campaign_ids:
        known(conn, campaign_id)
