"""Who sends: accounts with a rolling daily capacity, served by all running campaigns in turn."""

from collections import deque
from collections.abc import Callable

from receiver.sandbox.agenda import Agenda
from receiver.sandbox.chance import Chance, between
from receiver.sandbox.model import Account, Campaign, Enrollment, Place, Status

# A mailbox that sent its messages in one second would be taken for a spammer's.
_PAUSE_MIN_MS = 5_000
_PAUSE_MAX_MS = 40_000
_POOL_SIZE = 10

Submit = Callable[[Campaign, Enrollment, Account], None]


class Senders:
    """Takes ready leads from campaigns and hands them to `submit`, within what the accounts may send."""

    def __init__(self, agenda: Agenda, chance: Chance, submit: Submit, count: int, daily_capacity: int) -> None:
        self._agenda = agenda
        self._chance = chance
        self._submit = submit
        self._turns: deque[Campaign] = deque()
        self.accounts = [
            Account(f"sa_{n:03d}", f"sender{n}@outreach.example", f"Sender {n}", daily_capacity)
            for n in range(1, count + 1)
        ]
        self._idle = deque(self.accounts)

    def pools(self) -> list[tuple[str, list[Account]]]:
        """Pool ids with their accounts; every account is in one."""
        starts = range(0, len(self.accounts), _POOL_SIZE)
        return [(f"pool_{n}", self.accounts[at : at + _POOL_SIZE]) for n, at in enumerate(starts, 1)]

    def offer(self, campaign: Campaign) -> None:
        """The campaign has, or may have, ready leads."""
        if not campaign.ready or campaign.status is not Status.RUNNING:
            return
        if not campaign.waiting_turn:
            campaign.waiting_turn = True
            self._turns.append(campaign)
        self._wake(len(campaign.ready))

    def _wake(self, count: int) -> None:
        """Let at most that many idle accounts look for something to send."""
        for _ in range(min(count, len(self._idle))):
            account = self._idle.popleft()
            self._agenda.plan(account.free_at_ms, self._send_next, account)

    def _send_next(self, account: Account) -> None:
        now = self._agenda.now_ms
        if account.remaining(now) <= 0:
            self._agenda.plan(account.next_capacity_ms(), self._send_next, account)
            self._wake(1)  # another may still have capacity
            return
        found = self._take()
        if found is None:
            self._idle.append(account)
            return
        account.take(now)
        unit = self._chance.unit("pause", account.id, str(account.sent_total))
        account.free_at_ms = now + int(between(_PAUSE_MIN_MS, _PAUSE_MAX_MS, unit))
        self._agenda.plan(account.free_at_ms, self._send_next, account)
        self._submit(*found, account)

    def _take(self) -> tuple[Campaign, Enrollment] | None:
        """The next ready lead of the campaign whose turn it is."""
        while self._turns:
            campaign = self._turns.popleft()
            enrollment = self._ready_one(campaign)
            if enrollment is None:
                campaign.waiting_turn = False
                continue
            self._turns.append(campaign)
            return campaign, enrollment
        return None

    @staticmethod
    def _ready_one(campaign: Campaign) -> Enrollment | None:
        while campaign.ready and campaign.status is Status.RUNNING:
            enrollment = campaign.ready.popleft()
            if enrollment.place is Place.READY:
                return enrollment
        return None
