"""The workspace and what happens in it. Time moves only by `advance`, and nothing here waits or sends."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from receiver.sandbox.agenda import Agenda
from receiver.sandbox.chance import Chance, Draws, between, ulid
from receiver.sandbox.happenings import Event, Happening
from receiver.sandbox.model import DAY_MS, Account, Campaign, Enrollment, Lead, Place, Status
from receiver.sandbox.options import SandboxOptions
from receiver.sandbox.outcomes import Fate, Outcomes
from receiver.sandbox.senders import Senders
from receiver.sandbox.tokens import Step, render

OUTBOX_MAX = 1000


class Upserted(NamedTuple):
    """What became of the leads of one upload."""

    enrolled: int
    updated: int
    skipped: int


@dataclass(frozen=True, slots=True)
class Rendered:
    """A message as its recipient sees it."""

    at_ms: int
    campaign_id: str
    message_id: str
    email: str
    step: int
    subject: str
    body_html: str


class _Transit(NamedTuple):
    """A message between its submission and its recipient's server."""

    campaign: Campaign
    enrollment: Enrollment
    step: int
    message_id: str
    sender: str
    fate: Fate


class World:
    """One workspace. `announce` is told of every event, at its time and in order."""

    def __init__(self, options: SandboxOptions, start_ms: int, announce: Callable[[Happening], None]) -> None:
        self.agenda = Agenda(start_ms)
        self.chance = Chance(options.seed)
        self.senders = Senders(self.agenda, self.chance, self._submit, options.accounts, options.daily_capacity)
        self.campaigns: dict[str, Campaign] = {}
        self.leads: dict[str, Lead] = {}
        self.suppressed: set[str] = set()
        self.outbox: deque[Rendered] = deque(maxlen=OUTBOX_MAX)
        self._announce = announce
        self._outcomes = Outcomes(options.habits)
        self._sent_when_delivered = options.message_sent_means == "delivered"

    @property
    def now_ms(self) -> int:
        return self.agenda.now_ms

    def create(self, name: str, steps: Sequence[Step]) -> Campaign:
        """A new draft. Its id depends on the seed and on how many there were before."""
        number = len(self.campaigns) + 1
        tail = self.chance.draws("campaign", str(number)).tail
        campaign = Campaign(number, f"camp_{ulid(self.now_ms, tail)}", name, tuple(steps), self.now_ms)
        self.campaigns[campaign.id] = campaign
        return campaign

    def upsert(self, campaign: Campaign, leads: Iterable[Mapping[str, str]]) -> Upserted:
        """Enroll new leads at step one; of known ones overwrite the given fields and leave them in their place."""
        campaign.remember(self.now_ms)
        enrolled = updated = skipped = 0
        for fields in leads:
            email = fields["email"].lower()
            if email in self.suppressed:
                skipped += 1
                continue
            lead = self.leads.get(email)
            if lead is None:
                lead = self.leads[email] = Lead(email, {})
            lead.fields.update(fields)
            if email in campaign.enrollments:
                updated += 1
                continue
            enrolled += 1
            campaign.enrollments[email] = enrollment = Enrollment(lead)
            campaign.counters.enrolled += 1
            if campaign.status is not Status.DRAFT:
                self._enter(campaign, enrollment)
        self.senders.offer(campaign)
        return Upserted(enrolled, updated, skipped)

    def start(self, campaign: Campaign) -> None:
        """From draft: queue the first step for every lead. From paused: go on. Running: nothing."""
        if campaign.status is Status.RUNNING:
            return
        campaign.remember(self.now_ms)
        first = campaign.status is Status.DRAFT
        campaign.status = Status.RUNNING
        # Two starts of one campaign are told apart by their times alone.
        campaign.started_ms = max(self.now_ms, campaign.started_ms + 1)
        campaign.starts += 1
        kind = str(campaign.starts)
        self._announce(
            Happening(Event.STARTED, campaign.started_ms, campaign.number, campaign.id, campaign.name, kind)
        )
        if first:
            for enrollment in campaign.enrollments.values():
                self._enter(campaign, enrollment)
        self.senders.offer(campaign)

    def pause(self, campaign: Campaign) -> None:
        """Send nothing more; what is in transit still arrives."""
        if campaign.status is Status.RUNNING:
            campaign.status = Status.PAUSED
            campaign.paused_ms = self.now_ms

    def suppress(self, email: str) -> bool:
        """Never send to this address again, in any campaign; whether that is new."""
        if email in self.suppressed:
            return False
        self.suppressed.add(email)
        for campaign in self.campaigns.values():
            enrollment = campaign.enrollments.get(email)
            if enrollment is not None:
                self._take_out(campaign, enrollment)
        return True

    def _enter(self, campaign: Campaign, enrollment: Enrollment) -> None:
        """The campaign has begun, so the lead waits for its first step."""
        if enrollment.lead.email in self.suppressed:
            enrollment.place = Place.DONE
            return
        campaign.counters.queued += 1
        self._wait(campaign, enrollment)

    def _wait(self, campaign: Campaign, enrollment: Enrollment) -> None:
        delay_ms = int(campaign.steps[enrollment.step].delay_days * DAY_MS)
        if delay_ms == 0:
            enrollment.place = Place.READY
            campaign.ready.append(enrollment)
        else:
            enrollment.place = Place.WAITING
            self.agenda.plan(self.now_ms + delay_ms, self._due, campaign, enrollment)

    def _due(self, campaign: Campaign, enrollment: Enrollment) -> None:
        if enrollment.place is Place.WAITING:
            enrollment.place = Place.READY
            campaign.ready.append(enrollment)
            self.senders.offer(campaign)

    def _take_out(self, campaign: Campaign, enrollment: Enrollment) -> None:
        """No further steps for this lead."""
        if enrollment.place is Place.DONE:
            return
        enrollment.place = Place.DONE
        if campaign.status is not Status.DRAFT:
            campaign.remember(self.now_ms)
            campaign.counters.queued -= 1

    def _submit(self, campaign: Campaign, enrollment: Enrollment, account: Account) -> None:
        campaign.remember(self.now_ms)
        step = enrollment.step
        draws = self.chance.draws("message", _key(campaign, enrollment, step))
        transit = self._in_transit(campaign, enrollment, step, account, draws)
        campaign.counters.sent += 1
        enrollment.step += 1
        if enrollment.step < len(campaign.steps):
            self._wait(campaign, enrollment)
        else:
            self._take_out(campaign, enrollment)
        if not self._sent_when_delivered:
            self._tell(transit, Event.SENT)
        self.agenda.plan(self.now_ms + transit.fate.transit_ms, self._arrive, transit)

    def _in_transit(
        self, campaign: Campaign, enrollment: Enrollment, step: int, account: Account, draws: Draws
    ) -> _Transit:
        message_id = f"msg_{ulid(self.now_ms, draws.tail)}"
        email, fields, texts = enrollment.lead.email, enrollment.lead.fields, campaign.steps[step]
        subject, body = render(texts.subject, fields), render(texts.body_html, fields)
        self.outbox.append(Rendered(self.now_ms, campaign.id, message_id, email, step, subject, body))
        return _Transit(campaign, enrollment, step, message_id, account.id, self._outcomes.fate(draws.units))

    def _arrive(self, transit: _Transit) -> None:
        campaign, fate = transit.campaign, transit.fate
        campaign.remember(self.now_ms)
        if fate.bounce == "hard":
            self._bounce_hard(transit)
        elif fate.bounce == "soft":
            campaign.counters.bounced_soft += 1
            self._tell(transit, Event.BOUNCED, "soft", bounce_type="soft", bounce_reason=fate.reason)
            if fate.hardens_ms is not None:
                self.agenda.plan(self.now_ms + fate.hardens_ms, self._harden, transit)
        else:
            self._deliver(transit)

    def _harden(self, transit: _Transit) -> None:
        transit.campaign.remember(self.now_ms)
        transit.campaign.counters.bounced_soft -= 1
        self._bounce_hard(transit)

    def _bounce_hard(self, transit: _Transit) -> None:
        transit.campaign.counters.bounced_hard += 1
        reason = self._outcomes.hard_reason(transit.fate)
        self._tell(transit, Event.BOUNCED, "hard", bounce_type="hard", bounce_reason=reason)
        self.suppress(transit.enrollment.lead.email)

    def _deliver(self, transit: _Transit) -> None:
        transit.campaign.counters.delivered += 1
        if self._sent_when_delivered:
            self._tell(transit, Event.SENT)
        if transit.fate.opens_ms is not None:
            self.agenda.plan(self.now_ms + transit.fate.opens_ms, self._open, transit.campaign)
        if transit.fate.replies_ms is not None:
            self.agenda.plan(self.now_ms + transit.fate.replies_ms, self._reply, transit, 1)

    def _open(self, campaign: Campaign) -> None:
        campaign.remember(self.now_ms)
        campaign.counters.opened += 1

    def _reply(self, transit: _Transit, number: int) -> None:
        campaign, enrollment = transit.campaign, transit.enrollment
        campaign.remember(self.now_ms)
        draws = self.chance.draws("reply", _key(campaign, enrollment, transit.step), str(number))
        classification, snippet = self._outcomes.reply(draws.units[0], again=number > 1)
        reply_id = f"rpl_{ulid(self.now_ms, draws.tail)}"
        happening = self._tell(
            transit,
            Event.REPLY,
            "" if number == 1 else str(number),
            reply_id=reply_id,
            classification=classification,
            snippet=snippet,
            is_first=not enrollment.replied,
        )
        campaign.replies.append(happening)
        if not enrollment.replied:
            enrollment.replied = True
            campaign.counters.replied += 1
        self._take_out(campaign, enrollment)
        if self._outcomes.writes_again(classification, draws.units[1]):
            self.agenda.plan(self.now_ms + int(between(1, 5, draws.units[2]) * DAY_MS), self._reply, transit, 2)

    def _tell(self, transit: _Transit, event: Event, kind: str = "", **more: Any) -> Happening:
        """Announce an event about a message; `kind` tells several of one event apart."""
        campaign = transit.campaign
        happening = Happening(
            event,
            self.now_ms,
            campaign.number,
            campaign.id,
            campaign.name,
            kind,
            transit.enrollment.lead.email,
            transit.message_id,
            transit.step,
            transit.sender,
            **more,
        )
        self._announce(happening)
        return happening


def _key(campaign: Campaign, enrollment: Enrollment, step: int) -> str:
    """What chance knows a message by: nothing in it depends on the time."""
    return f"{campaign.number}:{enrollment.lead.email}:{step}"
