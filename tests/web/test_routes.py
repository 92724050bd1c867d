"""The route table is complete: every operation says who may call it, with what, and what it answers."""

from typing import Any
from urllib.parse import quote

import pytest
from pydantic import BaseModel

from receiver.web.access import Role
from receiver.web.answers import Answer
from receiver.web.insights import Chosen
from receiver.web.operation import Operation
from receiver.web.params import Params
from receiver.web.problems import STATUS_BY_CODE
from receiver.web.routes import Handlers, table
from tests.web.conftest import ADMIN, KEYS, LEADTERRA, Api, Start, bounced, replied, sent, started, unread

# A new route must be decided here too: who may call it.
ROUTES = {
    "/v1/campaigns": {"GET": "analyst", "POST": "admin"},
    "/v1/campaigns/{campaign_id}": {"GET": "analyst"},
    "/v1/campaigns/{campaign_id}/steps": {"GET": "analyst"},
    "/v1/campaigns/{campaign_id}/drift": {"GET": "analyst"},
    "/v1/drift": {"GET": "analyst"},
    "/v1/reconciliations": {"GET": "analyst", "POST": "admin"},
    "/v1/summary": {"GET": "analyst"},
    "/v1/series": {"GET": "analyst"},
    "/v1/bounces": {"GET": "analyst"},
    "/v1/replies": {"GET": "analyst"},
    "/v1/explain": {"GET": "analyst"},
    "/v1/events": {"GET": "analyst"},
    "/v1/quarantine": {"GET": "analyst"},
    "/v1/quarantine/retry": {"POST": "admin"},
    "/v1/rebuild": {"POST": "admin", "GET": "admin"},
    "/v1/webhooks": {"POST": "admin"},
    "/v1/erase": {"POST": "admin", "GET": "admin"},
    "/livez": {"GET": "open"},
    "/readyz": {"GET": "open"},
    "/metrics": {"GET": "open"},
    "/openapi.json": {"GET": "analyst"},
    "/docs": {"GET": "analyst"},
    "/": {"GET": "analyst"},
    "/sign-in": {"GET": "open", "POST": "open"},
    "/sign-out": {"POST": "open"},
    "/static/{version}/{name}": {"GET": "open"},
}
# What is answered in another form than JSON of ours.
OTHERS = {"/metrics", "/openapi.json", "/docs", "/", "/sign-in", "/sign-out", "/static/{version}/{name}"}
# What answers without a key otherwise than by 200 or 401.
UNSIGNED = {"GET /": 303, "POST /sign-in": 400, "POST /sign-out": 303, "GET /static/{version}/{name}": 404}


class _Anything:
    """Stands for handlers that nobody calls here."""

    def __getattr__(self, name: str) -> Any:
        return self


OPERATIONS = table(Handlers(*[_Anything() for _ in Handlers.__dataclass_fields__]))  # type: ignore[arg-type] # never called
NAMES = [f"{operation.method} {operation.path}" for operation in OPERATIONS]


def test_every_route_is_decided() -> None:
    found: dict[str, dict[str, str]] = {}
    for operation in OPERATIONS:
        found.setdefault(operation.path, {})[operation.method] = operation.access.name.lower()
    assert found == ROUTES


def test_no_operation_is_there_twice_and_those_of_a_path_stand_together() -> None:
    paths = [operation.path for operation in OPERATIONS]
    assert len(set(NAMES)) == len(NAMES)
    assert len([path for path, before in zip(paths, [None, *paths], strict=False) if path != before]) == len(ROUTES)


@pytest.mark.parametrize("operation", OPERATIONS, ids=NAMES)
def test_every_operation_is_described(operation: Operation) -> None:
    assert isinstance(operation.access, Role)
    assert issubclass(operation.params, Params)
    assert operation.summary.endswith(".")
    assert operation.answer is not None or operation.path in OTHERS
    assert set(operation.errors) <= STATUS_BY_CODE.keys()


@pytest.mark.parametrize("operation", OPERATIONS, ids=NAMES)
def test_answers_of_the_api_are_stamped_and_only_those(operation: Operation) -> None:
    assert operation.stamped is operation.path.startswith("/v1/")
    assert not operation.cached or (operation.method == "GET" and operation.stamped)
    if operation.answer is not None:
        assert operation.stamped is ("as_of" in operation.answer.model_fields)


def _models(model: type[BaseModel]) -> set[type[BaseModel]]:
    found = {model}
    for field in model.model_fields.values():
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel):
                found |= _models(part)
    return found


@pytest.mark.parametrize("operation", OPERATIONS, ids=NAMES)
def test_answer_models_take_no_field_that_is_not_theirs_and_miss_none(operation: Operation) -> None:
    for model in _models(operation.answer or Answer):
        assert model.model_config["extra"] == "forbid"
        optional = {name for name, field in model.model_fields.items() if not field.is_required()}
        asked: frozenset[str] = getattr(model, "asked", frozenset()) if optional else frozenset()
        assert issubclass(model, Chosen) or optional == set(asked)


def _strict(model: type[BaseModel]) -> type[BaseModel]:
    """The same model without any conversion: "1" is no number, 1 no text."""
    return type(model.__name__, (model,), {"model_config": {"strict": True}})


# What a path cannot be asked without.
NEEDED = {"/v1/explain": "?figure=bounced"}
GETS = [operation for operation in OPERATIONS if operation.method == "GET" and operation.answer is not None]


@pytest.mark.parametrize("operation", GETS, ids=[operation.path for operation in GETS])
async def test_every_real_answer_is_what_its_model_says(admin: Api, operation: Operation) -> None:
    await admin.post(
        started("a", name="A"), sent(), sent("m2", step=None), bounced(), replied(message="m1", kind="interested"),
        started("only-started"), replied("r9", campaign="only-replied", lead=None), bounced("waits"), unread(),
        sent(step=2),
    )  # fmt: skip
    assert operation.answer is not None
    for campaign in ("a", "only-started", "only-replied"):
        path = operation.path.replace("{campaign_id}", quote(campaign))
        text = (await admin.get(path + NEEDED.get(path, ""))).content
        _strict(operation.answer).model_validate_json(text)


_WEBHOOK = {"webhook_id": "wh_1", "url": "https://x.example/", "events": ["a"], "leadterra": "https://l.example"}
BODIES = {
    "/v1/campaigns": {"campaign_id": "by-hand"},
    "/v1/erase": {"email": "jo@example.org"},
    "/v1/webhooks": _WEBHOOK,
}


async def test_answers_to_posts_are_what_their_models_say(start: Start) -> None:
    admin = await start(key=ADMIN, **KEYS, **LEADTERRA)
    await admin.post(unread())
    posts = [operation for operation in OPERATIONS if operation.method == "POST" and operation.answer]
    for operation in posts:
        response = await admin.ask("POST", operation.path, json=BODIES.get(operation.path))
        assert response.status_code == operation.status
        assert operation.answer is not None
        _strict(operation.answer).model_validate_json(response.content)
    assert len(posts) == 6


@pytest.mark.parametrize("name", NAMES)
async def test_every_route_asks_for_the_role_it_names(start: Start, keyed: Api, name: str) -> None:
    method, path = name.split()
    response = await keyed.ask(method, path)
    role = ROUTES[path][method]
    assert response.status_code == UNSIGNED.get(name, 200 if role == "open" else 401)
    if role == "admin":
        analyst = await keyed.ask(method, path, headers={"Authorization": "Bearer rcv_analyst"})
        assert analyst.status_code == 403
