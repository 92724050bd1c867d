"""Who may do what: access keys, the server's own token, and the open mode on loopback."""

import hashlib
import hmac
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from receiver.errors import ForbiddenError, TooManyAttemptsError, UnauthorizedError

_WINDOW_S = 60
_ATTEMPTS_MAX = 30
# Addresses remembered at once; beyond that the oldest windows are forgotten first.
_ADDRESSES_MAX = 10_000

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


class Role(IntEnum):
    """What a request is allowed to do; a higher role includes the lower ones."""

    OPEN = 0
    ANALYST = 1
    ADMIN = 2


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request brings: the value of `Authorization`, its `Host`, and the address it came from."""

    authorization: bytes | None
    host: str
    peer: str


class Access:
    """Decides by the hash of the key alone, in constant time; the key itself is never kept.

    `token` is the server's own, from its lock file: an admin key for commands on the same machine.
    """

    def __init__(
        self,
        analyst_digests: Sequence[bytes],
        admin_digests: Sequence[bytes],
        token: str,
        own_addresses: frozenset[str] = frozenset(),
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._analysts = tuple(analyst_digests)
        self._admins = tuple(admin_digests)
        self._token_digest = hashlib.sha256(token.encode()).digest()
        self._own_addresses = own_addresses | {"127.0.0.1", "::1"}
        self._monotonic_s = monotonic_s
        self._failures: dict[str, tuple[float, int]] = {}

    @property
    def has_keys(self) -> bool:
        return bool(self._analysts or self._admins)

    def require(self, needed: Role, credentials: Credentials) -> Role:
        """The request's role, or the error that answers it."""
        if needed is Role.OPEN:
            return Role.OPEN
        role = self._role(credentials)
        if role < needed:
            raise ForbiddenError("This needs an admin key; see 'access.admin_keys' in the settings.")
        return role

    def _role(self, credentials: Credentials) -> Role:
        key = _bearer(credentials.authorization)
        if key is not None:
            role = self._role_of(key, credentials.peer)
            if role is not None:
                return role
        if not self.has_keys:
            return self._open_role(credentials)
        if credentials.authorization is not None:
            self._count_failure(credentials.peer)
        raise UnauthorizedError("Send an access key as 'Authorization: Bearer <key>'.")

    def _role_of(self, key: bytes, peer: str) -> Role | None:
        digest = hashlib.sha256(key).digest()
        admin = _is_among(digest, self._admins)
        analyst = _is_among(digest, self._analysts)
        own = hmac.compare_digest(digest, self._token_digest) and peer in self._own_addresses
        if admin or own:
            return Role.ADMIN
        return Role.ANALYST if analyst else None

    def _open_role(self, credentials: Credentials) -> Role:
        """Without any key configured reading is open, but only to names that cannot be rebound to us."""
        host = credentials.host.lower()
        if host.rpartition(":")[0] in _LOOPBACK_NAMES or host in _LOOPBACK_NAMES:
            return Role.ANALYST
        raise ForbiddenError("Without access keys the receiver answers only to 'localhost' or 127.0.0.1.")

    def _count_failure(self, peer: str) -> None:
        now = self._monotonic_s()
        begun, count = self._failures.pop(peer, (now, 0))
        if now - begun >= _WINDOW_S:
            begun, count = now, 0
        self._failures[peer] = begun, count + 1
        if len(self._failures) > _ADDRESSES_MAX:
            del self._failures[next(iter(self._failures))]
        if count >= _ATTEMPTS_MAX:
            wait_s = math.ceil(_WINDOW_S - (now - begun))
            raise TooManyAttemptsError("Too many wrong keys from this address; wait.", wait_s)


def _bearer(authorization: bytes | None) -> bytes | None:
    if authorization is None or authorization[:7].lower() != b"bearer ":
        return None
    return authorization[7:].strip()


def _is_among(digest: bytes, known: Sequence[bytes]) -> bool:
    """Whether a digest is known; looks at all of them, so that time tells nothing."""
    found = False
    for other in known:
        found |= hmac.compare_digest(digest, other)
    return found
