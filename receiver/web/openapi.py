"""The API's description, OpenAPI 3.1, made from the route table and the models that check and answer requests."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from receiver import __version__
from receiver.definitions import DEFINITIONS
from receiver.web.access import Role
from receiver.web.formats import CONTENT_TYPES, Format
from receiver.web.operation import Operation
from receiver.web.params import Params
from receiver.web.problems import STATUS_BY_CODE

Json = dict[str, Any]

_REF = "#/components/schemas/{model}"
_PROBLEM_TYPE = "application/problem+json"
_TEXTS = {
    400: "A parameter is not allowed.",
    401: "No key, or none that is known.",
    403: "Not with this key.",
    404: "Not known here.",
    408: "The body came too slowly.",
    409: "Not in this state.",
    413: "The body is too large.",
    415: "The body is compressed.",
    429: "Too many wrong keys from this address.",
    500: "A fault of the receiver.",
    503: "Not now; try again.",
}
_PATH_PARTS: Mapping[str, Json] = {
    "campaign_id": {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,128}$"},
    "version": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
    "name": {"type": "string", "pattern": "^[a-z0-9_.-]+$"},
}
_PROBLEM: Json = {
    "type": "object",
    "description": "RFC 9457; `detail` names the thing, its value and what is allowed.",
    "properties": {
        "type": {"const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "enum": list(STATUS_BY_CODE)},
        "parameter": {"type": "string", "description": "With status 400: which one."},
    },
    "required": ["type", "title", "status", "detail", "code"],
    "additionalProperties": False,
}
_WEBHOOK_CODES = (
    "signature_invalid", "body_timeout", "body_too_large", "unsupported_encoding", "internal", "unavailable",
)  # fmt: skip
_ROLES = {
    Role.OPEN: "Open to all.",
    Role.ANALYST: "Needs an analyst's key, if any key is configured.",
    Role.ADMIN: "Needs an admin's key.",
}


def described(operations: Sequence[Operation], webhook_path: str, base_url: str) -> Json:
    """The whole description; `operations` are all but the webhook."""
    models = [operation.answer for operation in operations if operation.answer is not None]
    bodies = [operation.body for operation in operations if operation.body is not None]
    paths: Json = {webhook_path: {"post": _webhook()}}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "leadterra-receiver",
            "version": __version__,
            "description": "Takes Leadterra's webhooks in and serves figures that say how far they can be trusted. "
            "HEAD is GET without the body, and without the length of long CSV and NDJSON; OPTIONS says what a path "
            "allows. Any connection may be ended with a Problem of its own: 400 `invalid_request`, "
            "408 `header_timeout`, 431 `header_too_large`, 503 `unavailable`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base_url or "/"}],
        "paths": paths,
        "components": {
            "schemas": {**_schemas(models, bodies), "Problem": _PROBLEM},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An access key."}},
        },
    }


def codes(operation: Operation) -> list[str]:
    """The codes of all problems that an operation may answer."""
    found = ["invalid_parameter"]
    if operation.access is not Role.OPEN:
        found += ["unauthorized", "forbidden", "too_many_attempts"]
    if "{" in operation.path:
        found.append("not_found")
    if operation.body is not None:
        found += ["body_too_large", "body_timeout", "unavailable"]
    if operation.cached:
        found.append("query_timeout")
    if operation.table is not None:
        found.append("unavailable")
    return list(dict.fromkeys([*found, *operation.errors, "internal"]))


def _operation(operation: Operation) -> Json:
    found: Json = {
        "operationId": "_".join([operation.method.lower(), *operation.path.strip("/").split("/")]).translate(_PLAIN),
        "summary": operation.summary,
        "description": _ROLES[operation.access],
        "parameters": [*_path_parameters(operation.path), *_query_parameters(operation.params)],
        "responses": _responses(operation),
        "security": [] if operation.access is Role.OPEN else [{"key": []}],
    }
    if operation.body is not None:
        schema = {"$ref": _REF.format(model=operation.body.__name__)}
        type_ = "application/x-www-form-urlencoded" if operation.form else "application/json"
        found["requestBody"] = {"required": operation.form, "content": {type_: {"schema": schema}}}
    return found


_PLAIN = str.maketrans({"{": None, "}": None, ".": "_", "-": "_"})


def _path_parameters(path: str) -> list[Json]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": _PATH_PARTS[name]} for name in names]


def _query_parameters(model: type[Params]) -> list[Json]:
    schema = model.model_json_schema()
    found = []
    for name, property_ in schema.get("properties", {}).items():
        plain = _plain(property_, schema.get("$defs", {}))
        parameter = {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": plain}
        if "allowed" in property_:
            parameter["description"] = f"Allowed: {property_['allowed']}."
        found.append(parameter)
    return found


def _plain(schema: Json, definitions: Mapping[str, Json]) -> Json:
    """A query parameter's schema: it is absent rather than null, and stands alone."""
    rest = {name: value for name, value in schema.items() if name not in ("allowed", "title", "anyOf", "$ref")}
    if rest.get("default", 0) is None:
        del rest["default"]
    parts = [part for part in schema.get("anyOf", [schema]) if part != {"type": "null"}]
    for part in parts:
        named = definitions.get(part.get("$ref", "").rpartition("/")[2], part)
        rest = {key: value for key, value in named.items() if key not in _WORDS} | rest
    return {_BOUNDS.get(key, key): value for key, value in rest.items()}


# What pydantic calls the bounds of a number that has a validator of its own.
_BOUNDS = {"ge": "minimum", "le": "maximum"}
_WORDS = {"title", "description", "allowed", "anyOf", "$ref", "default"}


def _responses(operation: Operation) -> Json:
    found = {str(status): _success(operation) for status in (operation.status, operation.other_status) if status}
    if operation.cached:
        text = "Not changed since the entity tag in `If-None-Match`."
        found["304"] = {"description": text, "headers": _headers(operation)}
    return found | _problems(codes(operation))


def _success(operation: Operation) -> Json:
    schema = (
        {"type": "string"} if operation.answer is None else {"$ref": _REF.format(model=operation.answer.__name__)}
    )
    if operation.answer is None and operation.media_type == "application/json":
        schema = {"type": "object"}
    content = {operation.media_type: {"schema": schema}}
    if operation.table is not None:
        for format_ in (Format.CSV, Format.NDJSON):
            content[CONTENT_TYPES[format_].partition(";")[0]] = {"schema": {"type": "string"}}
    return {"description": operation.summary, "headers": _headers(operation), "content": content}


def _headers(operation: Operation) -> Json:
    names = ["X-Request-ID"]
    if operation.stamped:
        names += ["Receiver-As-Of", "Receiver-Settled-Until"]
    if operation.cached:
        names.append("ETag")
    return {name: {"required": True, "schema": {"type": "string"}} for name in names}


def _problems(known: Iterable[str]) -> Json:
    by_status: dict[int, list[str]] = {}
    for code in known:
        by_status.setdefault(STATUS_BY_CODE[code], []).append(code)
    return {str(status): _problem(_TEXTS[status], by_status[status]) for status in sorted(by_status)}


def _problem(text: str, of: list[str]) -> Json:
    schema = {"allOf": [{"$ref": _REF.format(model="Problem")}, {"properties": {"code": {"enum": of}}}]}
    return {"description": text, "content": {_PROBLEM_TYPE: {"schema": schema}}}


def _webhook() -> Json:
    outcome = {"type": "string", "enum": ["stored", "duplicate", "quarantined"]}
    signature = "HMAC-SHA256 of the raw body: hex, the same after `sha256=`, or padded base64."
    taken = "Kept, on disk."
    return {
        "operationId": "post_webhooks_leadterra",
        "summary": "Take one signed event in.",
        "description": "For Leadterra; also with a trailing slash. Any body that is signed is kept.",
        "parameters": [
            {
                "name": "X-Leadterra-Signature",
                "in": "header",
                "required": True,
                "description": signature,
                "schema": {"type": "string"},
            }
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
        "responses": {
            "200": {
                "description": "The receiver's own probe of its URL, by `webhook register`; counted nowhere.",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            "204": {"description": taken, "headers": {"Receiver-Outcome": {"required": True, "schema": outcome}}},
            **_problems(_WEBHOOK_CODES),
        },
        "security": [],
    }


def _schemas(answers: Iterable[type[BaseModel]], bodies: Iterable[type[BaseModel]]) -> Json:
    modes: list[tuple[type[BaseModel], Any]] = [(model, "serialization") for model in dict.fromkeys(answers)]
    modes += [(model, "validation") for model in dict.fromkeys(bodies)]
    _, schema = models_json_schema(modes, ref_template=_REF)
    found: Json = _without_allowed(schema.get("$defs", {}))
    for model in found.values():
        _define_figures(model.get("properties", {}))
    return found


def _define_figures(properties: Json) -> None:
    """Adds what it means to every figure and rate."""
    for name in properties.keys() & DEFINITIONS.keys():
        properties[name] = {"description": DEFINITIONS[name].words(), **properties[name]}


def _without_allowed(schema: Any) -> Any:
    """Without the key that only words our own refusals."""
    if isinstance(schema, dict):
        return {key: _without_allowed(value) for key, value in schema.items() if key != "allowed"}
    return [_without_allowed(part) for part in schema] if isinstance(schema, list) else schema
