"""Which rejected bodies are kept when not all can be: a share for each hour, and in it for each sender. No I/O.

Whoever floods fills his own share of the present hour. What other hours and other senders brought stays, and so
do the earlier ones of the same: the newest give way, because the sender itself will try those for the longest time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from operator import attrgetter

from receiver.events import EVENT_NAMES
from receiver.storage.sqlite.rejected import RejectedHead

BODIES_MAX = 10_000
BYTES_MAX = 67_108_864
KEPT_MS = 86_400_000
# Leadterra's bodies have a few hundred bytes; larger ones would make a small sample.
BODY_MAX_BYTES = 65_536

_HOUR_MS = 3_600_000
# So many senders of an hour have a share of their own, all others one of so many together: whoever has many addresses
# does not make it slow, nor everybody small.
_SENDERS = 32
_GROUPS = 32
# Whoever holds an IPv6 network, or a rack of IPv4 addresses, is one sender.
_HOST_BITS_4, _HOST_BITS_6 = 8, 64
# A row takes whole pages of the file, of which about 4,000 bytes are its own.
_PAGE_BYTES, _PAGE_HOLDS = 4096, 4000

_KEYS = (b'"event"', b'"timestamp"', b'"data"')
_NAMES = tuple(f'"{name}"'.encode() for name in sorted(set(EVENT_NAMES.values())))


def looks_like_an_event(body: bytes) -> bool:
    """Whether a body has the outer form of one of Leadterra's; cheap, because anybody can make us ask."""
    if len(body) > BODY_MAX_BYTES or body.lstrip()[:1] != b"{":
        return False
    return all(key in body for key in _KEYS) and any(name in body for name in _NAMES)


@dataclass(slots=True)
class _Share:
    """What one sender, or one group of them, has brought in one hour, oldest first; `bytes` on the disk."""

    bytes: int = 0
    heads: list[RejectedHead] = field(default_factory=list)

    @property
    def bodies(self) -> int:
        return len(self.heads)


@dataclass(slots=True)
class _Hour:
    """What came in one hour, by sender, or by number of a group of senders."""

    bytes: int = 0
    bodies: int = 0
    shares: dict[str | int, _Share] = field(default_factory=dict)

    def place(self, peer: str | None) -> str | int:
        """Where a sender belongs. Which group nobody can choose: each process has hashes of its own."""
        network = _network(peer)
        if network in self.shares or len(self.shares) < _SENDERS:
            return network
        return hash(network) % _GROUPS


class Sample:
    """What is kept: at most so many `bodies`, at most so many `bytes` on the disk."""

    def __init__(self, bodies_max: int = BODIES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self.bodies = 0
        self.bytes = 0
        self._bodies_max = bodies_max
        self._bytes_max = bytes_max
        self._hours: dict[int, _Hour] = {}
        self._heads: dict[int, RejectedHead] = {}
        self._places: dict[int, str | int] = {}
        self._digests: set[bytes] = set()

    def __iter__(self) -> Iterator[RejectedHead]:
        """In the order in which they came."""
        return iter(self._heads.values())

    def __contains__(self, head: RejectedHead) -> bool:
        return head.id in self._heads

    def holds(self, digest: bytes) -> bool:
        """Whether an equal body with equal signatures is kept."""
        return digest in self._digests

    def add(self, head: RejectedHead) -> list[RejectedHead]:
        """Those that give way to this one; it may be itself."""
        hour = self._hours.setdefault(_hour(head), _Hour())
        place = self._places[head.id] = hour.place(head.peer)
        hour.shares.setdefault(place, _Share()).heads.append(head)
        self._heads[head.id] = head
        self._digests.add(head.digest)
        self._count(head, 1)
        gone: list[RejectedHead] = []
        while self.bodies > self._bodies_max or self.bytes > self._bytes_max:
            gone.append(self._newest_of_fullest("bytes" if self.bytes > self._bytes_max else "bodies"))
            self.remove(gone[-1])
        return gone

    def remove(self, head: RejectedHead) -> None:
        """Forget one that is kept."""
        self._count(head, -1)
        place = self._places.pop(head.id)
        shares = self._hours[_hour(head)].shares
        heads = shares[place].heads
        heads.pop(-1 if heads[-1].id == head.id else heads.index(head))
        del self._heads[head.id]
        self._digests.discard(head.digest)
        if not heads:
            del shares[place]
        if not shares:
            del self._hours[_hour(head)]

    def expired(self, now_ms: int) -> list[RejectedHead]:
        """What has been kept for a day; also what is a day ahead, because a clock was set back."""
        return [head for head in self if not -KEPT_MS < now_ms - head.received_at < KEPT_MS]

    def _count(self, head: RejectedHead, sign: int) -> None:
        hour, size = self._hours[_hour(head)], sign * on_disk(head.size)
        hour.shares[self._places[head.id]].bytes += size
        hour.bytes += size
        hour.bodies += sign
        self.bytes += size
        self.bodies += sign

    def _newest_of_fullest(self, measure: str) -> RejectedHead:
        """Of the fullest hour first: many senders at once must not make one who was there before give way."""
        full = attrgetter(measure)
        hour = max(self._hours, key=lambda each: (full(self._hours[each]), each))
        share = max(self._hours[hour].shares.values(), key=lambda each: (full(each), each.heads[-1].id))
        return share.heads[-1]


def on_disk(size: int) -> int:
    """How many bytes of the file a body of this size takes, at most."""
    return _PAGE_BYTES * (1 + size // _PAGE_HOLDS)


def _hour(head: RejectedHead) -> int:
    return head.received_at // _HOUR_MS


@lru_cache(maxsize=1024)
def _network(peer: str | None) -> str:
    """The network that an address belongs to; what is no address stands for itself."""
    try:
        address = ip_address(peer or "")
    except ValueError:
        return peer or ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    host_bits = _HOST_BITS_4 if address.version == 4 else _HOST_BITS_6
    return f"{address.version}/{int(address) >> host_bits}"
