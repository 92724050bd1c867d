"""The description: valid, complete, of the code as it is, and kept by every answer."""

import asyncio
import base64
import hashlib
import os
import re
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from receiver.web.openapi import codes, described
from receiver.web.operation import Operation
from receiver.web.problems import STATUS_BY_CODE
from receiver.web.routes import WEBHOOK_PATH
from tests.web.conftest import KEYS, Api, Start, bounced, replied, sent, started, unread
from tests.web.test_routes import NAMES, OPERATIONS

# No delivery is signed here, no key guessed, nor any file's hash; and without an API key there is nobody to ask.
NEVER_GOOD = {
    f"POST {WEBHOOK_PATH}",
    "POST /v1/reconciliations",
    "POST /sign-in",
    "GET /static/{version}/{name}",
}
ROUNDS = int(os.environ.get("TEST_ROUNDS", "15"))
DOCUMENT = described(OPERATIONS, WEBHOOK_PATH, "")
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance,
]  # fmt: skip


def test_it_is_valid_openapi_3_1() -> None:
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []
    assert DOCUMENT["openapi"].startswith("3.1")


async def test_it_is_what_the_service_answers(api: Api) -> None:
    response = await api.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    assert response.json() == DOCUMENT


async def test_it_needs_a_key(start: Start) -> None:
    keyed = await start(**KEYS)
    for path in ("/openapi.json", "/docs"):
        assert (await keyed.get(path)).status_code == 401


def test_it_has_every_route_and_no_other() -> None:
    found = {f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert found == {*NAMES, f"POST {WEBHOOK_PATH}"}


def of(operation: Operation) -> Any:
    return DOCUMENT["paths"][operation.path][operation.method.lower()]


@pytest.mark.parametrize("operation", OPERATIONS, ids=NAMES)
def test_it_says_who_may_ask_and_with_what(operation: Operation) -> None:
    found = of(operation)
    assert found["security"] == ([] if operation.access.name == "OPEN" else [{"key": []}])
    asked = {parameter["name"] for parameter in found["parameters"] if parameter["in"] == "query"}
    assert asked == {field.alias or name for name, field in operation.params.model_fields.items()}
    in_path = {parameter["name"] for parameter in found["parameters"] if parameter["in"] == "path"}
    assert in_path == set(re.findall(r"{(\w+)}", operation.path))
    assert ("requestBody" in found) is (operation.body is not None)


@pytest.mark.parametrize("operation", OPERATIONS, ids=NAMES)
def test_it_names_the_code_of_every_problem(operation: Operation) -> None:
    named = {
        int(status): response["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]["code"][
            "enum"
        ]
        for status, response in of(operation)["responses"].items()
        if int(status) >= 400
    }
    assert {(STATUS_BY_CODE[code], code) for code in codes(operation)} == {
        (status, code) for status, listed in named.items() for code in listed
    }
    assert {"internal", "invalid_parameter", *operation.errors} <= set(codes(operation))


def test_a_list_is_also_csv_and_ndjson() -> None:
    content = DOCUMENT["paths"]["/v1/events"]["get"]["responses"]["200"]["content"]
    assert list(content) == ["application/json", "text/csv", "application/x-ndjson"]


def test_a_parameter_is_described_as_it_is_checked() -> None:
    parameters = DOCUMENT["paths"]["/v1/events"]["get"]["parameters"]
    assert {parameter["name"]: parameter["schema"] for parameter in parameters} == {
        "event": {
            "type": "string",
            "enum": ["campaign.started", "message.sent", "message.bounced", "reply.received"],
        },
        "campaign_id": {"type": "string", "minLength": 1, "maxLength": 128},
        "message_id": {"type": "string", "minLength": 1, "maxLength": 512},
        "from": {"type": "string", "maxLength": 40},
        "to": {"type": "string", "maxLength": 40},
        "limit": {"type": "integer", "minimum": 1, "maximum": 2000, "default": 100},
        "cursor": {"type": "string", "maxLength": 2000},
        "format": {"type": "string", "enum": ["json", "csv", "ndjson"]},
    }
    assert parameters[5]["description"] == "Allowed: 1 to 2000."


def test_the_server_is_where_the_settings_say() -> None:
    assert described(OPERATIONS, WEBHOOK_PATH, "/receiver")["servers"] == [{"url": "/receiver"}]
    assert DOCUMENT["servers"] == [{"url": "/"}]


# The page.


async def test_the_page_loads_nothing_and_runs_nothing(api: Api) -> None:
    response = await api.get("/docs")
    page = response.text
    style = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    assert response.headers["content-security-policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert len(style) == 1
    assert not re.search(r"<script|<img|<link|<iframe|javascript:|\son\w+=|\sstyle=|https?://|url\(|@import", page)


def test_an_operation_names_every_problem_it_may_answer() -> None:
    answers = DOCUMENT["paths"]["/v1/series"]["get"]["responses"]
    found = {
        status: response["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]["code"]["enum"]
        for status, response in answers.items()
        if status >= "400"
    }
    assert found == {
        "400": ["invalid_parameter", "too_many_rows"],
        "401": ["unauthorized"],
        "403": ["forbidden"],
        "404": ["campaign_not_found"],
        "429": ["too_many_attempts"],
        "500": ["internal"],
        "503": ["query_timeout", "unavailable"],
    }


async def test_the_page_names_all_there_is(api: Api) -> None:
    page = (await api.get("/docs")).text
    for name in [*NAMES, f"POST {WEBHOOK_PATH}"]:
        assert f'<h3 class="{name.split()[0].lower()}">{name}</h3>' in page
    for name in [
        *DOCUMENT["components"]["schemas"],
        *STATUS_BY_CODE.keys() - {"reconciliation_off", "too_many_rows"},
    ]:
        assert name in page
    links = set(re.findall(r'href="#(\w+)"', page))
    assert links <= set(re.findall(r'id="(\w+)"', page))
    assert len(links) == len(NAMES) + 1 + len(DOCUMENT["components"]["schemas"]) - 1  # all link to Problem in words


# Answers.

_FREE = ("from", "to", "active_from", "active_to", "cursor", "q", "campaign_id", "message_id")
_CHOICES = ("reason", "event", "status", "activity", "min_sent", "format")

EVERY = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]


@pytest.mark.parametrize(("path", "method"), EVERY)
@pytest.mark.parametrize(
    "rounds", [min(ROUNDS, 15), pytest.param(max(ROUNDS, 200), marks=pytest.mark.slow)], ids=["few", "many"]
)
async def test_every_answer_is_as_described(admin: Api, path: str, method: str, rounds: int) -> None:
    """Hypothesis runs in a thread of its own: its rounds are not coroutines, the service's loop is this one."""
    await admin.post(
        started("a", name="=A"),
        sent(),
        bounced(),
        replied(message="m1"),
        sent("m2", step=None),
        unread(),
        bounced("x"),
    )
    loop = asyncio.get_running_loop()
    operation = schemathesis.openapi.from_dict(DOCUMENT)[path][method.upper()]

    def answered(request: Mapping[str, Any]) -> httpx.Response:
        return asyncio.run_coroutine_threadsafe(admin.ask(**request), loop).result(60)

    @settings(max_examples=rounds, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(operation.as_strategy(), st.sampled_from([{*_FREE}, {*_FREE, *_CHOICES}, set()]))
    def run(case: schemathesis.Case[Any], dropped: set[str]) -> None:
        """Random texts find nothing: some cases go without them, and some of those ask for all there is."""
        if dropped and "campaign_id" in case.path_parameters:
            case.path_parameters["campaign_id"] = "a"
        case.query = {name: value for name, value in case.query.items() if name not in dropped}
        given = case.as_transport_kwargs(base_url="http://127.0.0.1:8000")
        keys = ("method", "url", "params", "json", "data", "headers")
        request = {key: given[key] for key in keys if given.get(key) is not None}
        if isinstance(request.get("data"), str | bytes):
            request["content"] = request.pop("data")
        made_up = {name: value for name, value in request.get("headers", {}).items() if name != "Authorization"}
        response = answered({**request, "headers": made_up})  # with the admin's key
        statuses.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    statuses: set[int] = set()
    await asyncio.to_thread(run)
    name = f"{operation.method.upper()} {path}"
    lowest = 400 if name == "POST /sign-out" else 300
    assert name in NEVER_GOOD or min(statuses) < lowest  # it would be easy to be right about refusals only
