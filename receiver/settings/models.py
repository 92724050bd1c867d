"""Every setting: its type, default, bounds and the one sentence that says what it does, with its unit."""

from collections.abc import Iterator
from datetime import datetime
from os.path import isdir
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from receiver.settings.kinds import (
    SQLITE_PREFIX,
    AnyCase,
    ApiKey,
    Campaigns,
    Host,
    Interval,
    KeyHashes,
    KeyUrl,
    Proxies,
    PublicUrl,
    RootPath,
    SigningSecrets,
    StartTime,
    StorageUrl,
    is_loopback_host,
    is_loopback_url,
)


class Section(BaseModel):
    """One table of the configuration file; frozen, and its `repr` shows no secret."""

    # Strict: `true` is not the number 1. Environment texts are turned into values before they come here.
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class ServerSettings(Section):
    """Where and how the HTTP server listens."""

    host: Host = Field("127.0.0.1", description="Address to listen on; anything but loopback needs an access key.")
    port: int = Field(8000, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one.")
    max_connections: int = Field(
        2000,
        ge=1,
        le=100_000,
        description="Most connections served at once; when none of them is merely waiting, further ones get 503.",
    )
    body_limit_bytes: int = Field(
        1_048_576,
        ge=1,
        le=67_108_864,
        description="Longest request body in bytes; a longer one is answered 413.",
    )
    body_timeout_s: float = Field(
        8, ge=0.1, le=300, description="Seconds within which a request body must be complete, else 408."
    )
    shutdown_timeout_s: float = Field(
        10, ge=0.1, le=300, description="Seconds that running requests get to finish when the server stops."
    )
    trusted_proxies: Proxies = Field(
        (),
        description="Addresses or networks of proxies whose X-Forwarded-For and -Proto headers are believed.",
    )
    root_path: RootPath = Field(
        "", description="Path under which a proxy serves this server, as it stands in the browser's address."
    )
    public_url: PublicUrl = Field(
        None,
        description="URL of this server as seen from outside, for links and webhook registration.",
        examples=["https://figures.example.com"],
    )


class WebhookSettings(Section):
    """How Leadterra's deliveries are recognised."""

    secrets: SigningSecrets = Field(
        (),
        description="Signing secrets, one match is enough; the HMAC key is the UTF-8 bytes as written.",
    )

    @property
    def hmac_keys(self) -> tuple[bytes, ...]:
        """The signing secrets as HMAC keys."""
        return tuple(secret.get_secret_value().encode() for secret in self.secrets)


class StorageSettings(Section):
    """Where events are kept."""

    url: StorageUrl = Field(
        "sqlite:///receiver.db",
        description="Database file, relative to the working directory (four slashes: absolute).",
    )


class IngestSettings(Section):
    """How deliveries are gathered into transactions."""

    queue_max_events: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Most deliveries waiting to be stored; beyond it the answer is 503.",
    )
    queue_max_bytes: int = Field(
        67_108_864, ge=1, le=4_294_967_296, description="Most body bytes waiting to be stored; beyond it 503."
    )
    batch_max: int = Field(1000, ge=1, le=5000, description="Most deliveries stored in one transaction.")
    commit_timeout_s: float = Field(
        5, ge=0.1, le=60, description="Seconds within which a delivery must be stored, else 503."
    )


class LeadterraSettings(Section):
    """How Leadterra's API is asked."""

    base_url: KeyUrl = Field(
        "https://app.leadterra.co",
        description="Leadterra's address; the key is sent only over https or to loopback.",
    )
    api_key: ApiKey = Field(
        None,
        description="API key, also read from LEADTERRA_API_KEY; without it reconciliation is off.",
        examples=["sk_live_…"],
    )
    timeout_s: float = Field(15, ge=0.1, le=300, description="Seconds that one request to Leadterra may take.")
    concurrency: int = Field(8, ge=1, le=32, description="Most requests to Leadterra at the same time.")


class ReconcileSettings(Section):
    """How the ledger is compared with Leadterra's counters."""

    interval_s: Interval = Field(
        300, description="Seconds between comparisons, the first at start; 0 compares on demand only."
    )
    campaigns: Campaigns = Field((), description="Ids of campaigns to compare besides those seen in events.")
    message_sent_means: Annotated[Literal["auto", "sent", "delivered", "delivered+bounced"], AnyCase] = Field(
        "auto", description="Which of Leadterra's counters message.sent events add up to; auto finds out."
    )
    bounced_means: Annotated[Literal["auto", "any", "hard"], AnyCase] = Field(
        "auto", description="Which bounces Leadterra's counter holds; auto finds out."
    )
    replied_means: Annotated[Literal["auto", "all", "human"], AnyCase] = Field(
        "auto", description="Which replies Leadterra's counter holds; auto finds out."
    )


class AccessSettings(Section):
    """Who may read and who may change things."""

    analyst_keys: KeyHashes = Field(
        (), description="SHA-256 hashes, in hex, of the keys that may read; `keys new` makes one."
    )
    admin_keys: KeyHashes = Field(
        (),
        description="SHA-256 hashes, in hex, of the keys that may do all; `keys new --admin` makes one.",
    )
    show_recipients: bool = Field(
        False, description="Whether answers may show the addresses of recipients that raw bodies hold."
    )

    @property
    def analyst_digests(self) -> tuple[bytes, ...]:
        """SHA-256 digests, 32 bytes each, of the keys that may read."""
        return _digests(self.analyst_keys)

    @property
    def admin_digests(self) -> tuple[bytes, ...]:
        """SHA-256 digests, 32 bytes each, of the keys that may do everything."""
        return _digests(self.admin_keys)

    @property
    def has_keys(self) -> bool:
        """Whether any key is configured; without one, reading is open on loopback."""
        return bool(self.analyst_keys or self.admin_keys)


class RetentionSettings(Section):
    """How long raw bodies are kept; events and figures are kept for ever."""

    raw_days: int = Field(90, ge=0, le=36_500, description="Days that raw bodies are kept; 0 is for ever.")
    quarantine_bytes: int = Field(
        1_073_741_824,
        ge=0,
        le=1_099_511_627_776,
        description="Bytes of unresolved quarantine beyond which an alarm is raised; nothing is dropped.",
    )


class ClockSettings(Section):
    """Simulated time for tests and demos; only with a loopback `leadterra.base_url`."""

    start: StartTime = Field(
        None,
        description="Time at which every start of the process begins.",
        examples=["2025-06-11T09:00:00Z"],
    )
    speed: float = Field(
        1, ge=1, le=100_000, description="Simulated seconds per real second, until real time is reached."
    )

    @property
    def start_ms(self) -> int | None:
        """The start in epoch milliseconds, or None for now."""
        return None if self.start is None else int(self.start.timestamp() * 1000)

    @property
    def simulated(self) -> bool:
        """Whether time is anything but the machine's."""
        return self.start is not None or self.speed != 1


class LogSettings(Section):
    """What is logged, on standard error."""

    format: Annotated[Literal["auto", "console", "json"], AnyCase] = Field(
        "auto", description="Form of a log line; auto is console on a terminal and json otherwise."
    )
    level: Annotated[Literal["debug", "info", "warning", "error"], AnyCase] = Field(
        "info", description="Least severe level that is logged."
    )


class Settings(Section):
    """All settings of one process."""

    server: ServerSettings = ServerSettings()
    webhook: WebhookSettings = WebhookSettings()
    storage: StorageSettings = StorageSettings()
    ingest: IngestSettings = IngestSettings()
    leadterra: LeadterraSettings = LeadterraSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    access: AccessSettings = AccessSettings()
    retention: RetentionSettings = RetentionSettings()
    clock: ClockSettings = ClockSettings()
    log: LogSettings = LogSettings()

    @property
    def database_path(self) -> Path:
        """The database file, relative to the working directory unless the URL has four slashes."""
        return Path(self.storage.url.removeprefix(SQLITE_PREFIX))

    def storage_problems(self) -> list[str]:
        """Why the database cannot be opened where it is said to be; commands that open it refuse on any."""
        path = self.database_path
        setting = f"Setting 'storage.url' is '{self.storage.url}'"
        # `Path.is_dir` raises where a folder above may not be searched.
        if isdir(path):
            return [f"{setting}, which is a folder; use the path of a file."]
        if not isdir(path.parent):
            return [f"{setting}; use a folder that exists, or create '{path.parent.absolute()}'."]
        return []

    def serve_problems(self) -> list[str]:
        """What only `serve` refuses, because only it takes deliveries."""
        if self.webhook.secrets:
            return []
        return [
            "Setting 'webhook.secrets' is empty; "
            "use a list with the signing secret that Leadterra gave when the webhook was registered."
        ]

    def warnings(self) -> list[str]:
        """What is allowed but will not work as one may think."""
        queue, body = self.ingest.queue_max_bytes, self.server.body_limit_bytes
        if queue >= body:
            return []
        return [
            f"Setting 'ingest.queue_max_bytes' is {queue}, less than 'server.body_limit_bytes' ({body}): "
            "a body longer than the queue is always answered 503."
        ]

    def conflicts(self) -> Iterator[tuple[set[str], str]]:
        """Settings that are good alone but not together: the keys involved, and the problem in words."""
        host = self.server.host
        if not is_loopback_host(host) and not self.access.has_keys:
            yield (
                {"server.host", "access.analyst_keys", "access.admin_keys"},
                f"Setting 'server.host' is '{host}' and no access key is configured; "
                "use a loopback address such as 127.0.0.1, or add a key (`keys new` makes one).",
            )
        if is_loopback_url(self.leadterra.base_url):
            return
        if self.clock.start is not None:
            yield {"clock.start", "leadterra.base_url"}, _simulation_problem("start", self.clock.start)
        if self.clock.speed != 1:
            yield {"clock.speed", "leadterra.base_url"}, _simulation_problem("speed", self.clock.speed)


def _simulation_problem(key: str, value: datetime | float) -> str:
    shown = f"{value:g}" if isinstance(value, float) else value.isoformat().replace("+00:00", "Z")
    without = "leave it out" if key == "start" else "use 1"
    return (
        f"Setting 'clock.{key}' is {shown}, but 'leadterra.base_url' is not a loopback address; "
        f"{without}, simulated time is for tests and demos."
    )


def _digests(hashes: tuple[SecretStr, ...]) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(entry.get_secret_value()) for entry in hashes)
