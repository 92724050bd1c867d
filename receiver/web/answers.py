"""The shapes of the answers, for the route table and for the tests that hold answers against them."""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

DriftStatus = Literal["in_sync", "settling", "missing", "surplus", "unknown"]


class Answer(BaseModel):
    """An object of an answer; every field is always there."""

    model_config = ConfigDict(extra="forbid")
    # Fields that are there only when the request asks for them.
    asked: ClassVar[frozenset[str]] = frozenset()


class Stamped(Answer):
    """Every `/v1` answer says when it was made, and until when no retry can change it any more."""

    as_of: str
    settled_until: str


class Figures(Answer):
    """Observed figures of a step."""

    sent: int | None
    attempted: int | None
    accepted: int | None
    contacted: int | None
    bounced: int | None
    bounced_hard: int | None
    bounced_soft: int | None
    replies: int | None
    replied: int | None
    replied_human: int | None


class CampaignFigures(Figures):
    """Observed figures of a campaign."""

    starts: int | None


class Rate(Answer):
    """A rate with what it is made of; six decimals."""

    value: float | None
    numerator: int | None
    denominator: int | None


class Rates(Answer):
    """All rates."""

    bounce_rate: Rate
    hard_bounce_rate: Rate
    reply_rate: Rate
    lead_reply_rate: Rate
    human_reply_rate: Rate


class Parts(Answer):
    """The difference between Leadterra's counter and the ledger; the parts up to `unexplained` add up to `delta`."""

    delta: int
    before_receiver: int
    definition: int
    skew: int
    quarantined: int
    settling: int
    not_accepting: int
    unexplained: int
    at_least: int


class Drift(Answer):
    """How a campaign stands; a figure is null before any snapshot, and when Leadterra did not give it."""

    status: DriftStatus
    sent: Parts | None
    bounced: Parts | None
    replied: Parts | None


class Provider(Answer):
    """Leadterra's counters as they came last; `stale` when the last attempt failed."""

    sent: int | None
    delivered: int | None
    bounced: int | None
    replied: int | None
    queued: int | None
    total_enrolled: int | None
    open_rate: float | None
    reply_rate: float | None
    fetched_at: str
    stale: bool


class Reconciled(Answer):
    """What is observed, what came before the receiver, and what is missing at the least."""

    sent: int | None
    bounced: int | None
    replied: int | None


class Campaign(Answer):
    """A campaign with its figures. Until Leadterra's counters are asked, `provider` and `reconciled` are null."""

    campaign_id: str
    name: str | None
    status: Literal["started", "gone", "unknown"]
    activity: Literal["active", "quiet"]
    started_at: str | None
    last_started_at: str | None
    first_event_at: str | None
    last_event_at: str | None
    observed: CampaignFigures
    provider: Provider | None
    reconciled: Reconciled | None
    rates: Rates
    drift: Drift


class CampaignAnswer(Campaign, Stamped):
    """`GET /v1/campaigns/{id}`."""


class CampaignsAnswer(Stamped):
    """`GET /v1/campaigns`."""

    data: list[Campaign]
    next_cursor: str | None


class Numbered(Answer):
    """What belongs to a step; null stands for messages whose step is not known."""

    step: int | None


class Step(Figures, Numbered):
    """One step with its figures. The fields of the last base come first."""

    rates: Rates


class StepsAnswer(Stamped):
    """`GET /v1/campaigns/{id}/steps`."""

    data: list[Step]


class EventRow(Answer):
    """One event of the ledger, at its first delivery."""

    seq: int
    event: str
    campaign_id: str | None
    message_id: str | None
    step: int | None
    occurred_at: str
    received_at: str
    origin: Literal["webhook", "api"]
    copies: int


class EventsAnswer(Stamped):
    """`GET /v1/events`."""

    data: list[EventRow]
    next_cursor: str | None


class QuarantineRow(Answer):
    """A signed body that is kept and not counted; never the body itself."""

    id: int
    reason: str
    detail: str
    event: str | None
    campaign_id: str | None
    received_at: str
    size_bytes: int
    copies: int


class QuarantineAnswer(Stamped):
    """`GET /v1/quarantine`."""

    data: list[QuarantineRow]
    next_cursor: str | None


class RetryAnswer(Stamped):
    """`POST /v1/quarantine/retry`."""

    retried: int
    stored: int
    duplicate: int
    still_quarantined: int


class RebuildAnswer(Stamped):
    """`POST /v1/rebuild` and `GET /v1/rebuild`: the present or last recount."""

    status: Literal["idle", "running", "ok", "failed"]
    started_at: str | None
    ended_at: str | None
    rows_done: int
    rows_total: int
    rows_changed: int | None


class WebhookAnswer(Stamped):
    """`POST /v1/webhooks`: a registration with Leadterra, as it is remembered."""

    webhook_id: str
    url: str
    events: list[str]
    leadterra: str
    registered_at: str


class EraseAnswer(Stamped):
    """`POST /v1/erase` and `GET /v1/erase`: the present or last erasure.

    `bodies` and `records` are those that held the address; `similar` texts hold it as a part of a longer one.
    """

    status: Literal["idle", "running", "ok", "blocked", "failed"]
    started_at: str | None
    ended_at: str | None
    rows_done: int
    rows_total: int
    bodies: int
    records: int
    similar: int


class StatusAnswer(Answer):
    """`GET /livez` and `GET /readyz`."""

    status: Literal["alive", "ready"]
