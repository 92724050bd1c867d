"""Which rejected bodies are kept: within the bounds, a share for each hour, and in it for each sender."""

import random

import pytest

from receiver.events import EVENT_NAMES
from receiver.ingest.sample import BODY_MAX_BYTES, KEPT_MS, Sample, looks_like_an_event, on_disk
from receiver.storage.sqlite.rejected import RejectedHead
from tests.web.conftest import sent

HOUR_MS = 3_600_000
LEADTERRA, FLOOD = "192.0.2.1", "198.51.100.1"


def head(number: int, peer: str = LEADTERRA, hour: int = 0, size: int = 300) -> RejectedHead:
    return RejectedHead(number, hour * HOUR_MS, peer, number.to_bytes(16, "big"), size)


def kept(sample: Sample, peer: str = LEADTERRA) -> list[int]:
    return [each.id for each in sample if each.peer == peer]


def test_within_the_bounds_everything_is_kept() -> None:
    sample = Sample(bodies_max=3)
    assert [sample.add(head(number)) for number in range(3)] == [[], [], []]
    assert kept(sample) == [0, 1, 2]


def test_of_one_sender_in_one_hour_the_earliest_stay() -> None:
    sample = Sample(bodies_max=3)
    gone = [sample.add(head(number)) for number in range(5)]
    assert [[each.id for each in some] for some in gone] == [[], [], [], [3], [4]]
    assert kept(sample) == [0, 1, 2]


def test_a_flood_makes_nobody_else_give_way() -> None:
    sample = Sample()
    for number in range(3000):
        sample.add(head(number))
    for number in range(3000, 53_000):
        sample.add(head(number, FLOOD))
    assert kept(sample) == list(range(3000))
    assert (sample.bodies, len(kept(sample, FLOOD))) == (10_000, 7000)


def test_who_comes_after_a_flood_still_gets_a_share() -> None:
    sample = Sample(bodies_max=100)
    for number in range(1000):
        sample.add(head(number, FLOOD))
    for number in range(1000, 1040):
        sample.add(head(number))
    assert kept(sample) == list(range(1000, 1040))


def test_the_fullest_hour_gives_way_not_the_newest() -> None:
    sample = Sample(bodies_max=3)
    for number in range(3):
        sample.add(head(number))
    assert [each.id for each in sample.add(head(3, hour=1))] == [2]
    assert kept(sample) == [0, 1, 3]


def test_a_flood_from_many_networks_leaves_other_hours_alone() -> None:
    sample = Sample(bodies_max=1000)
    for number in range(400):
        sample.add(head(number, hour=1))
    for number in range(400, 10_000):
        sample.add(head(number, f"10.{number % 250}.{number // 250}.1", hour=2))
    assert len(kept(sample)) == 400
    assert sample.bodies == 1000
    assert max(len(hour.shares) for hour in sample._hours.values()) == 64


@pytest.mark.parametrize("addresses", [("198.51.100.{}", 250), ("2001:db8:0:1::{:x}", 60_000)])
def test_a_whole_network_is_one_sender(addresses: tuple[str, int]) -> None:
    pattern, count = addresses
    sample = Sample(bodies_max=100)
    for number in range(50):
        sample.add(head(number))
    for number in range(50, 1000):
        sample.add(head(number, pattern.format(number % count)))
    assert kept(sample) == list(range(50))


def test_bytes_are_shared_likewise() -> None:
    sample = Sample(bytes_max=100 * on_disk(300))
    for number in range(40):
        sample.add(head(number))
    for number in range(40, 200):
        sample.add(head(number, FLOOD, size=BODY_MAX_BYTES))
    assert kept(sample) == list(range(40))
    assert sample.bytes <= 100 * on_disk(300)


@pytest.mark.parametrize("peer", [None, "", "unix:", "::1", "::ffff:192.0.2.1", "fe80::1%eth0", "1.2.3.4:5"])
def test_any_peer_will_do(peer: str | None) -> None:
    sample = Sample()
    one = RejectedHead(1, 0, peer, b"d", 10)
    sample.add(one)
    sample.remove(one)
    assert (sample.bodies, sample.bytes, list(sample)) == (0, 0, [])


def test_its_counts_are_those_of_what_it_holds() -> None:
    chance, sample = random.Random(7), Sample(bodies_max=200, bytes_max=400 * 4096)
    for number in range(5000):
        peer = f"10.0.{chance.randrange(20)}.1"
        sample.add(head(number, peer, chance.randrange(5), chance.randrange(20_000)))
        if chance.random() < 0.3:
            sample.remove(chance.choice(list(sample)))
    assert sample.bodies == len(list(sample)) <= 200
    assert sample.bytes == sum(on_disk(each.size) for each in sample) <= 400 * 4096


def test_what_is_a_day_old_is_over_and_what_is_a_day_ahead() -> None:
    sample = Sample()
    sample.add(head(1))
    assert sample.expired(KEPT_MS - 1) == []
    assert sample.expired(KEPT_MS) == [head(1)]
    assert sample.expired(-KEPT_MS) == [head(1)]


def test_an_equal_one_is_known_until_it_is_gone() -> None:
    sample = Sample()
    assert not sample.holds(head(1).digest)
    sample.add(head(1))
    assert sample.holds(head(1).digest)
    sample.remove(head(1))
    assert not sample.holds(head(1).digest)


@pytest.mark.parametrize("event", sorted(set(EVENT_NAMES.values())))
def test_events_of_leadterra_look_like_it(event: str) -> None:
    assert looks_like_an_event(b' {"event":"%s","timestamp":"x","data":{}}' % event.encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b'["event", "timestamp", "data", "message.sent"]',
        b'{"event":"message.opened","timestamp":"x","data":{}}',
        b'{"event":"message.sent","data":{}}',
        sent() + b" " * BODY_MAX_BYTES,
    ],
)
def test_other_bodies_do_not(body: bytes) -> None:
    assert not looks_like_an_event(body)
