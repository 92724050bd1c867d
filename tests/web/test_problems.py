"""One error body for every error, and nothing of our own faults outside."""

import ast
import json
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from receiver import errors
from receiver.errors import InvalidParameterError, QueryTimeoutError, ReceiverError, StorageError, UnavailableError
from receiver.web.problems import STATUS_BY_CODE, headers_of, problem, problem_of
from tests.web.conftest import Api, Start, sent
from tests.web.conftest import problem as expected

INTERNAL = expected(500, "Internal Server Error", "internal", "Something went wrong here; the log has the details.")


def test_every_documented_code_has_its_status() -> None:
    assert dict(STATUS_BY_CODE) == {
        "invalid_parameter": 400,
        "too_many_rows": 400,
        "invalid_request": 400,
        "signature_invalid": 401,
        "unauthorized": 401,
        "forbidden": 403,
        "not_found": 404,
        "campaign_not_found": 404,
        "method_not_allowed": 405,
        "body_timeout": 408,
        "header_timeout": 408,
        "reconciliation_off": 409,
        "body_too_large": 413,
        "unsupported_encoding": 415,
        "too_many_attempts": 429,
        "header_too_large": 431,
        "internal": 500,
        "unavailable": 503,
        "query_timeout": 503,
    }


@pytest.mark.parametrize("code", STATUS_BY_CODE)
def test_every_code_gives_the_same_members(code: str) -> None:
    status, body = problem(code, "Why.")
    found = json.loads(body)
    assert list(found) == ["type", "title", "status", "detail", "code"]
    assert (found["type"], found["status"], found["detail"], found["code"]) == ("about:blank", status, "Why.", code)
    assert status == STATUS_BY_CODE[code]


def test_the_body_is_compact_json_in_a_fixed_order() -> None:
    assert problem("invalid_parameter", "'limit' is '0'; use 1 to 2000.", "limit") == (
        400,
        b'{"type":"about:blank","title":"Bad Request","status":400,"detail":"\'limit\' is \'0\'; use 1 to 2000.",'
        b'"code":"invalid_parameter","parameter":"limit"}',
    )


def test_errors_are_not_kept_by_caches_and_say_when_to_try_again() -> None:
    common = [(b"content-type", b"application/problem+json"), (b"cache-control", b"no-store")]
    assert headers_of(QueryTimeoutError("Slow.")) == common
    assert headers_of(UnavailableError("Full.", 7)) == [*common, (b"retry-after", b"7")]


@pytest.mark.parametrize("error", [ReceiverError("/secret/path"), StorageError("/secret/path")])
def test_an_error_without_a_place_in_the_table_tells_nothing(error: ReceiverError) -> None:
    status, body = problem_of(error)
    assert (status, json.loads(body)["code"]) == (500, "internal")
    assert b"secret" not in body


def test_a_parameter_is_named_apart() -> None:
    assert json.loads(problem_of(InvalidParameterError("q", "Bad."))[1])["parameter"] == "q"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/campaigns?x", 400, "invalid_parameter"),
        ("POST", "/webhooks/leadterra", 401, "signature_invalid"),
        ("POST", "/v1/rebuild", 403, "forbidden"),
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/v1/campaigns/nobody", 404, "campaign_not_found"),
        ("DELETE", "/v1/campaigns", 405, "method_not_allowed"),
        ("GET", "/webhooks/leadterra", 405, "method_not_allowed"),
    ],
)
async def test_every_refusal_looks_alike(api: Api, method: str, path: str, status: int, code: str) -> None:
    response = await api.ask(method, path)
    assert (response.status_code, response.json()["status"], response.json()["code"]) == (status, status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-length"] == str(len(response.content))
    assert response.headers["x-request-id"]


async def test_an_unsigned_delivery_gets_one_constant_body(api: Api) -> None:
    detail = "The signature is missing or matches no secret."
    for headers in ({}, {"X-Leadterra-Signature": "0" * 64}, {"X-Leadterra-Signature": "nonsense"}):
        response = await api.client.post("/webhooks/leadterra", content=sent(), headers=headers)
        assert response.json() == expected(401, "Unauthorized", "signature_invalid", detail)


async def test_a_fault_of_ours_is_told_to_the_log_only(api: Api) -> None:
    await api.service.database.readers.close()
    with capture_logs() as lines:
        response = await api.get("/v1/campaigns", headers={"X-Request-ID": "find-me"})
    assert (response.status_code, response.json()) == (500, INTERNAL)
    assert [(line["event"], line["request_id"], line["log_level"]) for line in lines] == [
        ("request_failed", "find-me", "error")
    ]
    assert isinstance(lines[0]["exc_info"], Exception)


async def test_a_damaged_database_is_told_to_the_log_only(start: Start, tmp_path: Path) -> None:
    api = await start()
    await api.service.database.store._writing.run(lambda _, conn: conn.execute("DROP TABLE replies"))
    with capture_logs() as lines:
        response = await api.get("/v1/events")
    assert (response.status_code, response.json()) == (500, INTERNAL)
    assert lines[0]["request_id"] == response.headers["x-request-id"]


async def test_an_error_without_a_code_of_ours_is_logged_with_its_text(api: Api) -> None:
    async def fail(*_: object) -> None:
        raise StorageError("The file 'x' is gone.")

    api.service.database.readers.run = fail  # type: ignore[method-assign,assignment] # a fault that no test can plant otherwise
    with capture_logs() as lines:
        response = await api.get("/v1/campaigns")
    assert response.json() == INTERNAL
    assert (lines[0]["code"], lines[0]["error"]) == ("storage", "The file 'x' is gone.")


async def test_a_fault_while_taking_in_is_answered_like_any_other(api: Api) -> None:
    async def fail(_: object) -> None:
        raise RuntimeError("secret")

    api.service.writer.submit = fail  # type: ignore[method-assign,assignment] # a fault that no test can plant otherwise
    with capture_logs() as lines:
        response = await api.deliver(sent(), **{"X-Request-ID": "find-me"})
    assert (response.status_code, response.json()) == (500, INTERNAL)
    assert [(line["event"], line["request_id"]) for line in lines] == [("delivery_failed", "find-me")]
    assert 'receiver_deliveries_total{outcome="internal"} 1.0' in (await api.get("/metrics")).text


def test_every_error_class_has_a_stable_code_of_its_own() -> None:
    tree = ast.parse(Path(errors.__file__).read_text())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    codes = [getattr(errors, node.name).code for node in classes]
    assert len(set(codes)) == len(codes) == 15
