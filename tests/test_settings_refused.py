"""Every kind of bad setting is refused with one line that names key, value and what to use, and no secret."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from receiver.errors import ConfigurationError
from receiver.settings import load

CANARY = "canary-7f3a"
AS_JSON = """ (in the environment as JSON: '["one", "two"]')"""
SECTIONS = "server, webhook, storage, ingest, leadterra, reconcile, access, retention, clock or log"
SECRETS = "use a list with the signing secret that Leadterra gave when the webhook was registered"
HASHES = "use a list of SHA-256 hashes of keys, as `keys new` prints them"
KEY_URL = "use an https URL, or an http URL of a loopback host, without user, query and fragment."
DATABASE = "use sqlite:///FILE for a file relative to the working directory, or sqlite:////FOLDER/FILE."
CAMPAIGNS = "use a list of campaign ids, each 1 to 128 letters, digits and _ . : -"
TIME = "use an RFC 3339 time with offset from 2015 to 2099, such as 2025-06-11T09:00:00Z."
ROOT_PATH = "use '' or a path such as '/receiver', without a slash at its end."
HEADER_SAFE = "use 1 to 500 printable ASCII characters without blanks."
HIDDEN = "is not shown here (it may hold a password)"


def problems(environ: Mapping[str, str], path: Path | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(path, environ, {})
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value.problems


def toml_problems(folder: Path, text: str) -> list[str]:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return [problem.replace(str(path), "config.toml") for problem in problems({}, path)]


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("SERVER__HOST", "", "Setting 'server.host' is ''; use an IP address or a host name."),
        ("SERVER__HOST", "a b", "Setting 'server.host' is 'a b'; use an IP address or a host name."),
        ("SERVER__PORT", "65536", "Setting 'server.port' is 65536; use 0 to 65535."),
        ("SERVER__PORT", "http", "Setting 'server.port' is 'http'; use 0 to 65535."),
        ("SERVER__MAX_CONNECTIONS", "0", "Setting 'server.max_connections' is 0; use 1 to 100000."),
        ("SERVER__BODY_LIMIT_BYTES", "-1", "Setting 'server.body_limit_bytes' is -1; use 1 to 67108864."),
        ("SERVER__BODY_TIMEOUT_S", "nan", "Setting 'server.body_timeout_s' is 'nan'; use 0.1 to 300."),
        ("SERVER__SHUTDOWN_TIMEOUT_S", "0", "Setting 'server.shutdown_timeout_s' is 0.0; use 0.1 to 300."),
        (
            "SERVER__TRUSTED_PROXIES",
            '["*"]',
            """Setting 'server.trusted_proxies' is ["*"]; use a list of IP addresses or networks.""",
        ),
        ("SERVER__ROOT_PATH", "/a/", f"Setting 'server.root_path' is '/a/'; {ROOT_PATH}"),
        (
            "SERVER__PUBLIC_URL",
            "example.com",
            "Setting 'server.public_url' is 'example.com'; "
            "use an http or https URL without user, query and fragment.",
        ),
        ("WEBHOOK__SECRETS", CANARY, f"Setting 'webhook.secrets' is not a list; {SECRETS}{AS_JSON}."),
        (
            "WEBHOOK__SECRETS",
            f'["{CANARY}", 5]',
            f"Setting 'webhook.secrets' has a value that is not text; {SECRETS}.",
        ),
        (
            "WEBHOOK__SECRETS",
            f'["{CANARY}", " \\t"]',
            f"Setting 'webhook.secrets' has an empty or blank entry; {SECRETS}.",
        ),
        (
            "WEBHOOK__SECRETS",
            '["replace-with-the-signing-secret"]',
            f"Setting 'webhook.secrets' still has the placeholder of the example file; {SECRETS}.",
        ),
        (
            "WEBHOOK__SECRETS",
            '["\\ud800"]',
            f"Setting 'webhook.secrets' has an entry that is not valid text; {SECRETS}.",
        ),
        ("STORAGE__URL", "receiver.db", f"Setting 'storage.url' is 'receiver.db'; {DATABASE}"),
        ("STORAGE__URL", "sqlite:///", f"Setting 'storage.url' is 'sqlite:///'; {DATABASE}"),
        ("STORAGE__URL", "sqlite:///data/", f"Setting 'storage.url' is 'sqlite:///data/'; {DATABASE}"),
        ("STORAGE__URL", "sqlite:///:memory:", f"Setting 'storage.url' is 'sqlite:///:memory:'; {DATABASE}"),
        ("STORAGE__URL", "sqlite:///a?mode=ro", f"Setting 'storage.url' {HIDDEN}; {DATABASE}"),
        ("STORAGE__URL", f"postgresql://u:{CANARY}@h/db", f"Setting 'storage.url' {HIDDEN}; {DATABASE}"),
        ("INGEST__QUEUE_MAX_EVENTS", "0", "Setting 'ingest.queue_max_events' is 0; use 1 to 1000000."),
        ("INGEST__QUEUE_MAX_BYTES", "1.5", "Setting 'ingest.queue_max_bytes' is '1.5'; use 1 to 4294967296."),
        ("INGEST__BATCH_MAX", "0", "Setting 'ingest.batch_max' is 0; use 1 to 5000."),
        ("INGEST__BATCH_MAX", "5001", "Setting 'ingest.batch_max' is 5001; use 1 to 5000."),
        ("INGEST__COMMIT_TIMEOUT_S", "61", "Setting 'ingest.commit_timeout_s' is 61.0; use 0.1 to 60."),
        (
            "LEADTERRA__BASE_URL",
            "http://x.test",
            f"Setting 'leadterra.base_url' is 'http://x.test'; {KEY_URL}",
        ),
        ("LEADTERRA__BASE_URL", "ftp://x.test", f"Setting 'leadterra.base_url' is 'ftp://x.test'; {KEY_URL}"),
        ("LEADTERRA__BASE_URL", "https://:1", f"Setting 'leadterra.base_url' is 'https://:1'; {KEY_URL}"),
        ("LEADTERRA__BASE_URL", "https://a:x", f"Setting 'leadterra.base_url' is 'https://a:x'; {KEY_URL}"),
        (
            "LEADTERRA__BASE_URL",
            f"http://127.0.0.1:{CANARY}@x.test",
            f"Setting 'leadterra.base_url' {HIDDEN}; {KEY_URL}",
        ),
        ("LEADTERRA__API_KEY", "  ", f"Setting 'leadterra.api_key' is empty or blank; {HEADER_SAFE}"),
        (
            "LEADTERRA__API_KEY",
            f"{CANARY}\n",
            f"Setting 'leadterra.api_key' has characters that a header cannot carry, or too many of them; "
            f"{HEADER_SAFE}",
        ),
        ("LEADTERRA__TIMEOUT_S", "1e9", "Setting 'leadterra.timeout_s' is '1e9'; use 0.1 to 300."),
        ("LEADTERRA__CONCURRENCY", "33", "Setting 'leadterra.concurrency' is 33; use 1 to 32."),
        ("RECONCILE__INTERVAL_S", "0.5", "Setting 'reconcile.interval_s' is 0.5; use 0 or 1 to 86400."),
        ("RECONCILE__INTERVAL_S", "86401", "Setting 'reconcile.interval_s' is 86401.0; use 0 or 1 to 86400."),
        ("RECONCILE__CAMPAIGNS", "a", f"Setting 'reconcile.campaigns' is 'a'; {CAMPAIGNS}{AS_JSON}."),
        ("RECONCILE__CAMPAIGNS", "{}", f"Setting 'reconcile.campaigns' is '{{}}'; {CAMPAIGNS}{AS_JSON}."),
        ("RECONCILE__CAMPAIGNS", '["a/b"]', f"""Setting 'reconcile.campaigns' is ["a/b"]; {CAMPAIGNS}."""),
        (
            "RECONCILE__MESSAGE_SENT_MEANS",
            "queued",
            "Setting 'reconcile.message_sent_means' is 'queued'; use auto, sent, delivered or delivered+bounced.",
        ),
        (
            "RECONCILE__BOUNCED_MEANS",
            "soft",
            "Setting 'reconcile.bounced_means' is 'soft'; use auto, any or hard.",
        ),
        ("RECONCILE__REPLIED_MEANS", "", "Setting 'reconcile.replied_means' is ''; use auto, all or human."),
        (
            "ACCESS__ANALYST_KEYS",
            f'["{CANARY}"]',
            f"Setting 'access.analyst_keys' has an entry that is not 64 hex digits; {HASHES}.",
        ),
        ("ACCESS__ADMIN_KEYS", CANARY, f"Setting 'access.admin_keys' is not a list; {HASHES}{AS_JSON}."),
        (
            "ACCESS__SHOW_RECIPIENTS",
            "maybe",
            "Setting 'access.show_recipients' is 'maybe'; use true or false.",
        ),
        ("RETENTION__RAW_DAYS", "-1", "Setting 'retention.raw_days' is -1; use 0 to 36500."),
        (
            "RETENTION__QUARANTINE_BYTES",
            "9" * 30,
            f"Setting 'retention.quarantine_bytes' is '{'9' * 30}'; use 0 to 1099511627776.",
        ),
        ("CLOCK__START", "2025-06-11T09:00:00", f"Setting 'clock.start' is '2025-06-11T09:00:00'; {TIME}"),
        ("CLOCK__START", "2014-12-31T23:59:59Z", f"Setting 'clock.start' is '2014-12-31T23:59:59Z'; {TIME}"),
        ("CLOCK__SPEED", "0.5", "Setting 'clock.speed' is 0.5; use 1 to 100000."),
        ("LOG__FORMAT", "xml", "Setting 'log.format' is 'xml'; use auto, console or json."),
        ("LOG__LEVEL", "trace", "Setting 'log.level' is 'trace'; use debug, info, warning or error."),
        (
            "INGEST__BATCHMAX",
            "1",
            "Unknown setting in variable 'RECEIVER_INGEST__BATCHMAX'; use RECEIVER_INGEST__BATCH_MAX.",
        ),
        (
            "LOG__X",
            CANARY,
            "Unknown setting in variable 'RECEIVER_LOG__X'; use RECEIVER_LOG__FORMAT or RECEIVER_LOG__LEVEL.",
        ),
        ("FOO__X", CANARY, f"Unknown section in variable 'RECEIVER_FOO__X'; use {SECTIONS}."),
    ],
)
def test_a_bad_variable_is_refused_in_words(variable: str, value: str, problem: str) -> None:
    assert problems({f"RECEIVER_{variable}": value}) == [problem]
    assert CANARY not in problem


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("[server]\nport = true", "Setting 'server.port' is true; use 0 to 65535."),
        ("[server]\nport = '80'", "Setting 'server.port' is '80'; use 0 to 65535."),
        ("[server]\nport = {a = 1}", "Setting 'server.port' is a table; use 0 to 65535."),
        ("[server]\nbody_timeout_s = inf", "Setting 'server.body_timeout_s' is inf; use 0.1 to 300."),
        (f"[log]\nlevel = '{'x' * 200}'", "Setting 'log.level' is '" + "x" * 99 + "…"),
        ("[clock]\nstart = 2025-06-11", f"Setting 'clock.start' is 2025-06-11; {TIME}"),
        (
            "[leadterra]\napi_key = 5",
            f"Setting 'leadterra.api_key' has a value that is not text; {HEADER_SAFE}",
        ),
        (
            f"[webhook]\nsecret = '{CANARY}'",
            "Unknown setting 'webhook.secret' in 'config.toml'; use webhook.secrets.",
        ),
        (
            "[log]\n'a\\nb' = 1",
            "Unknown setting 'log.a\\\\nb' in 'config.toml'; use log.format or log.level.",
        ),
        ("[storage]\nx = 1", "Unknown setting 'storage.x' in 'config.toml'; use storage.url."),
        (f"[hook]\nsecrets = ['{CANARY}']", f"Unknown section 'hook' in 'config.toml'; use {SECTIONS}."),
        (
            f"webhook = '{CANARY}'",
            "'webhook' in 'config.toml' is not a section; write [webhook] above its keys.",
        ),
        (
            f"[webhook]\nsecrets = {CANARY}",
            "Configuration file 'config.toml' is not valid TOML (at line 2, column 11); correct it.",
        ),
        (
            "[log]\nlevel = " + "[" * 5000,
            "Configuration file 'config.toml' is not valid TOML; correct it.",
        ),
    ],
)
def test_a_bad_file_is_refused_in_words(tmp_path: Path, toml: str, problem: str) -> None:
    (found,) = toml_problems(tmp_path, toml)
    assert found.startswith(problem)
    assert CANARY not in found
