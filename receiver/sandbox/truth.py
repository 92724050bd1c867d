"""What truly happened, in the figures that a receiver counts."""

from collections import Counter
from collections.abc import Iterable

from receiver.sandbox.happenings import Event, Happening

_SENT, _SOFT, _HARD = 1, 2, 4
_MESSAGE_FIGURES = ("sent", "attempted", "accepted", "contacted", "bounced", "bounced_hard", "bounced_soft")
FIGURES = (*_MESSAGE_FIGURES, "replies", "replied", "replied_human", "starts")


def _counted(flags: int, *, first_step: bool) -> dict[str, int]:
    """What one message counts for, given the events about it."""
    sent, bounced, hard = bool(flags & _SENT), bool(flags & (_SOFT | _HARD)), bool(flags & _HARD)
    values = (sent, sent or bounced, sent and not bounced, sent and first_step, bounced, hard, bounced and not hard)
    return {name: int(value) for name, value in zip(_MESSAGE_FIGURES, values, strict=True)}


def _flag(happening: Happening) -> int:
    if happening.event is Event.SENT:
        return _SENT
    return _HARD if happening.bounce_type == "hard" else _SOFT


class Truth:
    """Counts every event once, as it happens. Keeps only messages that bounced: of the others, one event is all."""

    def __init__(self, *, sent_when_delivered: bool) -> None:
        # Under that reading a message that bounces was never sent.
        self._before_bounce = 0 if sent_when_delivered else _SENT
        self._figures: dict[str, Counter[str]] = {}
        self._bounced: dict[str, int] = {}
        self._replies: dict[str, dict[str, list[Happening]]] = {}

    def note(self, happening: Happening) -> None:
        figures = self._figures.setdefault(happening.campaign_id, Counter())
        if happening.event is Event.STARTED:
            figures["starts"] += 1
        elif happening.event is Event.REPLY:
            leads = self._replies.setdefault(happening.campaign_id, {})
            leads.setdefault(happening.email, []).append(happening)
            figures["replies"] += 1
        elif happening.event is Event.SENT:
            figures.update(_counted(_SENT, first_step=happening.step == 0))
        else:
            before = self._bounced.get(happening.message_id, self._before_bounce)
            after = self._bounced[happening.message_id] = before | _flag(happening)
            first = happening.step == 0
            figures.subtract(_counted(before, first_step=first))
            figures.update(_counted(after, first_step=first))

    def figures(self, campaign_id: str) -> dict[str, int]:
        """True counts, in the names of the receiver's figures."""
        found = self._figures.get(campaign_id, Counter())
        return self._complete(found, self._replied(campaign_id, set()))

    def expected(self, campaign_id: str, withheld: Iterable[Happening]) -> dict[str, int]:
        """The counts of somebody who gets everything but these events of the campaign."""
        entries = list(withheld)
        found = Counter(self._figures.get(campaign_id, Counter()))
        flags: Counter[tuple[str, int]] = Counter()
        for happening in entries:
            if happening.event is Event.STARTED:
                found["starts"] -= 1
            elif happening.event is Event.REPLY:
                found["replies"] -= 1
            else:
                flags[happening.message_id, happening.step] |= _flag(happening)
        for (message_id, step), missing in flags.items():
            whole = self._bounced.get(message_id, _SENT)
            found.subtract(_counted(whole, first_step=step == 0))
            found.update(_counted(whole & ~missing, first_step=step == 0))
        missing_replies = {happening.reply_id for happening in entries if happening.reply_id}
        return self._complete(found, self._replied(campaign_id, missing_replies))

    def _replied(self, campaign_id: str, without: set[str]) -> tuple[int, int]:
        """Leads who replied, and leads of whom a person replied."""
        replied = human = 0
        for replies in self._replies.get(campaign_id, {}).values():
            held = [reply for reply in replies if reply.reply_id not in without]
            replied += bool(held)
            human += any(reply.is_human for reply in held)
        return replied, human

    @staticmethod
    def _complete(found: Counter[str], replied: tuple[int, int]) -> dict[str, int]:
        counts = {name: found[name] for name in FIGURES}
        counts["replied"], counts["replied_human"] = replied
        return counts
