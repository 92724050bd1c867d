"""What goes wrong on purpose: rules by share and by stretch of time, from flags or a TOML script."""

import math
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import InitVar, dataclass, field, replace
from pathlib import Path
from typing import Any

from receiver.errors import ConfigurationError
from receiver.leadterra.payloads import epoch_ms
from receiver.sandbox.chance import Chance, between
from receiver.sandbox.happenings import EVENTS, Happening

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])", re.ASCII)

# On deliveries, in the order in which they are looked up: the first that takes an event decides its fate.
DELIVERY_FAULTS = (
    "silence",
    "drop",
    "malformed_body",
    "missing_fields",
    "unknown_event",
    "corrupt_signature",
    "duplicate",
    "burst",
    "delay",
    "reorder",
)
ANSWER_FAULTS = ("rate_limit", "server_error", "html", "truncated", "slow", "stats_lag", "clock_skew")
FAULTS = (*DELIVERY_FAULTS, "rotate_secret", *ANSWER_FAULTS)
# Faults whose amount may be drawn for every call, and their seconds unless given.
VARYING_S = {"stats_lag": 300.0, "clock_skew": 300.0}
KINDS = ("hard", "soft", "first")
# In place of a webhook's: a limit of calls.
_CALLS = -1
# A `Date` has to stay within the years that there are.
_LONGEST_S = 3650 * 86_400
# The faults that an amount is for.
_AMOUNT_OF = {
    "by": ("delay", "reorder", "rate_limit", "slow", "stats_lag", "clock_skew"),
    "status": ("server_error",),
    "attempts": ("corrupt_signature",),
}
# These concern everything in their stretch unless a share is given, and need its end.
_STRETCHES = ("silence", "burst")


@dataclass(frozen=True, slots=True)
class Rule:
    """One fault. `from_s` and `to_s` count simulated seconds from the sandbox's start.

    `event`, `campaign` (its id or name) and `kind` (`hard` or `soft` of bounces, `first` of a lead's replies) narrow
    a fault of deliveries; `path` one of answers (a part of the path). It takes at most `limit` events on their way
    to each webhook, or calls. `amount` is what the fault needs: seconds of `delay`, `reorder`, `slow`, `clock_skew`
    and `stats_lag`, the status of `server_error`, the seconds of `rate_limit`, the attempts of `corrupt_signature`
    (0: all). `varies`: every call draws its own, of `stats_lag` from 0 to `amount`, of `clock_skew` from -`amount`.
    """

    fault: str
    share: float = 1.0
    from_s: float = 0.0
    to_s: float = math.inf
    event: str | None = None
    campaign: str | None = None
    kind: str | None = None
    limit: int | None = None
    path: str | None = None
    amount: float | None = None
    secret: str | None = field(default=None, repr=False)
    as_date: bool = False
    varies: bool = False

    def covers(self, at_s: float) -> bool:
        return self.from_s <= at_s < self.to_s

    def concerns(self, happening: Happening) -> bool:
        """Whether the event is one of those that the rule is about."""
        return (
            self.event in (None, happening.event.value)
            and self.campaign in (None, happening.campaign_id, happening.campaign_name)
            and self.kind in (None, happening.bounce_type or ("first" if happening.is_first else ""))
        )


@dataclass(slots=True)
class Plan:
    """Which rules there are, and whom they take; the same seed takes the same events."""

    rules: InitVar[Iterable[Rule]]
    chance: Chance
    start_ms: int
    _by_fault: dict[str, list[tuple[int, Rule]]] = field(default_factory=dict)
    _rules: int = 0
    _taken: Counter[tuple[int, int]] = field(default_factory=Counter)

    def __post_init__(self, rules: Iterable[Rule]) -> None:
        for rule in rules:
            self.add(rule)

    def add(self, rule: Rule) -> None:
        """From now on this goes wrong too."""
        self._by_fault.setdefault(rule.fault, []).append((self._rules, rule))
        self._rules += 1

    def seconds_at(self, at_ms: int) -> float:
        """A time as rules have it: simulated seconds since the start."""
        return (at_ms - self.start_ms) / 1000

    def taking_event(self, happening: Happening, webhook: int) -> Rule | None:
        """The delivery fault that befalls an event on its way to a webhook (its place), or None."""
        at_s = self.seconds_at(happening.at_ms)
        key = f"{webhook}:{happening.key}"
        for fault in DELIVERY_FAULTS:
            for number, rule in self._by_fault.get(fault, ()):
                if rule.concerns(happening) and rule.covers(at_s) and self._takes(number, rule, key, webhook):
                    return rule
        return None

    def of_answer(self, fault: str, path: str, at_ms: int, key: str) -> Rule | None:
        """The rule of this fault that befalls an API call, or None; its amount is drawn if it varies."""
        at_s = self.seconds_at(at_ms)
        for number, rule in self._by_fault.get(fault, ()):
            if (rule.path or "") in path and rule.covers(at_s) and self._takes(number, rule, key, _CALLS):
                return self._drawn(number, rule, key) if rule.varies else rule
        return None

    def secret_at(self, at_ms: int, first: str) -> str:
        """The signing secret in force: that of the latest rotation."""
        at_s = (at_ms - self.start_ms) / 1000
        rotated = [rule for _, rule in self._by_fault.get("rotate_secret", ()) if rule.from_s <= at_s]
        return max(rotated, key=lambda rule: rule.from_s).secret or first if rotated else first

    def ends_at_ms(self, rule: Rule) -> int:
        return self.start_ms + round(rule.to_s * 1000)

    def _takes(self, number: int, rule: Rule, key: str, place: int) -> bool:
        if rule.limit is not None and self._taken[number, place] >= rule.limit:
            return False
        hit = rule.share >= 1 or self.chance.unit("fault", str(number), key) < rule.share
        if hit and rule.limit is not None:
            self._taken[number, place] += 1
        return hit

    def _drawn(self, number: int, rule: Rule, key: str) -> Rule:
        most = VARYING_S[rule.fault] if rule.amount is None else rule.amount
        least = -most if rule.fault == "clock_skew" else 0.0
        return replace(rule, amount=between(least, most, self.chance.unit("amount", str(number), key)))


def share_rule(text: str) -> Rule:
    """The rule that `drop=0.01` stands for. Raises ValueError naming what is allowed."""
    name, _, number = text.partition("=")
    if name not in FAULTS or name in ("rotate_secret", *_STRETCHES):
        allowed = ", ".join(fault for fault in FAULTS if fault not in ("rotate_secret", *_STRETCHES))
        raise ValueError(f"Fault {name!r} cannot be given by share; use one of {allowed}.")
    try:
        share = float(number)
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise ValueError(f"The share of fault {name!r} is {number!r}; use 0 to 1.")
    return Rule(name, share)


def read_script(path: Path, start_ms: int) -> tuple[Rule, ...]:
    """The rules of a TOML file. Raises ConfigurationError with a line for everything that is wrong in it."""
    try:
        script = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError([f"Fault script '{path}' cannot be read: {error.strerror}."]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError([f"Fault script '{path}' is not TOML: {error}."]) from error
    problems: list[str] = [f"'{name}' is unknown; use [share] and [[fault]]." for name in script.keys() - _TABLES]
    rules = [*_shares(script.get("share", {}), problems), *_entries(script.get("fault", []), start_ms, problems)]
    if problems:
        raise ConfigurationError([f"Fault script '{path}': {problem}" for problem in problems])
    return tuple(rules)


def seconds(text: object) -> float | None:
    """Seconds of `90s`, `15m`, `6h` or `2d`; None for anything else."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    return float(match[1]) * _UNITS_S[match[2]] if match else None


_TABLES = {"share", "fault"}


def _shares(table: Any, problems: list[str]) -> Iterator[Rule]:
    if not isinstance(table, dict):
        problems.append("'share' is not a table; use [share] with one line per fault.")
        return
    for name, share in table.items():
        try:
            yield share_rule(f"{name}={share}")
        except ValueError as error:
            problems.append(str(error))


def _entries(entries: Any, start_ms: int, problems: list[str]) -> Iterator[Rule]:
    if not isinstance(entries, list):
        problems.append("'fault' is not a list of tables; use [[fault]].")
        return
    for number, entry in enumerate(entries, 1):
        found: list[str] = []
        rule = _rule(entry, start_ms, found)
        problems += [f"fault {number}: {problem}" for problem in found]
        if rule is not None and not found:
            yield rule


def _rule(entry: object, start_ms: int, problems: list[str]) -> Rule | None:
    if not isinstance(entry, dict):
        problems.append("it is not a table; use [[fault]].")
        return None
    fault = entry.get("fault")
    if fault not in FAULTS:
        problems.append(f"'fault' is {fault!r}; use one of {', '.join(FAULTS)}.")
        return None
    given: dict[str, Any] = {}
    for name, value in entry.items():
        reader = _READERS.get(name)
        if reader is None:
            problems.append(f"'{name}' is unknown; use {', '.join(_READERS)}.")
            continue
        target, read, allowed = reader
        given[target] = read(value, start_ms)
        if given[target] is None:
            shown = "not a secret" if name == "secret" else repr(value)
            problems.append(f"'{name}' is {shown}; use {allowed}.")
    problems += _mismatches(fault, entry, given)
    return None if problems else Rule(**given)


def _mismatches(fault: str, entry: dict[str, Any], given: dict[str, Any]) -> Iterator[str]:
    """What the fault lacks, and what is given but means nothing for it."""
    if fault in _STRETCHES and "to_s" not in given:
        yield f"'to' is missing; '{fault}' needs the end of its stretch."
    if fault == "rotate_secret" and "secret" not in given:
        yield "'secret' is missing; 'rotate_secret' needs the new one."
    for name, faults in _AMOUNT_OF.items():
        if name in entry and fault not in faults:
            yield f"'{name}' is nothing that '{fault}' has; it is for {', '.join(faults)}."
    if fault != "clock_skew" and str(entry.get("by")).startswith("-"):
        yield f"'by' is {entry['by']!r}; only clock_skew can go below 0."
    if given.get("varies") and fault not in VARYING_S:
        yield f"'varies' is true; only {' and '.join(VARYING_S)} can."


def _moment(value: object, start_ms: int) -> float | None:
    at_ms = epoch_ms(value)
    return seconds(value) if at_ms is None else (at_ms - start_ms) / 1000


def _share(value: object, _start_ms: int) -> float | None:
    return float(value) if type(value) in (int, float) and 0 <= value <= 1 else None  # type: ignore[operator, arg-type] # the type was just checked


def _text(value: object, _start_ms: int) -> str | None:
    return value if isinstance(value, str) and value else None


def _event(value: object, _start_ms: int) -> str | None:
    return value if isinstance(value, str) and value in EVENTS else None


def _by(value: object, _start_ms: int) -> float | None:
    """A clock may also be behind: `-90s`."""
    text = value if isinstance(value, str) else ""
    amount = seconds(text.removeprefix("-"))
    if amount is not None and amount > _LONGEST_S:
        return None
    return -amount if amount is not None and text.startswith("-") else amount


def _kind(value: object, _start_ms: int) -> str | None:
    return value if isinstance(value, str) and value in KINDS else None


def _limit(value: object, _start_ms: int) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _flag(value: object, _start_ms: int) -> bool | None:
    return value if isinstance(value, bool) else None


def _status(value: object, _start_ms: int) -> float | None:
    return float(value) if type(value) is int and 500 <= value <= 599 else None


def _attempts(value: object, _start_ms: int) -> float | None:
    return float(value) if type(value) is int and 0 <= value <= 6 else None


# Name in the script: field of the rule, how it is read, what it takes.
_READERS: dict[str, tuple[str, Callable[[Any, int], Any], str]] = {
    "fault": ("fault", _text, "a fault"),
    "share": ("share", _share, "0 to 1"),
    "from": ("from_s", _moment, "90s, 15m, 6h or 2d after the start, or an RFC 3339 time"),
    "to": ("to_s", _moment, "90s, 15m, 6h or 2d after the start, or an RFC 3339 time"),
    "at": ("from_s", _moment, "90s, 15m, 6h or 2d after the start, or an RFC 3339 time"),
    "event": ("event", _event, ", ".join(EVENTS)),
    "campaign": ("campaign", _text, "a campaign's id or name"),
    "kind": ("kind", _kind, "hard or soft of bounces, first of replies"),
    "limit": ("limit", _limit, "the number of events or calls that it takes at most"),
    "path": ("path", _text, "a part of a path, such as /stats"),
    "by": ("amount", _by, "90s, 15m, 6h or 2d, at most 3650d"),
    "status": ("amount", _status, "500 to 599"),
    "attempts": ("amount", _attempts, "1 to 6, or 0 for all"),
    "secret": ("secret", _text, "the new signing secret"),
    "as_date": ("as_date", _flag, "true or false"),
    "varies": ("varies", _flag, "true or false"),
}
