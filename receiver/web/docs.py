"""`/openapi.json` and the page that renders it: made once, complete in itself, without a script."""

import base64
import hashlib
from functools import cached_property
from importlib import resources
from typing import Any

import orjson
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from receiver.web.openapi import described
from receiver.web.operation import Call, Operation, Raw

_POLICY = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_NOSNIFF = (b"x-content-type-options", b"nosniff")


class Docs:
    """Handlers of `/openapi.json` and `/docs` over a route table, which may still grow until they are asked."""

    def __init__(self, operations: list[Operation], webhook_path: str, base_url: str) -> None:
        self._operations = operations
        self._webhook_path = webhook_path
        self._base_url = base_url

    @cached_property
    def document(self) -> dict[str, Any]:
        return described(self._operations, self._webhook_path, self._base_url)

    async def openapi(self, call: Call) -> Raw:
        return Raw(orjson.dumps(self.document), b"application/json", (_NOSNIFF,))

    async def page(self, call: Call) -> Raw:
        return self._page

    @cached_property
    def _page(self) -> Raw:
        style = _text("docs.css")
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = f"default-src 'none'; style-src 'sha256-{digest}'; {_POLICY}"
        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        environment.filters.update(kind=kind, words=words)
        page = environment.from_string(_text("docs.html")).render(api=self.document, style=style)
        headers = (_NOSNIFF, (b"content-security-policy", policy.encode()), (b"referrer-policy", b"no-referrer"))
        return Raw(page.encode(), b"text/html; charset=utf-8", headers)


def kind(schema: dict[str, Any]) -> Markup:
    """A schema in a few words, with links to objects: `list of Campaign`, `string or null`, `asc | desc`."""
    if "$ref" in schema:
        return Markup('<a href="#{0}">{0}</a>').format(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return Markup(" or ").join(map(kind, schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return Markup(" | ").join(map(str, schema.get("enum") or [schema["const"]]))
    if schema.get("type") == "array":
        return Markup("list of {}").format(kind(schema["items"]))
    return escape(schema.get("type", "any"))


def words(text: str) -> Markup:
    """A text in which what stands between backticks is code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in enumerate(parts)
    )


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")
