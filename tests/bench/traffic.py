"""What Leadterra sends for so many events a second: signed, until acknowledged, doubled, out of order."""

import contextlib
import heapq
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.e2e.server import Answer, Connection, payload

CAMPAIGNS = 40
_DOUBLED = 0.1
_BOUNCED = 0.04
_REPLIED = 0.02
_SHUFFLED_S = 3.0
_DOUBLED_WITHIN_S = 15.0
_AGAIN_S = 0.5
# A client that finds no server does not ask again at once.
_PAUSE_S = 0.2
_KINDS = ("message.sent", "message.bounced", "reply.received")


@dataclass(order=True, slots=True)
class Due:
    """A delivery that is to be posted at a time of the monotonic clock."""

    at_s: float
    number: int
    identity: str
    body: bytes


def events(chance: random.Random, serial: Iterator[int]) -> Iterator[tuple[str, bytes]]:
    """Identity and body of one event after another: sends, and what follows from some of them."""
    for number in serial:
        campaign, message = f"camp_{chance.randrange(CAMPAIGNS)}", f"msg_{number}"
        email = f"lead{number}@example.org"
        data = {"messageId": message, "campaignId": campaign, "sequenceStep": chance.randrange(1, 4), "email": email}
        kind = chance.random()
        yield f"sent {message}", payload("message.sent", **data)
        if kind < _BOUNCED:
            reason = f"550 5.1.1 <{email}> unknown"
            yield f"bounced {message}", payload("message.bounced", **data, bounceType="hard", bounceReason=reason)
        elif kind < _BOUNCED + _REPLIED:
            reply = {"id": f"rpl_{number}", "email": email, "campaignId": campaign, "classification": "interested"}
            yield f"replied rpl_{number}", payload("reply.received", reply=reply, messageId=message)


def identity_of(body: bytes) -> str:
    """The identity of a body that was made here."""
    parsed = json.loads(body)
    data = parsed["data"]
    if parsed["event"] == "reply.received":
        return f"replied {data['reply']['id']}"
    return f"{parsed['event'].removeprefix('message.')} {data['messageId']}"


class Traffic:
    """Posts `rate` new events a second to whatever port `port` says; refused and unanswered ones again.

    `acked` are the identities that were answered 204; `refused` counts other answers by status and code, `broken`
    connections that ended without an answer. `took_s` are the latencies of answers in seconds.
    """

    def __init__(self, port: Callable[[], int], rate: int, clients: int = 6, seed: int = 1) -> None:
        self.acked: set[str] = set()
        self.deliveries = 0
        self.refused: Counter[str] = Counter()
        self.broken = 0
        self.took_s: list[float] = []
        self._port = port
        self._rate = rate
        self._chance = random.Random(seed)
        self._due: list[Due] = []
        self._number = 0
        self._open = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._plan), *self._clients(clients)]

    def _clients(self, count: int) -> list[threading.Thread]:
        return [threading.Thread(target=self._client) for _ in range(count)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def finish(self, patience_s: float) -> bool:
        """No new events; whether all there are have been acknowledged in time."""
        self._enough.set()
        deadline = time.monotonic() + patience_s
        while self._open and time.monotonic() < deadline:
            time.sleep(0.05)
        return not self._open

    def _plan(self) -> None:
        """Events fall due at the rate, each up to some seconds early or late; some a second time."""
        chance, begun = self._chance, time.monotonic()
        for number, (identity, body) in enumerate(events(chance, iter(range(10**9)))):
            due = begun + number / self._rate
            while time.monotonic() < due - 0.1 and not self._enough.is_set():
                time.sleep(0.02)
            if self._enough.is_set():
                return
            self._put(due + chance.uniform(0, _SHUFFLED_S), identity, body)
            if chance.random() < _DOUBLED:
                self._put(due + chance.uniform(0, _DOUBLED_WITHIN_S), identity, body)

    def _put(self, at_s: float, identity: str, body: bytes, *, again: bool = False) -> None:
        with self._lock:
            self._number += 1
            self._open += not again
            heapq.heappush(self._due, Due(at_s, self._number, identity, body))

    def _take(self) -> Due | None:
        with self._lock:
            # What is still planned when there is enough goes out at once.
            if self._due and (self._due[0].at_s <= time.monotonic() or self._enough.is_set()):
                return heapq.heappop(self._due)
        return None

    def _client(self) -> None:
        connection: Connection | None = None
        while not self._stop.is_set():
            due = self._take()
            if due is None:
                time.sleep(0.005)
                continue
            begun = time.monotonic()
            try:
                connection = connection or Connection(self._port())
                self._note(due, connection.post(due.body), time.monotonic() - begun)
            except (OSError, ValueError):
                # Closed, refused, or cut off in the middle of an answer: nobody knows what became of it.
                with self._lock:
                    self.broken += 1
                if connection is not None:
                    with contextlib.suppress(OSError):
                        connection.close()
                connection = None
                self._put(time.monotonic() + _AGAIN_S, due.identity, due.body, again=True)
                self._stop.wait(_PAUSE_S)
        if connection is not None:
            connection.close()

    def _note(self, due: Due, answer: Answer, took_s: float) -> None:
        with self._lock:
            self.deliveries += 1
            self.took_s.append(took_s)
            if answer.status == 204:
                self._open -= 1
                self.acked.add(due.identity)
                return
            self.refused[f"{answer.status} {answer.code}"] += 1
        self._put(time.monotonic() + _AGAIN_S, due.identity, due.body, again=True)
