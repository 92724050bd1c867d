"""Which endpoint a path leads to."""

import pytest
from starlette.types import Receive, Scope, Send

from receiver.web.router import Router
from tests.web.conftest import Api


class Endpoint:
    """Keeps the parts of the paths that led to it."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope.get("path_params", {}))


async def found(path: str, **more: str) -> tuple[str, dict[str, str]]:
    """The path of the endpoint that was asked, "" for the default one, with the parts."""
    paths = ("/a", "/a/{one}", "/a/{one}/b", "/a.c", "")
    endpoints = {known: Endpoint() for known in paths}
    default = endpoints.pop("")
    await Router(endpoints, default)({"type": "http", "path": path, **more}, None, None)  # type: ignore[arg-type] # unused
    ((name, asked),) = [(known, each.asked) for known, each in {**endpoints, "": default}.items() if each.asked]
    return name, asked[0]


@pytest.mark.parametrize(
    ("path", "endpoint", "parts"),
    [
        ("/a", "/a", {}),
        ("/a.c", "/a.c", {}),
        ("/a/x", "/a/{one}", {"one": "x"}),
        ("/a/x y", "/a/{one}", {"one": "x y"}),
        ("/a/x/b", "/a/{one}/b", {"one": "x"}),
        ("/a/x\n", "/a/{one}", {"one": "x\n"}),
        ("/a\n", "", {}),
        ("/a/", "", {}),
        ("/a//b", "", {}),
        ("/a/x/", "", {}),
        ("/a/x/b\n", "", {}),
        ("/axc", "", {}),
        ("/b/a", "", {}),
        ("", "", {}),
    ],
)
async def test_a_path_leads_to_one_endpoint(path: str, endpoint: str, parts: dict[str, str]) -> None:
    assert await found(path) == (endpoint, parts)


@pytest.mark.parametrize(
    ("path", "endpoint"), [("/proxy/a", "/a"), ("/a", "/a"), ("/proxy", ""), ("/proxya", ""), ("/proxy/proxy/a", "")]
)
async def test_what_a_proxy_has_taken_off_is_left_out(path: str, endpoint: str) -> None:
    assert (await found(path, root_path="/proxy"))[0] == endpoint


async def test_a_line_feed_after_a_path_is_part_of_it(api: Api) -> None:
    assert (await api.refused("/v1/campaigns%0A", 404))["code"] == "not_found"
