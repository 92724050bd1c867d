"""Holds the receiver's figures against the sandbox's truth, and says what the planted faults did to them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from receiver.demo.reading import Reading

_EVENTS = {
    "campaign.started": ("start", "starts"),
    "message.sent": ("sent message", "sent messages"),
    "message.bounced": ("bounce", "bounces"),
    "reply.received": ("reply", "replies"),
}
_MANGLED = ("malformed_body", "missing_fields")


@dataclass(frozen=True, slots=True)
class Compared:
    """One campaign: the receiver's figures, the true ones, and those without what was withheld."""

    campaign_id: str
    name: str
    observed: Mapping[str, int]
    figures: Mapping[str, int]
    expected: Mapping[str, int]

    @property
    def differing(self) -> list[str]:
        """The figures that differ other than by what was withheld."""
        return [name for name, count in self.expected.items() if self.observed.get(name, 0) != count]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All campaigns, what never arrived, and how many events are still under way."""

    campaigns: Sequence[Compared]
    withheld: Sequence[Mapping[str, Any]]
    reading: Reading
    duplicates: int
    late: int
    pending: int

    @property
    def ok(self) -> bool:
        return not self.pending and not any(one.differing for one in self.campaigns)

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        held = Counter((row["reason"], row["event"]) for row in self.withheld)
        return {
            "ok": self.ok,
            "campaigns": [
                {
                    "campaign_id": one.campaign_id,
                    "name": one.name,
                    "observed": dict(one.observed),
                    "truth": dict(one.figures),
                    "expected": dict(one.expected),
                    "differing": one.differing,
                }
                for one in self.campaigns
            ],
            "withheld": [
                {"reason": reason, "event": event, "events": n} for (reason, event), n in sorted(held.items())
            ],
            "deliveries": dict(self.reading.outcomes),
            "quarantine": dict(self.reading.reasons),
            "missing": dict(self.reading.missing),
            "pending": self.pending,
            "explanations": explanations(self),
        }


def compare(truth: Mapping[str, Any], reading: Reading, pending: int) -> Comparison:
    """`truth` is what `GET /_sandbox/truth` answers."""
    campaigns = [
        Compared(
            row["campaignId"],
            row["name"],
            reading.figures.get(row["campaignId"], {}),
            row["figures"],
            _expected(row, reading.figures.get(row["campaignId"], {})),
        )
        for row in truth["campaigns"]
    ]
    duplicates, late = (sum(webhook[name] for webhook in truth["webhooks"]) for name in ("duplicates", "late"))
    return Comparison(campaigns, truth["withheld"], reading, duplicates, late, pending)


def _expected(row: Mapping[str, Any], observed: Mapping[str, int]) -> dict[str, int]:
    """What is counted where lost replies are fetched: all leads that Leadterra counts.

    Its counter does not tell people from machines, so a lost human reply of a lead that is counted already comes
    only with those of another: how many of them did is between the two.
    """
    expected, true = dict(row["expected"]), row["figures"]
    if "replied" in true:
        expected["replied"] = true["replied"]
    if "replied_human" in true:
        least, most = sorted((expected["replied_human"], true["replied_human"]))
        expected["replied_human"] = min(max(observed.get("replied_human", least), least), most)
    return expected


def explanations(comparison: Comparison) -> list[str]:
    """A sentence per planted fault that befell anything, with what became of it here."""
    by_reason: dict[str, Counter[str]] = {}
    for row in comparison.withheld:
        by_reason.setdefault(row["reason"], Counter())[row["event"]] += 1
    reading = comparison.reading
    mangled = by_reason.get(_MANGLED[0], Counter()) + by_reason.get(_MANGLED[1], Counter())
    sentences = []
    if dropped := by_reason.get("drop"):
        sentences.append(f"{_count(dropped)} dropped on purpose ({_kinds(dropped)}): missing, as they must be.")
    if silent := by_reason.get("silence"):
        sentences.append(f"{_count(silent)} in an hour and a half of silence ({_kinds(silent)}): missing as well.")
    if mangled:
        held = ", ".join(f"{n} {reason}" for reason, n in sorted(reading.reasons.items()))
        sentences.append(f"{_count(mangled)} mangled: in quarantine ({held or 'nothing'}), in no figure.")
    if gave_up := by_reason.get("gave_up"):
        sentences.append(f"{_count(gave_up)} given up after six tries, not on purpose ({_kinds(gave_up)}): missing.")
    if comparison.duplicates:
        recognised = reading.outcomes.get("duplicate", 0) - reading.repeated
        sentences.append(
            f"{comparison.duplicates} events sent twice: {recognised} copies recognised, and each counted once."
        )
    if comparison.late:
        sentences.append(f"{comparison.late} events late or in another order: counted at the time they happened.")
    sentences += _found(comparison)
    if refused := reading.outcomes.get("signature_invalid"):
        sentences.append(
            f"{refused} deliveries with a wrong signature: refused, and counted when they came again signed well."
        )
    if comparison.pending:
        sentences.append(f"{comparison.pending} events still under way: the sandbox has not given them up.")
    return sentences


def _found(comparison: Comparison) -> list[str]:
    """What reconciliation alone says of the messages and bounces that are withheld."""
    missing = comparison.reading.missing
    names = ("sent", "bounced")
    withheld = {
        name: sum(one.figures.get(name, 0) - one.expected.get(name, 0) for one in comparison.campaigns)
        for name in names
    }
    if not comparison.withheld and not any(missing.values()):
        return []
    found = " and ".join(f"{missing.get(name, 0)} {name}" for name in names)
    if all(missing.get(name, 0) == count for name, count in withheld.items()):
        return [f"Reconciliation, from Leadterra's counters alone: {found} missing, which is every one withheld."]
    true = " and ".join(f"{count} {name}" for name, count in withheld.items())
    return [f"Reconciliation, from Leadterra's counters alone: at least {found} missing; {true} were withheld."]


def verdict(comparison: Comparison) -> str:
    """The result in a line."""
    differing = [
        f"{one.name}: {name} is {one.observed.get(name, 0)}, not {one.expected[name]}"
        for one in comparison.campaigns
        for name in one.differing
    ]
    if differing:
        return f"The figures differ other than by what was withheld. {'; '.join(differing)}."
    if comparison.pending:
        return "The figures are right so far, but events are still under way."
    figures = sum(len(one.expected) for one in comparison.campaigns)
    return f"All {figures} figures of {len(comparison.campaigns)} campaigns are the truth less what was withheld."


def _count(kinds: Counter[str]) -> str:
    total = kinds.total()
    return f"{total} event" + ("" if total == 1 else "s")


def _kinds(kinds: Counter[str]) -> str:
    return ", ".join(f"{n} {_EVENTS[event][n != 1]}" for event, n in sorted(kinds.items(), reverse=True))
