"""`quarantine list|show|retry`, beside a running server and without one."""

import json
from collections.abc import Callable

import pytest

from tests.cli.conftest import Database, Run, Server
from tests.web.conftest import body, bounced, sent, unread

HOSTILE = "x\x1b[31m\x07\u202e\u009b2Jy"
RECEIVED = "2025-06-11T09:30:00Z"
AHEAD = "2025-06-12T09:40:00Z"  # understood by now


def hostile() -> bytes:
    """An unknown event whose name, and whose text as it stands, hold control characters."""
    return json.dumps({"event": HOSTILE, "note": "\u009b31m"}, ensure_ascii=False).encode()


@pytest.fixture
def filled(database: Database) -> Database:
    database.fill(unread(), b"[]", bounced("m1"))
    return database


# list


def test_list_is_one_line_per_row_newest_first(run: Run, filled: Database) -> None:
    result = run("quarantine", "list")
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert lines == [
        "id  reason            event            campaign_id  received_at           size_bytes  copies  detail",
        f"3   campaign_unknown  message.bounced  -            {RECEIVED}  {len(bounced('m1'))}         1       "
        "No campaign is named, and no 'message.sent' with this messageId has arrived.",
        f"2   not_json          -                -            {RECEIVED}  2           1       "
        "The body is not a JSON object.",
        f"1   unknown_event     message.opened   -            {RECEIVED}  {len(unread())}          1       "
        "'event' is not one of Leadterra's four.",
    ]


def test_list_counts_in_words_on_standard_error(run: Run, filled: Database) -> None:
    filled.fill(unread(1))
    assert run("quarantine", "list").stderr == "In quarantine: 1 campaign_unknown, 1 not_json, 2 unknown_event.\n"


def test_an_empty_quarantine_is_nothing(run: Run, database: Database) -> None:
    database.fill(sent())
    result = run("quarantine", "list")
    assert (result.exit_code, result.stderr) == (0, "In quarantine: nothing.\n")
    assert json.loads(run("quarantine", "list", "--json").stdout) == {"data": []}


def test_list_as_json_is_exact_and_alone(run: Run, database: Database) -> None:
    database.fill(unread())
    result = run("quarantine", "list", "--json")
    row = {
        "id": 1,
        "reason": "unknown_event",
        "detail": "'event' is not one of Leadterra's four.",
        "event": "message.opened",
        "campaign_id": None,
        "received_at": RECEIVED,
        "size_bytes": len(unread()),
        "copies": 1,
    }
    assert (result.exit_code, result.stderr, json.loads(result.stdout)) == (0, "", {"data": [row]})


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [(["--reason", "not_json"], [2]), (["--limit", "2"], [3, 2]), (["--reason", "conflict"], []), ([], [3, 2, 1])],
)
def test_list_selects(run: Run, filled: Database, arguments: list[str], ids: list[int]) -> None:
    data = json.loads(run("quarantine", "list", "--json", *arguments).stdout)["data"]
    assert [row["id"] for row in data] == ids


@pytest.mark.parametrize(
    "arguments",
    [["list", "--reason", "spam"], ["list", "--limit", "0"], ["list", "--limit", "2001"], ["show"], ["show", "x"],
     ["show", "0"], ["show", "9223372036854775808"], ["retry", "0"], ["retry", "9223372036854775808"],
     ["retry", "1", "--reason", "not_json"]],
)  # fmt: skip
def test_wrong_usage_ends_with_2(run: Run, filled: Database, arguments: list[str]) -> None:
    result = run("quarantine", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr


def test_ids_and_reason_exclude_each_other(run: Run, filled: Database) -> None:
    result = run("quarantine", "retry", "1", "--reason", "not_json")
    assert result.stderr.splitlines()[-1] == "Error: Name IDs or --reason, not both."


@pytest.mark.parametrize("arguments", [["list"], ["show", "1"]])
def test_control_characters_never_reach_the_terminal(
    run: Run, database: Database, run_on_terminal: Callable[..., str], arguments: list[str]
) -> None:
    database.fill(hostile())
    written = run_on_terminal("quarantine", *arguments)
    assert "\ufffd[31m" in written
    assert not {"\x07", "\u202e", "\u009b", "\x1b[31m"} & {*written, *_sequences(written)}


def _sequences(written: str) -> list[str]:
    return [written[place : place + 5] for place, char in enumerate(written) if char == "\x1b"]


def test_control_characters_are_replaced_in_a_pipe_too(run: Run, database: Database) -> None:
    database.fill(hostile())
    shown = "x\ufffd[31m\ufffd\ufffd\ufffd2Jy"
    assert shown in run("quarantine", "list").stdout
    assert f"event: {shown}\n" in run("quarantine", "show", "1").stderr


def test_json_escapes_control_characters(run: Run, database: Database) -> None:
    database.fill(hostile())
    for arguments in (["list"], ["show", "1"]):
        text = run("quarantine", *arguments, "--json").stdout
        assert text.isascii()
        assert not [char for char in text if ord(char) < 32 and char != "\n"]


@pytest.mark.parametrize("event", ["[bold]x[/bold]", ":bomb:", "[red]", "[/]", "https://x.example/?a=1"])
def test_texts_are_shown_as_they_are(run: Run, database: Database, event: str) -> None:
    database.fill(body(event, "09:00"))
    assert event in run("quarantine", "list").stdout


# show


def test_show_gives_the_raw_body_as_data_and_the_rest_as_words(run: Run, database: Database) -> None:
    raw = b'{"event": "x",\n "z": "\xc3\xa9\xe2\x82\xac"}'
    database.fill(raw)
    result = run("quarantine", "show", "1")
    assert (result.exit_code, result.stdout_bytes) == (0, raw + b"\n")
    assert result.stderr == (
        "id: 1\n"
        "reason: unknown_event\n"
        "detail: 'event' is not one of Leadterra's four.\n"
        "event: x\n"
        "campaign_id: -\n"
        f"received_at: {RECEIVED}\n"
        f"size_bytes: {len(raw)}\n"
        "copies: 1\n"
        "resolved_at: -\n"
    )


def test_show_as_json_holds_the_body_as_text(run: Run, database: Database) -> None:
    database.fill(b"\xff\x00")
    row = json.loads(run("quarantine", "show", "1", "--json").stdout)
    assert (row["body"], row["reason"], row["resolved_at"]) == ("\ufffd\0", "not_json", None)


def test_show_finds_resolved_rows_too(run: Run, database: Database) -> None:
    database.fill(bounced("m1"), sent("m1"))
    row = json.loads(run("quarantine", "show", "1", "--json").stdout)
    assert row["resolved_at"] == RECEIVED


def test_show_of_a_row_that_is_not_there_fails(run: Run, filled: Database) -> None:
    result = run("quarantine", "show", "77")
    text = "There is no row 77 in quarantine; `quarantine list` shows what there is.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", text)


# retry


@pytest.fixture
def due(database: Database) -> Database:
    """Rows 1 and 2 are understood by now, row 3 never."""
    database.fill(sent("m1", AHEAD), sent("m2", AHEAD), unread())
    return database


@pytest.mark.parametrize(
    ("arguments", "counts"),
    [
        ([], (3, 2, 0, 1)),
        (["1"], (1, 1, 0, 0)),
        (["1", "3", "1"], (2, 1, 0, 1)),
        (["77"], (0, 0, 0, 0)),
        (["--reason", "bad_timestamp"], (2, 2, 0, 0)),
        (["--reason", "not_json"], (0, 0, 0, 0)),
    ],
)
def test_retry_counts_what_is_understood_now(
    run: Run, due: Database, arguments: list[str], counts: tuple[int, int, int, int]
) -> None:
    result = run("quarantine", "retry", *arguments, "--json")
    names = ("retried", "stored", "duplicate", "still_quarantined")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == dict(zip(names, counts, strict=True))
    assert (due.sent() if counts[1] else 0) == counts[1]


def test_retry_says_it_in_words(run: Run, due: Database) -> None:
    result = run("quarantine", "retry")
    text = "3 read again: 2 stored, 0 duplicate, 1 still quarantined.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (0, text, "")


def test_retry_takes_more_rows_than_one_transaction(run: Run, database: Database) -> None:
    database.fill(*(unread(number) for number in range(501)))
    assert run("quarantine", "retry").stdout == "501 read again: 0 stored, 0 duplicate, 501 still quarantined.\n"


def test_beside_a_running_server_all_of_it_works(run: Run, due: Database, start: Callable[..., Server]) -> None:
    """One server for all, since each takes its time to start; it takes rows 1 and 2 in by itself only later."""
    server = start(RECEIVER_CLOCK__START="2025-06-11T09:30:00Z", RECEIVER_LEADTERRA__BASE_URL="http://127.0.0.1:9")
    assert run("quarantine", "list").stderr == "In quarantine: 2 bad_timestamp, 1 unknown_event.\n"
    assert run("quarantine", "show", "3").stdout_bytes == unread() + b"\n"
    for arguments, rows in (([], 3), (["1", "3", "3"], 2), (["--reason", "not_json"], 0)):
        result = run("quarantine", "retry", *arguments)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == f"{rows} read again: 0 stored, 0 duplicate, {rows} still quarantined.\n"
    counts_of_one = {"retried": 1, "stored": 0, "duplicate": 0, "still_quarantined": 1}
    assert json.loads(run("quarantine", "retry", "3", "--json").stdout) == counts_of_one
    assert server.stop() == 0
