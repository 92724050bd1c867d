"""What a value of each kind of setting must look like, beyond its Python type and bounds."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

# In the example file, so that a copy of it cannot run with a secret that everyone can read.
PLACEHOLDER = "replace-with-the-signing-secret"
SQLITE_PREFIX = "sqlite:///"

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
# Events before 2015 are refused as `bad_timestamp`, so a clock there would be of no use.
_EARLIEST = datetime(2015, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Allowed:
    """The words for what a setting takes, where its bounds do not say it; they follow "use" in an error."""

    text: str


def is_loopback_host(host: str) -> bool:
    """Whether the name or address stays on this machine; other names do not, whatever they resolve to."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_loopback_url(url: str) -> bool:
    """Whether the host of this URL is a loopback one."""
    return is_loopback_host(urlsplit(url).hostname or "")


def _refusal(reason: str) -> PydanticCustomError:
    return PydanticCustomError("refused", reason)


def _check_host(host: str) -> str:
    # An empty host would listen on every interface.
    if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252})", host):
        return host
    ip_address(host)
    return host


def _check_proxies(proxies: tuple[str, ...]) -> tuple[str, ...]:
    for proxy in proxies:
        ip_network(proxy)
    return proxies


def _check_root_path(path: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", path):
        raise ValueError
    return path


def _check_url(url: str) -> str:
    # urlsplit drops control characters without a word, so they are refused before it sees them.
    if not re.fullmatch(r"https?://[!-~]+", url) or set(url) & set('@?#\\"<>'):
        raise ValueError
    parts = urlsplit(url)
    if not parts.hostname or parts.port == 0:
        raise ValueError
    return url.rstrip("/")


def _check_key_url(url: str) -> str:
    url = _check_url(url)
    if not url.startswith("https://") and not is_loopback_url(url):
        raise ValueError  # the API key would travel in the clear
    return url


def _check_storage_url(url: str) -> str:
    path = url.removeprefix(SQLITE_PREFIX)
    # "?" and "#" look like options and would end up in the file's name.
    if path == url or not path or path.endswith("/") or path == ":memory:" or set(path) & set("?#\0"):
        raise ValueError
    path.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
    return url


def _check_secrets(secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for secret in secrets:
        text = secret.get_secret_value().strip()
        if not text:
            raise _refusal("has an empty or blank entry")
        if text == PLACEHOLDER:
            raise _refusal("still has the placeholder of the example file")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _refusal("has an entry that is not valid text") from None
    return secrets


def _check_api_key(key: SecretStr | None) -> SecretStr | None:
    if key is None or re.fullmatch(r"[!-~]{1,500}", key.get_secret_value()):
        return key
    if not key.get_secret_value().strip():
        raise _refusal("is empty or blank")
    raise _refusal("has characters that a header cannot carry, or too many of them")


def _check_key_hashes(hashes: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    texts = [entry.get_secret_value() for entry in hashes]
    for text in texts:
        if not re.fullmatch(r"[0-9A-Fa-f]{64}", text):
            raise _refusal("has an entry that is not 64 hex digits")
    return tuple(SecretStr(text.lower()) for text in texts)


def _check_campaigns(campaigns: tuple[str, ...]) -> tuple[str, ...]:
    for campaign in campaigns:
        if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,128}", campaign):
            raise ValueError
    return campaigns


def _check_interval(seconds: float) -> float:
    if 0 < seconds < 1:
        raise ValueError
    return seconds


def _parse_time(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = value.strip().upper()
    if not _RFC3339.fullmatch(text):
        raise ValueError
    return datetime.fromisoformat(text)


def _check_time(time: datetime | None) -> datetime | None:
    if time is None:
        return None
    if time.tzinfo is None or not _EARLIEST <= time <= _LATEST:
        raise ValueError
    return time.astimezone(UTC)


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


AnyCase = BeforeValidator(_lower)
Host = Annotated[str, AfterValidator(_check_host), Allowed("an IP address or a host name")]
Proxies = Annotated[tuple[str, ...], AfterValidator(_check_proxies), Allowed("a list of IP addresses or networks")]
RootPath = Annotated[
    str,
    AfterValidator(_check_root_path),
    Allowed("'' or a path such as '/receiver', without a slash at its end"),
]
PublicUrl = Annotated[
    str | None,
    AfterValidator(lambda url: url and _check_url(url)),
    Allowed("an http or https URL without user, query and fragment"),
]
KeyUrl = Annotated[
    str,
    AfterValidator(_check_key_url),
    Allowed("an https URL, or an http URL of a loopback host, without user, query and fragment"),
]
StorageUrl = Annotated[
    str,
    AfterValidator(_check_storage_url),
    Allowed("sqlite:///FILE for a file relative to the working directory, or sqlite:////FOLDER/FILE"),
]
SigningSecrets = Annotated[
    tuple[SecretStr, ...],
    AfterValidator(_check_secrets),
    Allowed("a list with the signing secret that Leadterra gave when the webhook was registered"),
]
ApiKey = Annotated[
    SecretStr | None,
    AfterValidator(_check_api_key),
    Allowed("1 to 500 printable ASCII characters without blanks"),
]
KeyHashes = Annotated[
    tuple[SecretStr, ...],
    AfterValidator(_check_key_hashes),
    Allowed("a list of SHA-256 hashes of keys, as `keys new` prints them"),
]
Campaigns = Annotated[
    tuple[str, ...],
    AfterValidator(_check_campaigns),
    Allowed("a list of campaign ids, each 1 to 128 letters, digits and _ . : -"),
]
Interval = Annotated[float, Field(ge=0, le=86400), AfterValidator(_check_interval), Allowed("0 or 1 to 86400")]
StartTime = Annotated[
    datetime | None,
    BeforeValidator(_parse_time),
    AfterValidator(_check_time),
    Allowed("an RFC 3339 time with offset from 2015 to 2099, such as 2025-06-11T09:00:00Z"),
]
