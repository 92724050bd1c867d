"""The shapes of what is derived: figures over time, breakdowns, explanations, drift and runs."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from receiver.web.answers import Answer, CampaignFigures, Drift, EventRow, Rate, Rates, Stamped

# Of a field that is there when it is asked for. A factory: a schema would name any other default.
_ABSENT: Any = Field(default_factory=lambda: None)


class Chosen(Answer):
    """An object that has only the fields that were asked for."""


class SeriesRow(Chosen):
    """A bucket, and group: the figures asked, and how far they can be trusted.

    `time` is null for replies whose send is not held, and for nothing else.
    """

    time: str | None
    campaign_id: str = _ABSENT
    step: int | None = _ABSENT
    sent: int | None = _ABSENT
    attempted: int | None = _ABSENT
    accepted: int | None = _ABSENT
    contacted: int | None = _ABSENT
    bounced: int | None = _ABSENT
    bounced_hard: int | None = _ABSENT
    bounced_soft: int | None = _ABSENT
    replies: int | None = _ABSENT
    replied: int | None = _ABSENT
    replied_human: int | None = _ABSENT
    starts: int | None = _ABSENT
    lost: int | None
    lost_bounced: int | None = _ABSENT
    lost_replied: int | None = _ABSENT
    ended: bool | None
    settled: bool | None
    receiver_up: float | None
    coverage: float | None


class SeriesQuery(Answer):
    """A question as it was understood; `from` and `to` are edges of buckets. No `campaign_id`: all."""

    figures: list[str]
    interval: Literal["15m", "hour", "day", "week", "month"]
    timezone: str
    from_: str = Field(alias="from")
    to: str
    campaign_id: list[str] | None
    group_by: Literal["campaign", "step"] | None
    basis: Literal["event", "send"]


class SeriesAnswer(Stamped):
    """`GET /v1/series`."""

    query: SeriesQuery
    data: list[SeriesRow]


class Period(Answer):
    """What was observed in a half-open range, and the rates of the messages sent in it."""

    from_: str | None = Field(alias="from")
    to: str | None
    observed: CampaignFigures
    rates: Rates


class RateChanges(Answer):
    """Differences of the rates' values."""

    bounce_rate: float | None
    hard_bounce_rate: float | None
    reply_rate: float | None
    lead_reply_rate: float | None
    human_reply_rate: float | None


class Change(Answer):
    """Current less previous; null when either is."""

    observed: CampaignFigures
    rates: RateChanges


class SummaryAnswer(Period, Stamped):
    """`GET /v1/summary`; without `compare` there is no previous period and no change."""

    previous: Period | None
    change: Change | None


class Range(Answer):
    """What was counted: `from` floored and `to` raised to a quarter of an hour; null where nothing bounds it."""

    from_: str | None = Field(alias="from")
    to: str | None
    campaign_id: str | None


class BouncesQuery(Range):
    """The query as executed."""

    group_by: Literal["type", "reason", "domain", "step"]


class Bounces(Answer):
    """Bounces of some messages; `share` of all bounced in the range, null when none is."""

    bounced: int
    bounced_hard: int
    bounced_soft: int
    share: float | None


class BounceGroup(Answer):
    """What bounces are grouped by: one of these fields. Null stands for what is not known."""

    asked: ClassVar[frozenset[str]] = frozenset({"type", "reason", "domain", "step"})

    type: Literal["hard", "soft"] = "hard"
    reason: str | None = None
    domain: str | None = None
    step: int | None = None


class BounceRow(Bounces, BounceGroup):
    """Bounces of one group. A soft bounce that turns hard is taken back: in a range `bounced_soft` may be below 0."""


class OtherBounces(Bounces):
    """All groups beyond the `limit`, together: `groups` of them."""

    groups: int


class BouncesAnswer(Stamped):
    """`GET /v1/bounces`: most bounced first; `data` and `other` together are all bounces in the range."""

    query: BouncesQuery
    data: list[BounceRow]
    other: OtherBounces | None


class Replies(Answer):
    """Replies by webhook, and leads with a first reply in the range."""

    replies: int
    replied: int


class Classified(Answer):
    """The class that Leadterra gave a reply, as it came; null when it gave none."""

    classification: str | None


class ReplyRow(Replies, Classified):
    """Replies of one class; a lead counts in the class of its first reply."""


class OtherReplies(Replies):
    """All classes beyond the `limit`, together: `groups` of them."""

    groups: int


class RepliesAnswer(Stamped):
    """`GET /v1/replies`: most replies first; `data` and `other` together are all replies in the range."""

    query: Range
    data: list[ReplyRow]
    other: OtherReplies | None


class ExplainQuery(Range):
    """The query as executed."""

    figure: str


class Journal(Answer):
    """Events that move the figure in this range, while the journal keeps their bodies.

    Not all were looked at unless `complete`: then `events`, `copies` (further deliveries of them) and `fetched`
    (events that came from Leadterra's API) are of those that were. `since` is when the oldest kept body arrived.
    """

    since: str | None
    complete: bool
    events: int
    copies: int
    fetched: int


class ProviderFigure(Answer):
    """What Leadterra's own counter said, as it came."""

    value: int | None
    fetched_at: str


class Samples(Answer):
    """Some of the events: the first ones to arrive, and the last ones."""

    first: list[EventRow]
    last: list[EventRow]


class ExplainAnswer(Stamped):
    """`GET /v1/explain`: how a number came to be.

    `counted` is the figure in this range, or the value of the `rate`, which is of the messages sent in it.
    `quarantined` bodies name such an event (and the campaign), arrived in the range, and are not counted; `conflicts`
    are copies that contradict each other. `provider` and `reconciled` are of one campaign's whole life.
    """

    query: ExplainQuery
    definition: str
    booked: str
    denominator: str | None
    source: list[str]
    counted: int | float | None
    rate: Rate | None
    journal: Journal
    quarantined: int
    conflicts: int
    provider: ProviderFigure | None
    reconciled: int | None
    samples: Samples


class OfCampaign(Answer):
    """What belongs to one campaign."""

    campaign_id: str


class DriftRow(Drift, OfCampaign):
    """How one campaign stands, and when Leadterra was asked."""

    snapshot_at: str | None


class Gap(Answer):
    """A stretch of time in which so many events are missing at the least."""

    campaign_id: str
    figure: Literal["sent", "bounced", "replied"]
    from_: str = Field(alias="from")
    to: str
    at_least: int
    cause: Literal["not_accepting", "quarantined", "unexplained"]
    state: Literal["settling", "overdue", "missing", "healed", "superseded"]


class Alarm(Answer):
    """What an operator must know."""

    code: str
    campaign_id: str | None
    since: str
    deadline: str | None
    detail: str


class Evidence(Answer):
    """How many intervals of how many campaigns tell what a counter means, and how many fit each meaning."""

    intervals: int
    campaigns: int
    fits: dict[str, int]
    pinned: bool


class EvidenceByFigure(Answer):
    """Evidence of every counter."""

    sent: Evidence
    bounced: Evidence
    replied: Evidence


class Definitions(Answer):
    """What Leadterra's counters mean: by the settings, or by the evidence."""

    sent: Literal["sent", "delivered", "delivered+bounced", "undetermined"]
    bounced: Literal["any", "hard", "undetermined"]
    replied: Literal["all", "human", "undetermined"]
    evidence: EvidenceByFigure


class DriftAnswer(Stamped):
    """`GET /v1/drift` and `GET /v1/campaigns/{id}/drift`; at most 2000 gaps, open ones first."""

    data: list[DriftRow]
    gaps: list[Gap]
    alarms: list[Alarm]
    definitions: Definitions
    timestamps: Literal["stable", "restamped", "undetermined"]
    quarantined_unattributed: int
    next_cursor: str | None


class RunError(Answer):
    """Why a campaign, or none at all, could be asked."""

    campaign_id: str | None
    reason: str
    detail: str


class Reconciliation(Answer):
    """A run; `done` of `campaigns` have been asked."""

    id: int
    trigger: str
    status: Literal["running", "ok", "partial", "failed", "aborted"]
    started_at: str
    ended_at: str | None
    campaigns: int
    done: int
    failed: int
    differing: int
    errors: list[RunError]


class ReconciliationAnswer(Reconciliation, Stamped):
    """`POST /v1/reconciliations`."""


class ReconciliationsAnswer(Stamped):
    """`GET /v1/reconciliations`."""

    data: list[Reconciliation]
    next_cursor: str | None
