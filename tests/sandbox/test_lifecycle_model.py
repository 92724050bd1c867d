"""Any order of calls and waits keeps the promises of a campaign's life, held against a small model."""

import os
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from receiver.sandbox.happenings import Event, Happening
from receiver.sandbox.model import DAY_MS, Campaign, Status
from receiver.sandbox.options import Habits, SandboxOptions
from receiver.sandbox.tokens import Step
from receiver.sandbox.world import World
from tests.sandbox.conftest import START_MS

ROUNDS = int(os.environ.get("TEST_ROUNDS", "60"))
CAPACITY = 4
ACCOUNTS = 2
EMAILS = st.lists(st.integers(0, 12).map(lambda n: f"lead{n}@example.org"), min_size=1, max_size=6)


class Life(RuleBasedStateMachine):
    """The model: per campaign a status and its leads, and everything that was announced."""

    campaigns = Bundle("campaigns")

    def __init__(self) -> None:
        super().__init__()
        self.announced: list[Happening] = []
        options = SandboxOptions(accounts=ACCOUNTS, daily_capacity=CAPACITY, habits=Habits(0.1, 0.2, 0.5, 0.5, 0.2))
        self.world = World(options, START_MS, self.announced.append)
        self.status: dict[str, str] = {}
        self.leads: dict[str, set[str]] = {}
        self.suppressed: dict[str, int] = {}

    @rule(target=campaigns, delays=st.lists(st.sampled_from([0, 0.5, 1, 3]), min_size=1, max_size=3))
    def create(self, delays: list[float]) -> Campaign:
        campaign = self.world.create("x", [Step("s", "b", delay) for delay in delays])
        self.status[campaign.id] = "draft"
        self.leads[campaign.id] = set()
        return campaign

    @rule(campaign=campaigns, emails=EMAILS)
    def enroll(self, campaign: Campaign, emails: list[str]) -> None:
        held = self.leads[campaign.id]
        kept = [email for email in emails if email not in self.world.suppressed]
        answer = self.world.upsert(campaign, [{"email": email} for email in emails])
        assert answer == (len(set(kept) - held), len(kept) - len(set(kept) - held), len(emails) - len(kept))
        held |= set(kept)

    @rule(campaign=campaigns)
    def start(self, campaign: Campaign) -> None:
        self.world.start(campaign)
        self.status[campaign.id] = "running"

    @rule(campaign=campaigns)
    def pause(self, campaign: Campaign) -> None:
        self.world.pause(campaign)
        if self.status[campaign.id] == "running":
            self.status[campaign.id] = "paused"

    @rule(number=st.integers(0, 12))
    def suppress(self, number: int) -> None:
        email = f"lead{number}@example.org"
        assert self.world.suppress(email) is (email not in self.suppressed_now())
        self.suppressed.setdefault(email, self.world.now_ms)

    @rule(hours=st.sampled_from([0.001, 0.1, 1, 12, 30, 200]))
    def wait(self, hours: float) -> None:
        before = {
            campaign_id: campaign.counters.sent
            for campaign_id, campaign in self.world.campaigns.items()
            if campaign.status is not Status.RUNNING
        }
        assert self.world.agenda.advance(self.world.now_ms + int(hours * 3_600_000), 1_000_000)
        for campaign_id, sent in before.items():
            assert self.world.campaigns[campaign_id].counters.sent == sent

    def teardown(self) -> None:
        """However it was left: once everything runs, everybody who may gets every step."""
        for campaign in self.world.campaigns.values():
            if not self.leads[campaign.id]:
                self.enroll(campaign, [f"last@{campaign.number}.example.org"])
            self.start(campaign)
        assert self.world.agenda.advance(self.world.now_ms + 400 * DAY_MS, 1_000_000)
        got: dict[tuple[str, str], list[int]] = {}
        for event in self.sent():
            got.setdefault((event.campaign_id, event.email), []).append(event.step)
        for campaign in self.world.campaigns.values():
            for email in self.leads[campaign.id] - self.suppressed_now() - self.repliers(campaign):
                assert got.get((campaign.id, email), []) == list(range(len(campaign.steps)))
            assert campaign.counters.queued == 0

    def repliers(self, campaign: Campaign) -> set[str]:
        replies = (event for event in self.announced if event.event is Event.REPLY)
        return {event.email for event in replies if event.campaign_id == campaign.id}

    def suppressed_now(self) -> set[str]:
        hard = {event.email for event in self.announced if event.bounce_type == "hard"}
        return hard | set(self.suppressed)

    @invariant()
    def the_status_is_the_models(self) -> None:
        assert {name: campaign.status.value for name, campaign in self.world.campaigns.items()} == self.status

    @invariant()
    def nobody_gets_a_step_twice_or_out_of_order(self) -> None:
        steps: dict[tuple[str, str], list[int]] = {}
        for event in self.sent():
            steps.setdefault((event.campaign_id, event.email), []).append(event.step)
        assert all(found == list(range(len(found))) for found in steps.values())

    @invariant()
    def nobody_outside_gets_anything(self) -> None:
        assert all(event.email in self.leads[event.campaign_id] for event in self.sent())

    @invariant()
    def nobody_gets_anything_after_a_suppression_or_a_reply(self) -> None:
        out: dict[tuple[str, str], int] = {}
        for event in self.announced:
            if event.event is Event.REPLY:
                out.setdefault((event.campaign_id, event.email), event.at_ms)
            elif event.event is Event.SENT:
                assert event.at_ms <= out.get((event.campaign_id, event.email), event.at_ms)
                assert event.at_ms <= self.suppressed.get(event.email, event.at_ms)

    @invariant()
    def no_24_hours_hold_more_than_the_capacity(self) -> None:
        times = sorted(event.at_ms for event in self.sent())
        most = CAPACITY * ACCOUNTS
        assert all(later - earlier >= DAY_MS for earlier, later in zip(times, times[most:], strict=False))

    @invariant()
    def the_counters_add_up(self) -> None:
        assert self.world.suppressed == self.suppressed_now()
        for campaign in self.world.campaigns.values():
            counters = campaign.counters
            assert counters.enrolled == len(self.leads[campaign.id])
            assert counters.sent == sum(event.campaign_id == campaign.id for event in self.sent())
            assert counters.delivered + counters.bounced_soft + counters.bounced_hard <= counters.sent
            assert counters.queued == self.expected_queue(campaign)

    def sent(self) -> list[Happening]:
        return [event for event in self.announced if event.event is Event.SENT]

    def expected_queue(self, campaign: Campaign) -> int:
        """Leads of a started campaign that have steps left and were not taken out."""
        if self.status[campaign.id] == "draft":
            return 0
        last = {
            event.email
            for event in self.sent()
            if event.campaign_id == campaign.id and event.step == len(campaign.steps) - 1
        }
        return len(self.leads[campaign.id] - self.repliers(campaign) - last - self.suppressed_now())


TestLife: Any = Life.TestCase
TestLife.settings = settings(max_examples=ROUNDS, stateful_step_count=25, deadline=None)
