"""Renders the dashboard's pages, under a policy that lets nothing in from outside and no inline script."""

from collections.abc import Mapping
from http import HTTPStatus
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from receiver import __version__
from receiver.web.dashboard.assets import Assets
from receiver.web.dashboard.words import DASH, counted, percent, percent_of, points, signed, stamped
from receiver.web.operation import Raw, Refused
from receiver.web.problems import TITLES

_POLICY = b"default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
_HEADERS = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),  # what was signed out of must not come back with the back button
)
_NOT_NOW = "The receiver cannot answer this just now; try again."
_HTML = b"text/html; charset=utf-8"


class Pages:
    """Makes pages and redirects; `root_path` is where a proxy serves them."""

    def __init__(self, assets: Assets, root_path: str) -> None:
        self._assets = assets
        self._root_path = root_path.rstrip("/")
        self._environment = Environment(
            loader=FunctionLoader(_template),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(count=counted, signed=signed, points=points, time=stamped)
        self._environment.filters.update(rate=percent, rate_of=percent_of)

    @property
    def cookie_path(self) -> str:
        return self._root_path or "/"

    def page(self, name: str, values: Mapping[str, Any], status: int | None = None) -> Raw:
        """A page by the name of its template."""
        static = f"{self._root_path}/static/{self._assets.version}"
        common = {
            "root": self._root_path,
            "static": static,
            "release": __version__,
            "dash": DASH,
            "modules": self._assets.imported(f"{name}.js"),
        }
        text = self._environment.get_template(f"{name}.html").render({**common, **values})
        return Raw(text.encode("utf-8", "replace"), _HTML, _HEADERS, status)

    def redirect(self, path: str, query: str = "", *headers: tuple[bytes, bytes]) -> Raw:
        """See other: a page of this server."""
        location = f"{self._root_path}{path}" + (f"?{query}" if query else "")
        return Raw(b"", _HTML, ((b"location", location.encode()), (b"cache-control", b"no-store"), *headers), 303)

    def refusal(self, refused: Refused) -> Raw | None:
        """A refusal for somebody who looks at pages."""
        if not refused.wants_page:
            return None
        title = TITLES.get(refused.status) or HTTPStatus(refused.status).phrase
        detail = str(refused.error) if refused.status < 500 else _NOT_NOW
        return self.page("refused", {"title": title, "detail": detail}, refused.status)


def _template(name: str) -> str:
    return resources.files(__package__).joinpath("templates", name).read_text("utf-8")
