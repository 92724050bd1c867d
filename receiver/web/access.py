"""Who may do what: access keys, the server's own token, and the open mode on loopback."""

import hashlib
import hmac
import math
import time
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple

from receiver.errors import ForbiddenError, TooManyAttemptsError, UnauthorizedError
from receiver.web.sessions import Sessions

_WINDOW_S = 60
_ATTEMPTS_MAX = 30
# Addresses remembered at once; beyond that the oldest windows are forgotten first.
_ADDRESSES_MAX = 10_000

_SAFE_METHODS = frozenset({"GET", "HEAD"})
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


class Role(IntEnum):
    """What a request is allowed to do; a higher role includes the lower ones."""

    OPEN = 0
    ANALYST = 1
    ADMIN = 2


class Credentials(NamedTuple):
    """What a request brings: the value of `Authorization`, its `Host`, and the address it came from.

    Of a browser's: its `Cookie`, and `Sec-Fetch-Site`, which says whose page asks.
    """

    authorization: bytes | None
    host: str
    peer: str
    method: str = "GET"
    cookie: bytes | None = None
    fetch_site: bytes | None = None


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
        *,
        sessions: Sessions,
    ) -> None:
        self._analysts = tuple(analyst_digests)
        self._admins = tuple(admin_digests)
        self._token_digest = hashlib.sha256(token.encode()).digest()
        self._own_addresses = own_addresses | {"127.0.0.1", "::1"}
        self._monotonic_s = monotonic_s
        self._sessions = sessions
        self._failures: dict[str, tuple[float, int]] = {}

    @property
    def has_keys(self) -> bool:
        return bool(self._analysts or self._admins)

    def require(self, needed: Role, credentials: Credentials) -> Role:
        """The request's role, or the error that answers it. Whoever needs none has that of a session, if any."""
        session = self._session_role(credentials)
        if needed is Role.OPEN:
            _refuse_other_sites(credentials, has_session=session is not None)
            return session or Role.OPEN
        role = self._role(credentials, session)
        if role < needed:
            raise ForbiddenError("This needs an admin key; see 'access.admin_keys' in the settings.")
        return role

    def sign_in(self, key: bytes, peer: str) -> str:
        """The value of the cookie that stands for this key. Raises UnauthorizedError, TooManyAttemptsError."""
        digest = hashlib.sha256(key).digest()
        if self._role_of(digest) is not None:
            return self._sessions.issue(digest)
        self._count_failure(peer)
        raise UnauthorizedError("This is not an access key of this receiver.")

    def _session_role(self, credentials: Credentials) -> Role | None:
        """Of a browser that signed in; what is sent as `Authorization` counts alone."""
        digest = self._sessions.key_digest(credentials.cookie)
        return None if digest is None or credentials.authorization is not None else self._role_of(digest)

    def _role(self, credentials: Credentials, session: Role | None) -> Role:
        if session is not None:
            _refuse_other_sites(credentials, has_session=True)
            return session
        key = _bearer(credentials.authorization)
        if key is not None:
            role = self._role_of_key(key, credentials.peer)
            if role is not None:
                return role
        if not self.has_keys:
            return self._open_role(credentials)
        if credentials.authorization is not None:
            self._count_failure(credentials.peer)
        raise UnauthorizedError("Send an access key as 'Authorization: Bearer <key>'.")

    def _role_of_key(self, key: bytes, peer: str) -> Role | None:
        digest = hashlib.sha256(key).digest()
        own = hmac.compare_digest(digest, self._token_digest) and peer in self._own_addresses
        role = self._role_of(digest)
        return Role.ADMIN if own else role

    def _role_of(self, digest: bytes) -> Role | None:
        admin = _is_among(digest, self._admins)
        analyst = _is_among(digest, self._analysts)
        if admin:
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


def _refuse_other_sites(credentials: Credentials, *, has_session: bool) -> None:
    """A page of somebody else must not act in a reader's name, nor sign one in or out.

    Programs without a session need not say where they are; old browsers, which never say it, must not act.
    """
    if credentials.method in _SAFE_METHODS or credentials.fetch_site == b"same-origin":
        return
    if has_session or credentials.fetch_site not in (None, b"none"):
        raise ForbiddenError("Only a page of the receiver itself may send this; open it here, or send a key.")


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
