"""What the demo plays: campaigns with leads that could be real, when they are enrolled, and what goes wrong."""

import random
from dataclasses import dataclass
from typing import Any

from receiver.sandbox.faults import Rule

HOUR_S = 3600.0
# Five days of sending, and one for late bounces and replies.
SPAN_S = 6 * 24 * HOUR_S
# Leadterra tries for 10 h 36 min; what fails before this much of the end is drained when the clock reaches now.
CALM_S = 12 * HOUR_S
# From here on every campaign has started: a lost start would hide a campaign's name.
_TROUBLE_FROM_S = 26 * HOUR_S
SILENCE_FROM_S = 54 * HOUR_S
SILENCE_TO_S = SILENCE_FROM_S + 1.5 * HOUR_S
_BATCH_EVERY_S = 4 * HOUR_S
_BATCHES = 12

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pitch:
    """One campaign: what it offers to whom, and how many leads each of its uploads has."""

    name: str
    offer: str
    batch: int


PITCHES = (
    Pitch("Logistics, Nordics", "fewer empty kilometres", 20),
    Pitch("Dental practices", "fewer missed appointments", 16),
    Pitch("SaaS founders", "a second pair of eyes on churn", 13),
    Pitch("Hotels, Alps", "direct bookings", 10),
    Pitch("Machine builders", "spare parts sold online", 7),
)

_FIRST = (
    *("Ada", "Amir", "Anna", "Bruno", "Carla", "Chidi", "Dana", "Elif", "Emma", "Felix", "Grace", "Hana", "Ivan"),
    *("Jonas", "Kofi", "Laura", "Leo", "Lina", "Marta", "Mehmet", "Nadia", "Noah", "Olga", "Pablo", "Ravi", "Sara"),
)
_LAST = (
    *("Adeyemi", "Almeida", "Baker", "Berg", "Costa", "Demir", "Dubois", "Fischer", "Garcia", "Haddad", "Hansen"),
    *("Ito", "Jensen", "Kaya", "Keller", "Kowalski", "Larsen", "Moreau", "Novak", "Okafor", "Patel", "Rossi"),
    *("Schmidt", "Silva", "Tanaka", "Virtanen", "Weber", "Young"),
)
_PLACES = ("north", "harbor", "alpine", "river", "union", "bright", "delta", "summit", "amber", "cedar", "lake")
_TRADES = ("works", "group", "partners", "labs", "trade", "house", "lines", "systems")


@dataclass(frozen=True, slots=True)
class Upload:
    """Leads for one campaign (its place in `PITCHES`), this many simulated seconds after the start."""

    at_s: float
    campaign: int
    leads: list[Json]
    starts: bool


def steps(pitch: Pitch) -> list[Json]:
    """Three e-mails, a day apart."""
    return [
        {
            "subject": f"{{{{company}}}} and {pitch.offer}",
            "bodyHtml": f"<p>Hi {{{{firstName}}}},</p><p>would {pitch.offer} be of use to {{{{company}}}}?</p>",
            "delayDays": 0,
        },
        {
            "subject": "Re: {{company}}",
            "bodyHtml": "<p>Hi {{firstName}},</p><p>did my note reach you?</p>",
            "delayDays": 1,
        },
        {
            "subject": "Last note, {{firstName}}",
            "bodyHtml": "<p>I will not write again. If the time comes, just answer this.</p>",
            "delayDays": 1,
        },
    ]


def uploads(seed: int) -> list[Upload]:
    """Every upload in the order of time; the same seed makes the same leads. No two leads share an address."""
    chance = random.Random(seed)  # noqa: S311 # names for people who do not exist
    taken: set[str] = set()
    planned = []
    for number, pitch in enumerate(PITCHES):
        for batch in range(_BATCHES):
            at_s = (1 + number) * HOUR_S + batch * _BATCH_EVERY_S
            leads = [_lead(chance, taken) for _ in range(pitch.batch)]
            planned.append(Upload(at_s, number, leads, starts=batch == 0))
    return sorted(planned, key=lambda upload: upload.at_s)


def _lead(chance: random.Random, taken: set[str]) -> Json:
    """Under .example, which RFC 2606 keeps free: nobody can ever be written to by accident."""
    while True:
        first, last = chance.choice(_FIRST), chance.choice(_LAST)
        place, trade = chance.choice(_PLACES), chance.choice(_TRADES)
        email = f"{first}.{last}@{place}{trade}.example".lower()
        if email not in taken:
            taken.add(email)
            return {
                "email": email,
                "firstName": first,
                "lastName": last,
                "company": f"{place.title()} {trade.title()}",
            }


def faults() -> tuple[Rule, ...]:
    """What goes wrong, all of it over early enough for the last retry."""
    until_s = SPAN_S - CALM_S
    return (
        Rule("silence", from_s=SILENCE_FROM_S, to_s=SILENCE_TO_S),
        Rule("drop", 0.004, _TROUBLE_FROM_S, until_s),
        Rule("malformed_body", 0.004, _TROUBLE_FROM_S, until_s),
        Rule("missing_fields", 0.002, _TROUBLE_FROM_S, until_s),
        Rule("corrupt_signature", 0.01, _TROUBLE_FROM_S, until_s, amount=2),
        Rule("duplicate", 0.08, to_s=until_s),
        Rule("delay", 0.03, to_s=until_s, amount=2 * HOUR_S),
        Rule("reorder", 0.3, to_s=until_s, amount=0.5 * HOUR_S),
    )
