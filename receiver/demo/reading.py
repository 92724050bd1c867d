"""Reads the receiver as any analyst could: its figures with the key, its counts of deliveries from /metrics."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from receiver.errors import CommandError

_OUTCOME = re.compile(r'^receiver_deliveries_total\{outcome="(\w+)"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Alarm:
    """What the receiver warns of, in its own words."""

    code: str
    campaign_id: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class Reading:
    """Observed figures per campaign id, the names, deliveries by outcome, and those in quarantine by reason.

    A campaign of which nothing came has no figures. `repeated` of the last brought the very bytes of another, and
    were answered as its duplicates. `missing` is what Leadterra's counters say that the receiver lacks, by figure;
    `alarms` are those that are not over.
    """

    figures: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    repeated: int = 0
    missing: Mapping[str, int] = field(default_factory=dict)
    alarms: Sequence[Alarm] = ()

    @property
    def deliveries(self) -> int:
        return sum(self.outcomes.values())


async def read(client: httpx.AsyncClient) -> Reading:
    """What the receiver says now. Raises CommandError when it does not."""
    campaigns = (await _get(client, "/v1/campaigns?sort=campaign_id&order=asc&limit=2000")).json()["data"]
    quarantine = (await _get(client, "/v1/quarantine?limit=2000")).json()["data"]
    drift = (await _get(client, "/v1/drift?gaps=open&limit=2000")).json()
    return Reading(
        {row["campaign_id"]: _known(row["observed"]) for row in campaigns},
        {row["campaign_id"]: row["name"] or row["campaign_id"] for row in campaigns},
        outcomes((await _get(client, "/metrics")).text),
        _by_reason(quarantine),
        sum(row["copies"] - 1 for row in quarantine),
        _by_figure(drift["gaps"]),
        [Alarm(row["code"], row["campaign_id"], row["detail"]) for row in drift["alarms"]],
    )


def _known(figures: Mapping[str, int | None]) -> dict[str, int]:
    """A campaign that is compared before anything came of it has no figures yet."""
    return {name: count for name, count in figures.items() if count is not None}


def _by_figure(gaps: Iterable[Mapping[str, Any]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for gap in gaps:
        found[gap["figure"]] += gap["at_least"]
    return found


def _by_reason(rows: Iterable[Mapping[str, Any]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for row in rows:
        found[row["reason"]] += row["copies"]
    return found


def outcomes(exposition: str) -> dict[str, int]:
    """How many deliveries had which outcome, from the Prometheus text; those without any are left out."""
    return {name: int(float(count)) for name, count in _OUTCOME.findall(exposition) if float(count)}


async def _get(client: httpx.AsyncClient, path: str) -> httpx.Response:
    try:
        answer = await client.get(path)
    except httpx.HTTPError as error:
        raise CommandError(f"The receiver does not answer GET {path}: {type(error).__name__}.") from error
    if not answer.is_success:
        raise CommandError(f"The receiver answered GET {path} with {answer.status_code}: {answer.text[:200]}")
    return answer
