"""Settings: where they come from, what is refused and in which words, and what never shows."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from receiver.settings import Loaded, Settings, example_toml, load
from receiver.settings.catalogue import FIELDS, VARIABLES, allowed, is_secret
from tests.test_settings_refused import CANARY, HASHES, SECRETS, problems, toml_problems

HASH = "0123456789abcdef" * 4
LOOPBACK = {"RECEIVER_LEADTERRA__BASE_URL": "http://127.0.0.1:9000"}


def from_env(**environ: str) -> Loaded:
    return load(None, environ, {})


def from_toml(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Loaded:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, environ or {}, {})


def secret_folder(folder: Path, **files: str) -> str:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_bytes(text.encode())
    return str(folder)


def test_nothing_given_means_the_documented_defaults() -> None:
    loaded = from_env()
    assert set(loaded.sources.values()) == {"default"}
    assert loaded.warnings == []
    settings = loaded.settings
    assert (settings.server.host, settings.server.port, settings.server.max_connections) == (
        "127.0.0.1",
        8000,
        2000,
    )
    assert (settings.ingest.queue_max_events, settings.ingest.queue_max_bytes) == (10000, 67108864)
    assert (settings.leadterra.base_url, settings.leadterra.api_key) == ("https://app.leadterra.co", None)
    assert (settings.reconcile.interval_s, settings.reconcile.message_sent_means) == (300, "auto")
    assert (settings.retention.raw_days, settings.retention.quarantine_bytes) == (90, 1073741824)
    assert (settings.clock.start, settings.clock.speed, settings.clock.simulated) == (None, 1, False)


def test_a_flag_beats_the_environment_beats_a_file(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[server]\nport = 1\nbody_timeout_s = 2\nroot_path = '/a'\n")
    environ = {"RECEIVER_SERVER__PORT": "3", "RECEIVER_SERVER__BODY_TIMEOUT_S": "4.5"}
    loaded = load(path, environ, {"server.port": 5, "server.host": None})
    server = loaded.settings.server
    assert (server.port, server.body_timeout_s, server.root_path) == (5, 4.5, "/a")
    assert loaded.sources["server.port"] == "--port"
    assert loaded.sources["server.body_timeout_s"] == "RECEIVER_SERVER__BODY_TIMEOUT_S"
    assert loaded.sources["server.root_path"] == str(path)
    assert loaded.sources["server.host"] == "default"


def test_the_configuration_file_may_be_named_in_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes("\N{BOM}[ingest]\nbatch_max = 7\n".encode())
    assert from_env(RECEIVER_CONFIG=str(path)).settings.ingest.batch_max == 7
    assert from_env(RECEIVER_CONFIG="").settings.ingest.batch_max == 1000


def test_secret_files_beat_the_configuration_file(tmp_path: Path) -> None:
    folder = secret_folder(tmp_path, webhook__secrets="one \r\ntwo\n", leadterra__api_key="file-key\n")
    toml = "[webhook]\nsecrets = ['toml']\n[leadterra]\napi_key = 'toml-key'\n"
    loaded = from_toml(tmp_path, toml, {"CREDENTIALS_DIRECTORY": folder})
    assert loaded.settings.webhook.hmac_keys == (b"one ", b"two")
    assert api_key(loaded) == "file-key"
    assert loaded.sources["webhook.secrets"] == f"{folder}/webhook.secrets"
    assert loaded.sources["leadterra.api_key"] == f"{folder}/leadterra.api_key"


def test_the_environment_beats_secret_files(tmp_path: Path) -> None:
    folder = secret_folder(tmp_path, webhook__secrets="file", leadterra__api_key="file-key")
    environ = {"RECEIVER_SECRETS_DIR": folder, "RECEIVER_WEBHOOK__SECRETS": '["env", "ä"]'}
    loaded = load(None, environ | {"LEADTERRA_API_KEY": "short-key"}, {})
    assert loaded.settings.webhook.hmac_keys == (b"env", "ä".encode())
    assert (api_key(loaded), loaded.sources["leadterra.api_key"]) == ("short-key", "LEADTERRA_API_KEY")


def test_the_long_name_of_the_api_key_beats_the_short_one() -> None:
    loaded = from_env(LEADTERRA_API_KEY="short", RECEIVER_LEADTERRA__API_KEY="long")
    assert (api_key(loaded), loaded.sources["leadterra.api_key"]) == ("long", "RECEIVER_LEADTERRA__API_KEY")


def test_an_empty_short_api_key_counts_as_not_given(tmp_path: Path) -> None:
    folder = secret_folder(tmp_path, leadterra__api_key="file-key")
    assert api_key(from_env(LEADTERRA_API_KEY="", CREDENTIALS_DIRECTORY=folder)) == "file-key"


@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_file_of_the_api_key_counts_as_not_given(tmp_path: Path, text: str) -> None:
    loaded = from_env(CREDENTIALS_DIRECTORY=secret_folder(tmp_path, leadterra__api_key=text))
    assert (api_key(loaded), loaded.sources["leadterra.api_key"]) == (None, "default")


def test_an_empty_variable_is_null_where_a_setting_may_be() -> None:
    empty = ("LEADTERRA__API_KEY", "SERVER__PUBLIC_URL", "CLOCK__START")
    environ = {f"RECEIVER_{name}": "" for name in empty}
    loaded = from_env(LEADTERRA_API_KEY="weaker", **environ)
    assert loaded.settings == Settings()
    assert loaded.sources["clock.start"] == "RECEIVER_CLOCK__START"


def test_the_named_secret_folder_beats_the_one_of_systemd(tmp_path: Path) -> None:
    other = str(tmp_path / "other")
    folder = secret_folder(tmp_path, webhook__secrets="mine\n\n")
    loaded = from_env(RECEIVER_SECRETS_DIR=folder, CREDENTIALS_DIRECTORY=other)
    assert loaded.settings.webhook.hmac_keys == (b"mine",)


def test_an_empty_secret_file_holds_no_secret(tmp_path: Path) -> None:
    folder = secret_folder(tmp_path, webhook__secrets="\n")
    assert from_env(CREDENTIALS_DIRECTORY=folder).settings.webhook.secrets == ()


def test_a_missing_folder_of_systemd_is_no_problem(tmp_path: Path) -> None:
    assert from_env(CREDENTIALS_DIRECTORY=str(tmp_path / "none")).settings == Settings()


def test_every_kind_of_value_can_come_from_the_environment() -> None:
    settings = from_env(
        RECEIVER_ACCESS__SHOW_RECIPIENTS="TRUE",
        RECEIVER_ACCESS__ADMIN_KEYS=json.dumps([HASH.upper()]),
        RECEIVER_ACCESS__ANALYST_KEYS=json.dumps([HASH]),
        RECEIVER_CLOCK__START="2025-06-11t11:00:00.5+02:00",
        RECEIVER_CLOCK__SPEED="60",
        RECEIVER_LEADTERRA__BASE_URL="http://[::1]:9000/",
        RECEIVER_LOG__LEVEL="INFO",
        RECEIVER_RECONCILE__CAMPAIGNS='["camp_1", "a.b:c-d"]',
        RECEIVER_SERVER__HOST="::",
        RECEIVER_SERVER__TRUSTED_PROXIES='["10.0.0.0/8", "::1"]',
    ).settings
    assert settings.access.show_recipients is True
    assert settings.access.admin_digests == settings.access.analyst_digests == (bytes.fromhex(HASH),)
    assert settings.clock.start == datetime(2025, 6, 11, 9, 0, 0, 500_000, tzinfo=UTC)
    assert (settings.clock.start_ms, settings.clock.simulated) == (1749632400500, True)
    assert settings.leadterra.base_url == "http://[::1]:9000"
    assert settings.log.level == "info"
    assert settings.reconcile.campaigns == ("camp_1", "a.b:c-d")
    assert settings.server.trusted_proxies == ("10.0.0.0/8", "::1")


def test_a_time_may_be_a_toml_time(tmp_path: Path) -> None:
    toml = "[clock]\nstart = 2025-06-11T09:00:00Z\n[leadterra]\nbase_url = 'http://localhost'\n"
    assert from_toml(tmp_path, toml).settings.clock.start_ms == 1749632400000


def test_a_named_file_must_exist_and_be_readable_text(tmp_path: Path) -> None:
    missing, latin = tmp_path / "none.toml", tmp_path / "latin.toml"
    latin.write_bytes(b"# \xe9")
    named = {"RECEIVER_CONFIG": str(missing)}
    assert problems(named) == [f"Configuration file '{missing}' does not exist; name a file that does."]
    assert problems({}, latin) == [f"Configuration file '{latin}' is not UTF-8; save it as UTF-8."]
    assert problems({}, tmp_path) == [
        f"Configuration file '{tmp_path}' cannot be read (Is a directory); name a readable file."
    ]


def test_a_named_secret_folder_must_exist_and_its_files_be_readable(tmp_path: Path) -> None:
    (tmp_path / "webhook.secrets").mkdir()
    assert problems({"RECEIVER_SECRETS_DIR": "/none"}) == [
        "Variable RECEIVER_SECRETS_DIR is '/none', which is not a folder; name an existing one."
    ]
    assert problems({"RECEIVER_SECRETS_DIR": str(tmp_path)}) == [
        f"Secret file '{tmp_path}/webhook.secrets' cannot be read (Is a directory); name a readable file."
    ]


def test_all_problems_are_reported_at_once() -> None:
    found = problems({"RECEIVER_LOG__LEVEL": "x", "RECEIVER_SERVER__PORT": "x", "RECEIVER_CLOCK__SPEED": "9"})
    assert [line.split("'")[1] for line in found] == ["server.port", "log.level", "clock.speed"]


def test_a_variable_without_a_section_only_warns() -> None:
    assert from_env(RECEIVER_PORT="tcp://10.0.0.1:8000", RECEIVER_CONFIG="").warnings == [
        "Variable RECEIVER_PORT is not a setting and is ignored; settings are named RECEIVER_SECTION__KEY."
    ]


def test_a_queue_shorter_than_a_body_warns() -> None:
    assert from_env(RECEIVER_INGEST__QUEUE_MAX_BYTES="1000").warnings == [
        "Setting 'ingest.queue_max_bytes' is 1000, less than 'server.body_limit_bytes' (1048576): "
        "a body longer than the queue is always answered 503."
    ]


def test_listening_beyond_loopback_needs_an_access_key() -> None:
    refusal = (
        "Setting 'server.host' is '0.0.0.0' and no access key is configured; "
        "use a loopback address such as 127.0.0.1, or add a key (`keys new` makes one)."
    )
    assert problems({"RECEIVER_SERVER__HOST": "0.0.0.0"}) == [refusal]  # noqa: S104  # refused is the point
    for host in ("localhost", "127.0.0.9", "::1"):
        assert from_env(RECEIVER_SERVER__HOST=host).settings.server.host == host
    assert from_env(RECEIVER_SERVER__HOST="h", RECEIVER_ACCESS__ADMIN_KEYS=f'["{HASH}"]').settings.access.has_keys


def test_a_bad_key_is_not_also_reported_as_a_missing_one() -> None:
    found = problems({"RECEIVER_SERVER__HOST": "h", "RECEIVER_ACCESS__ADMIN_KEYS": '["x"]'})
    assert found == [f"Setting 'access.admin_keys' has an entry that is not 64 hex digits; {HASHES}."]


def test_simulated_time_is_refused_against_the_real_leadterra() -> None:
    environ = {"RECEIVER_CLOCK__START": "2025-06-11T09:00:00Z", "RECEIVER_CLOCK__SPEED": "60"}
    why = "but 'leadterra.base_url' is not a loopback address"
    assert problems(environ) == [
        f"Setting 'clock.start' is 2025-06-11T09:00:00Z, {why}; leave it out, simulated time is for tests and demos.",
        f"Setting 'clock.speed' is 60, {why}; use 1, simulated time is for tests and demos.",
    ]
    assert load(None, environ | LOOPBACK, {}).settings.clock.speed == 60


def test_serve_needs_a_signing_secret() -> None:
    assert Settings().serve_problems() == [f"Setting 'webhook.secrets' is empty; {SECRETS}."]
    assert from_env(RECEIVER_WEBHOOK__SECRETS='["a"]').settings.serve_problems() == []


def test_the_database_path_is_relative_or_absolute() -> None:
    assert Settings().database_path == Path("receiver.db")
    assert from_env(RECEIVER_STORAGE__URL="sqlite:////var/r.db").settings.database_path == Path("/var/r.db")


def test_the_folder_of_the_database_must_exist(tmp_path: Path) -> None:
    def found(path: Path) -> list[str]:
        return from_env(RECEIVER_STORAGE__URL=f"sqlite:///{path}").settings.storage_problems()

    setting = f"Setting 'storage.url' is 'sqlite:///{tmp_path}"
    assert found(tmp_path / "r.db") == []
    assert found(tmp_path / "no/r.db") == [
        f"{setting}/no/r.db'; use a folder that exists, or create '{tmp_path}/no'."
    ]
    assert found(tmp_path) == [f"{setting}', which is a folder; use the path of a file."]


def test_no_repr_shows_a_secret() -> None:
    loaded = from_env(
        RECEIVER_WEBHOOK__SECRETS=f'["{CANARY}"]',
        LEADTERRA_API_KEY=CANARY,
        RECEIVER_ACCESS__ADMIN_KEYS=f'["{HASH}"]',
    )
    for text in (repr(loaded), str(loaded.settings), loaded.settings.model_dump_json()):
        assert CANARY not in text
        assert HASH not in text


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().server.port = 1  # type: ignore[misc]


def test_the_example_file_is_what_the_models_say() -> None:
    root = Path(__file__).parent.parent
    assert (root / "config.example.toml").read_text(encoding="utf-8") == example_toml()


def test_the_example_file_is_refused_only_for_its_placeholder(tmp_path: Path) -> None:
    assert toml_problems(tmp_path, example_toml()) == [
        f"Setting 'webhook.secrets' still has the placeholder of the example file; {SECRETS}."
    ]


def test_the_example_file_names_every_key_and_holds_the_defaults(tmp_path: Path) -> None:
    text = example_toml().replace('["replace-with-the-signing-secret"]', "[]")
    loaded = from_toml(tmp_path, text)
    assert loaded.settings == Settings()
    left = {key for key, source in loaded.sources.items() if source == "default"}
    assert left == {"server.public_url", "leadterra.api_key", "clock.start"}
    assert all(f"# {key.partition('.')[2]} = " in text for key in left)


def test_every_setting_has_one_sentence_and_says_what_it_takes() -> None:
    for key, field in FIELDS.items():
        assert (field.description or "").endswith(".")
        assert allowed(key)
    assert len(VARIABLES) == len(FIELDS) == 33
    assert {key for key in FIELDS if is_secret(key)} == {
        "webhook.secrets",
        "leadterra.api_key",
        "access.analyst_keys",
        "access.admin_keys",
    }


def api_key(loaded: Loaded) -> str | None:
    key = loaded.settings.leadterra.api_key
    return None if key is None else key.get_secret_value()
