"""Sessions of people who signed in with an access key: a signed cookie, and nothing kept here."""

import hashlib
import hmac
import struct
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie

COOKIE = "receiver_session"
# A working week with its Monday; a key that is removed ends its sessions at the next start in any case.
LIFETIME_S = 7 * 86_400

_EXPIRY = struct.Struct(">Q")
_DIGEST_BYTES = hashlib.sha256().digest_size
_PAYLOAD_BYTES = _EXPIRY.size + _DIGEST_BYTES


class Sessions:
    """Makes and reads the values of the cookie: when it ends, the hash of the key, and a signature over both.

    Signed with the database's own key, so that a restart signs nobody out. Its end is told by the real time, as a
    browser tells the cookie's.
    """

    def __init__(self, signing_key: bytes, now_s: Callable[[], float] = time.time) -> None:
        self._signing_key = signing_key
        self._now_s = now_s

    def issue(self, key_digest: bytes) -> str:
        """A cookie's value for the key with this SHA-256."""
        payload = _EXPIRY.pack(int(self._now_s()) + LIFETIME_S) + key_digest
        return urlsafe_b64encode(payload + self._signature(payload)).decode()

    def key_digest(self, cookie: bytes | None) -> bytes | None:
        """The hash of the key that signed in, by a request's `Cookie`; None without a session that holds."""
        if cookie is None:
            return None
        value = _value(cookie)
        try:
            given = urlsafe_b64decode(value)
        except ValueError:
            return None
        payload, signature = given[:_PAYLOAD_BYTES], given[_PAYLOAD_BYTES:]
        if len(payload) != _PAYLOAD_BYTES or not hmac.compare_digest(signature, self._signature(payload)):
            return None
        ends_s = _EXPIRY.unpack_from(payload)[0]
        return payload[_EXPIRY.size :] if self._now_s() < ends_s else None

    def _signature(self, payload: bytes) -> bytes:
        return hmac.digest(self._signing_key, b"session\0" + payload, "sha256")


def _value(cookie: bytes) -> str:
    found: SimpleCookie = SimpleCookie()
    try:
        found.load(cookie.decode("latin-1"))
    except CookieError:
        return ""
    return found[COOKIE].value if COOKIE in found else ""


def set_cookie(value: str, path: str, *, secure: bool) -> tuple[bytes, bytes]:
    """The header that begins a session; an empty value ends it."""
    age_s = LIFETIME_S if value else 0
    flags = "; HttpOnly; SameSite=Strict" + ("; Secure" if secure else "")
    return b"set-cookie", f"{COOKIE}={value}; Path={path}; Max-Age={age_s}{flags}".encode()
