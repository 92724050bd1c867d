"""What can be chosen about a sandbox."""

from dataclasses import dataclass, field
from typing import Literal

from receiver.sandbox.faults import Rule

ShapesName = Literal["reference", "guide", "concepts"]
SentMeans = Literal["submitted", "delivered"]
BouncedMeans = Literal["any", "hard"]
Schedule = Literal["cumulative", "absolute"]


@dataclass(frozen=True, slots=True)
class Habits:
    """How recipients and their servers behave; all are shares of 1.

    `reply` is per delivered message, so three steps bring about three times as many.
    """

    hard_bounce: float = 0.02
    soft_bounce: float = 0.02
    soft_turns_hard: float = 0.3
    open: float = 0.45
    reply: float = 0.04


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """Everything but clock and network. `speed` and `start_ms` make the clock when none is given.

    `daily_capacity` is messages per sending account within any 24 hours; `rate_limit` is API calls per
    real second, 0 for no limit; `webhook_url` is registered for every event from the start.
    """

    seed: int = 1
    start_ms: int | None = None
    speed: float = 1.0
    api_key: str = field(default="sk_test_sandbox", repr=False)
    webhook_url: str | None = None
    webhook_secret: str = field(default="whsec_sandbox", repr=False)
    shapes: ShapesName = "reference"
    message_sent_means: SentMeans = "submitted"
    bounced_means: BouncedMeans = "any"
    retry_schedule: Schedule = "cumulative"
    restamp: bool = False
    accounts: int = 20
    daily_capacity: int = 500
    rate_limit: float = 0.0
    connections: int = 32
    delivery_timeout_s: float = 10.0
    habits: Habits = field(default_factory=Habits)
    faults: tuple[Rule, ...] = ()
