"""Many copies of many events over many connections at once: each is counted once."""

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest

from tests.e2e.server import Connection, Server, copies, delivery, ledger, payload, sent

CONNECTIONS = 64
COPIES = 6


def post_all(port: int, bodies: list[bytes]) -> Counter[str | None]:
    """The outcomes of all bodies, posted over many connections in any order."""

    def client(share: list[bytes]) -> list[str | None]:
        with Connection(port) as connection:
            answers = [connection.ask(delivery(body)) for body in share]
        return [answer.outcome if answer.status == 204 else str(answer.status) for answer in answers]

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        outcomes = pool.map(client, [bodies[number::CONNECTIONS] for number in range(CONNECTIONS)])
        return Counter(chain.from_iterable(outcomes))


def deliver_in_copies(server: Server, events: int) -> None:
    bodies = [sent(f"m{number}") for number in range(events)] * COPIES
    random.Random(7).shuffle(bodies)
    assert post_all(server.port, bodies) == {"stored": events, "duplicate": events * (COPIES - 1)}
    assert server.campaign()["sent"] == events
    assert Counter(ledger(server.database)) == {f"m{number}": 1 for number in range(events)}
    assert copies(server.database) == events * COPIES


def test_a_thousand_events_in_six_copies_are_counted_once(server: Server) -> None:
    deliver_in_copies(server, 1000)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_thousand_events_in_six_copies_are_counted_once(server: Server) -> None:
    deliver_in_copies(server, 10_000)


def test_unequal_copies_at_the_same_time_are_one_event(server: Server) -> None:
    bodies = [sent("m1", note=number) for number in range(200)]
    assert post_all(server.port, bodies) == {"stored": 1, "duplicate": 199}
    assert server.campaign()["sent"] == 1


def test_sends_and_bounces_in_any_order_give_one_attempt_each(server: Server) -> None:
    messages = [f"m{number}" for number in range(100)]
    bounces = [payload("message.bounced", messageId=message, bounceType="hard") for message in messages]
    bodies = [*bounces, *(sent(message) for message in messages)] * 2
    random.Random(11).shuffle(bodies)
    assert post_all(server.port, bodies).keys() <= {"stored", "duplicate", "quarantined"}
    figures = server.campaign()
    assert (figures["sent"], figures["attempted"], figures["bounced_hard"], figures["accepted"]) == (100, 100, 100, 0)


def test_a_queue_of_one_event_refuses_some_and_loses_none(serve: Callable[..., Server]) -> None:
    server = serve(ingest__queue_max_events=1)
    outcomes = post_all(server.port, [sent(f"m{number}") for number in range(300)])
    assert outcomes.keys() <= {"stored", "503"}
    assert len(ledger(server.database)) == outcomes["stored"] == server.campaign()["sent"]
