"""CSV and NDJSON: columns, cells, negotiation, headers; and that they say what the JSON says."""

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.storage.sqlite import reconciliation
from receiver.web import tables
from receiver.web.answers import Answer, Rate
from receiver.web.formats import Format, Lines, columns, negotiated
from receiver.web.operation import Operation, Table
from tests.web.conftest import KEYS, Api, Start, bounced, invalid, replied, sent, started, unread
from tests.web.test_routes import OPERATIONS

LISTS = {
    "/v1/campaigns": tables.CAMPAIGNS,
    "/v1/campaigns/{campaign_id}/steps": tables.STEPS,
    "/v1/series": tables.SERIES,
    "/v1/bounces": tables.BOUNCES,
    "/v1/replies": tables.REPLIES,
    "/v1/campaigns/{campaign_id}/drift": tables.DRIFT_OF_CAMPAIGN,
    "/v1/drift": tables.DRIFT,
    "/v1/reconciliations": tables.RECONCILIATIONS,
    "/v1/events": tables.EVENTS,
    "/v1/quarantine": tables.QUARANTINE,
}
PATHS = [path.replace("{campaign_id}", "a") for path in LISTS]
RATES = "rates_bounce_rate,rates_hard_bounce_rate,rates_reply_rate,rates_lead_reply_rate,rates_human_reply_rate"
PARTS = "delta,before_receiver,definition,skew,quarantined,settling,not_accepting,unexplained,at_least"
DRIFT = ",".join(f"{figure}_{part}" for figure in ("sent", "bounced", "replied") for part in PARTS.split(","))
OF_DRIFT = f"campaign_id,status,{DRIFT},snapshot_at"
PROVIDER = "sent,delivered,bounced,replied,queued,total_enrolled,open_rate,reply_rate,fetched_at,stale"
COMPARED = ",".join(f"provider_{name}" for name in PROVIDER.split(","))
COMPARED += ",reconciled_sent,reconciled_bounced,reconciled_replied"
FIGURES = "sent,attempted,accepted,contacted,bounced,bounced_hard,bounced_soft,replies,replied,replied_human"
COLUMNS = {
    "/v1/campaigns": "campaign_id,name,status,activity,started_at,last_started_at,first_event_at,last_event_at,"
    f"{FIGURES},starts,{COMPARED},{RATES},drift_status," + ",".join(f"drift_{name}" for name in DRIFT.split(",")),
    "/v1/campaigns/a/steps": f"step,{FIGURES},{RATES}",
    "/v1/series": "time,sent,bounced,replied,lost,ended,settled,receiver_up,coverage",
    "/v1/bounces": "reason,bounced,bounced_hard,bounced_soft,share",
    "/v1/replies": "classification,replies,replied",
    "/v1/campaigns/a/drift": OF_DRIFT,
    "/v1/drift": OF_DRIFT,
    "/v1/reconciliations": "id,trigger,status,started_at,ended_at,campaigns,done,failed,differing",
    "/v1/events": "seq,event,campaign_id,message_id,step,occurred_at,received_at,origin,copies",
    "/v1/quarantine": "id,reason,detail,event,campaign_id,received_at,size_bytes,copies",
}


@pytest.fixture
async def filled(api: Api) -> Api:
    await api.post(
        started("a", name="=1+2"), sent(), sent("m2", step=None), bounced(), replied(message="m1"),
        started("b", name='Ä "b",\r\nc'), sent("-m3", campaign="b"), bounced("waits"), unread(),
    )  # fmt: skip
    await api.service.database.store.transact(lambda conn: reconciliation.begin_run(conn, "schedule", api.clock.now))
    return api


def test_every_list_says_that_it_is_a_table() -> None:
    found = {operation.path: operation.table for operation in OPERATIONS if operation.table is not None}
    assert found == LISTS
    listed = {operation.path for operation in OPERATIONS if "data" in getattr(operation.answer, "model_fields", {})}
    assert listed == LISTS.keys()


@pytest.mark.parametrize("path", LISTS)
def test_a_table_is_made_of_what_its_operation_answers(path: str) -> None:
    operation: Operation = next(found for found in OPERATIONS if found.path == path)
    assert operation.table is not None
    assert operation.answer is not None
    assert operation.params is operation.table.params
    assert operation.answer.model_fields["data"].annotation == list[operation.table.row]  # type: ignore[name-defined] # a type made here
    assert "format" in operation.params.model_fields
    assert [f"{{{part}}}" for part in operation.table.path] == [part for part in path.split("/") if "{" in part]


@pytest.mark.parametrize("path", PATHS)
async def test_the_header_names_the_columns(filled: Api, path: str) -> None:
    response = await filled.get(f"{path}?format=csv")
    assert response.content.split(b"\r\n")[0].decode() == COLUMNS[path]


async def test_csv_is_answered_exactly(filled: Api) -> None:
    response = await filled.get("/v1/events?format=csv&limit=3")
    assert response.content.decode() == (
        "seq,event,campaign_id,message_id,step,occurred_at,received_at,origin,copies\r\n"
        "8,message.bounced,,waits,,2025-06-11T09:05:00Z,2025-06-11T09:30:00Z,webhook,1\r\n"
        "7,message.sent,b,'-m3,1,2025-06-11T09:00:00Z,2025-06-11T09:30:00Z,webhook,1\r\n"
        "6,campaign.started,b,,,2025-06-11T08:00:00Z,2025-06-11T09:30:00Z,webhook,1\r\n"
    )


async def test_ndjson_is_answered_exactly(filled: Api) -> None:
    response = await filled.get("/v1/events?format=ndjson&limit=2")
    assert response.content.decode() == (
        '{"seq":8,"event":"message.bounced","campaign_id":null,"message_id":"waits","step":null,'
        '"occurred_at":"2025-06-11T09:05:00Z","received_at":"2025-06-11T09:30:00Z","origin":"webhook","copies":1}\n'
        '{"seq":7,"event":"message.sent","campaign_id":"b","message_id":"-m3","step":1,'
        '"occurred_at":"2025-06-11T09:00:00Z","received_at":"2025-06-11T09:30:00Z","origin":"webhook","copies":1}\n'
    )


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row of JSON with one level of names, made without looking at any model."""
    found = {}
    for name, value in row.items():
        if name == "observed":
            found.update(value)
        elif name == "rates":
            found.update({f"rates_{rate}": parts["value"] for rate, parts in value.items()})
        elif name == "drift":
            found.update({f"drift_{part}": parts for part, parts in value.items()})
        else:
            found[name] = value
    return found


def as_cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return f"'{value}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def filled_up(row: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """A row with a null for every field of an object that is null; a list in it is JSON's alone."""
    absent = [name for name, value in row.items() if value is None and name not in names]
    inside = [name for name in names if any(name.startswith(f"{above}_") for above in absent)]
    known = {name: value for name, value in row.items() if name not in absent and name != "errors"}
    return known | dict.fromkeys(inside)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("query", ["", "limit=1"])
async def test_csv_read_back_is_the_json(filled: Api, path: str, query: str) -> None:
    if query and any(part in path for part in ("steps", "series", "a/drift")):
        return
    text = (await filled.get(f"{path}?{query}&format=csv")).content.decode()
    names = text.partition("\r\n")[0].split(",")
    rows = [filled_up(flat(row), names) for row in (await filled.json(f"{path}?{query}"))["data"]]
    assert list(csv.DictReader(io.StringIO(text, newline=""))) == [
        {name: as_cell(value) for name, value in row.items()} for row in rows
    ]
    lines = (await filled.get(f"{path}?{query}&format=ndjson")).content.decode().splitlines()
    assert [json.loads(line) for line in lines] == rows
    assert len(rows) > 0


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+2", "'=1+2"), ("+1", "'+1"), ("-1", "'-1"), ("@a", "'@a"), ("\ta", "'\ta"), ("\ra", "\"'\ra\""),
        ("a=b", "a=b"), (" =1", " =1"), ("'=1", "'=1"), ('a"b', '"a""b"'), ("a,b", '"a,b"'), ("a\nb", '"a\nb"'),
        (-1, "-1"), (-0.5, "-0.5"), (0, "0"), (0.041667, "0.041667"), (None, '""'), (True, "true"), (False, "false"),
        ([1, "=a"], '"[1,""=a""]"'), ("Ä😀", "Ä😀"),
    ],
)  # fmt: skip
def test_a_cell_is_no_formula_and_loses_nothing(value: object, cell: str) -> None:
    assert Lines(Format.CSV, {"a": ("a",)}).of([{"a": value}]).decode() == f"{cell}\r\n"


TEXTS = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(["=", "-1", "\r\n", '"', "a\tb"])


@given(st.lists(st.tuples(TEXTS, TEXTS | st.none() | st.integers())))
def test_any_text_comes_back_from_csv(rows: list[tuple[str, object]]) -> None:
    lines = Lines(Format.CSV, {"a": ("a",), "b": ("b",)})
    written = lines.head() + lines.of({"a": a, "b": b} for a, b in rows)
    read = list(csv.reader(io.StringIO(written.decode(), newline="")))
    assert read == [["a", "b"], *([as_cell(a), as_cell(b)] for a, b in rows)]
    assert not [cell for row in read[1:] for cell in row[:1] if cell[:1] in set("=+-@\t\r") - {""}]


class Known(Answer):
    delta: int | None
    parts: list[str]


class Unknown(Answer):
    delta: None
    why: str


class Sample(Answer):
    id: Literal["a"]
    nothing: None
    observed: Known
    state: Unknown | Known | None
    reply_rate: Rate


def test_columns_are_leaf_paths_with_unions_joined() -> None:
    assert columns(Sample) == {
        "id": ("id",),
        "delta": ("observed", "delta"),
        "parts": ("observed", "parts"),
        "state_why": ("state", "why"),
        "state_delta": ("state", "delta"),
        "state_parts": ("state", "parts"),
        "reply_rate": ("reply_rate", "value"),
    }
    assert list(columns(Sample, {"reply_rate", "id"})) == ["id", "reply_rate"]


def test_a_missing_part_is_an_empty_cell() -> None:
    lines = Lines(Format.CSV, columns(Sample, {"id", "state"}))
    rows: list[dict[str, Any]] = [{"id": "a", "state": None}, {"id": "b", "state": {"why": "x", "delta": None}}]
    assert lines.of(rows) == b"a,,,\r\nb,x,,\r\n"


# Which format.


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "json"), ("*/*", "json"), ("application/json", "json"), ("text/csv", "csv"), ("TEXT/CSV", "csv"),
        ("application/x-ndjson", "ndjson"), ("text/*", "csv"), ("application/*", "json"), ("image/png", "json"),
        ("text/csv, application/json", "json"), ("text/csv, application/json;q=0.9", "csv"),
        ("text/csv;q=0.5, */*;q=0.1", "csv"), ("text/csv;q=0.5, */*", "json"), ("text/csv;q=0", "json"),
        ("application/json;q=0, */*", "csv"), ("application/json;q=0, text/csv;q=0, */*;q=0.1", "ndjson"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "json"),
        ("text/csv; charset=utf-8; q=0.8, application/json; q=0.7", "csv"), ("text/csv ; Q=1", "csv"),
        ("text/csv;q=2", "json"), ("text/csv;q=x", "json"), ("text/csv;q=nan", "json"), ("csv", "json"),
        (",,;q=1,/", "json"), ("text/csv;q=0.001", "csv"), ("*/*;q=0.5, application/x-ndjson;q=0.6", "ndjson"),
    ],
)  # fmt: skip
def test_what_accept_likes_best_is_answered(accept: str, expected: str) -> None:
    assert negotiated(accept) == expected


@pytest.mark.parametrize(
    ("query", "accept", "content_type"),
    [
        ("", "text/csv", "text/csv; charset=utf-8"),
        ("", "application/x-ndjson", "application/x-ndjson"),
        ("", "*/*", "application/json"),
        ("?format=csv", "application/json", "text/csv; charset=utf-8"),
        ("?format=json", "text/csv", "application/json"),
        ("?format=ndjson", "text/csv", "application/x-ndjson"),
    ],
)
@pytest.mark.parametrize("path", PATHS)
async def test_the_parameter_beats_accept(filled: Api, path: str, query: str, accept: str, content_type: str) -> None:
    response = await filled.get(path + query, headers={"Accept": accept})
    assert response.headers["content-type"] == content_type
    assert response.headers["vary"] == "Accept, Accept-Encoding"


async def test_several_accept_headers_are_one(filled: Api) -> None:
    headers = [("Accept", "text/csv"), ("Accept", "image/png")]
    response = await filled.client.get("/v1/events", headers=headers)
    assert response.headers["content-type"] == "text/csv; charset=utf-8"


async def test_what_is_no_list_stays_json(filled: Api) -> None:
    response = await filled.get("/v1/campaigns/a", headers={"Accept": "text/csv"})
    assert (response.headers["content-type"], response.headers["vary"]) == ("application/json", "Accept-Encoding")
    known = "'format' is not a parameter here; known are: none."
    assert await filled.refused("/v1/campaigns/a?format=csv") == invalid("format", known)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("value", ["", "CSV", "xlsx", "parquet"])
async def test_an_unknown_format_is_refused(filled: Api, path: str, value: str) -> None:
    found = await filled.refused(f"{path}?format={value}")
    assert found == invalid("format", f"'format' is '{value}'; use json, csv or ndjson.")


# What goes along.


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("/v1/campaigns?format=csv", "campaigns.csv"),
        ("/v1/events?format=ndjson", "events.ndjson"),
        ("/v1/quarantine?format=csv", "quarantine.csv"),
        ("/v1/campaigns/a/steps?format=csv", "steps-a.csv"),
        ("/v1/campaigns/x:y..z/steps?format=csv", "steps-x_y_z.csv"),
    ],
)
async def test_an_export_says_its_name_and_its_times(filled: Api, url: str, name: str) -> None:
    await filled.post(sent("m9", campaign="x:y..z"))
    headers = (await filled.get(url)).headers
    assert headers["content-disposition"] == f'attachment; filename="{name}"'
    assert headers["receiver-as-of"] == "2025-06-11T09:30:00Z"
    assert headers["receiver-settled-until"] == "2025-06-10T22:39:00Z"
    assert headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize("path", [path for path in PATHS if path != "/v1/reconciliations"])
async def test_each_format_has_an_entity_tag_of_its_own(filled: Api, path: str) -> None:
    tags = [(await filled.get(f"{path}?format={name}")).headers["etag"] for name in ("csv", "ndjson", "json")]
    tags.append((await filled.get(path, headers={"Accept": "text/csv"})).headers["etag"])
    tags.append((await filled.get(path)).headers["etag"])
    assert len(set(tags)) == 5
    headers = {"Accept": "text/csv", "If-None-Match": tags[3]}
    assert (await filled.get(path, headers=headers)).status_code == 304
    assert (await filled.get(path, headers={"If-None-Match": tags[3]})).status_code == 200


@pytest.mark.parametrize("format_", ["csv", "ndjson"])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
async def test_head_of_an_export_is_get_without_the_body(filled: Api, format_: str, coding: str) -> None:
    await filled.post(*(sent(f"n{number}") for number in range(30)))
    url = f"/v1/events?format={format_}"
    headers = {"X-Request-ID": "same", "Accept-Encoding": coding}
    full, head = await filled.get(url, headers=headers), await filled.ask("HEAD", url, headers=headers)
    assert (head.status_code, head.headers) == (200, full.headers)
    assert full.headers.get("content-encoding") == (None if coding == "identity" else "gzip")
    assert await filled.bytes_sent("HEAD", url) == b""
    assert full.content.count(b"\n") == 38 + (format_ == "csv")
    if coding == "identity":
        assert int(full.headers["content-length"]) == len(full.content)


async def test_a_small_export_is_not_compressed(api: Api) -> None:
    response = await api.get("/v1/events?format=csv")
    assert "content-encoding" not in response.headers
    assert response.text.count("\r\n") == 1


async def test_an_export_needs_a_key_and_says_what_is_not_there(start: Start, api: Api) -> None:
    keyed = await start(**KEYS)
    assert (await keyed.get("/v1/events?format=csv")).status_code == 401
    found = await api.refused("/v1/campaigns/nobody/steps?format=csv", 404)
    assert found["code"] == "campaign_not_found"
    assert (await api.refused("/v1/events?format=csv&from=never"))["parameter"] == "from"


def test_a_row_may_have_fewer_fields_than_its_model() -> None:
    table = Table("x", tables.EVENTS.params, tables.EVENTS.row, tables.EVENTS.rows, fields=lambda _: {"seq"})
    assert table.fields is not None


@pytest.mark.skipif(not shutil.which("soffice"), reason="needs LibreOffice: apt-get install libreoffice-calc-nogui")
async def test_libreoffice_finds_no_formula(filled: Api, tmp_path: Path) -> None:
    await filled.post(*(started(f"f{n}", name=name) for n, name in enumerate(["+1+1", "-1+1", "@SUM(A1)", "\t=1+1"])))
    (tmp_path / "campaigns.csv").write_bytes((await filled.get("/v1/campaigns?format=csv")).content)
    command = ["soffice", "--headless", f"-env:UserInstallation=file://{tmp_path}/profile", "--convert-to", "fods"]
    subprocess.run([*command, "campaigns.csv"], cwd=tmp_path, check=True, capture_output=True, timeout=100)
    sheet = (tmp_path / "campaigns.fods").read_text("utf-8")
    assert "table:formula" not in sheet
    assert "=1+2" in sheet
