"""Finds the endpoint of a path, by one look-up where the path has no variable parts."""

import re
from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

_VARIABLE = re.compile(r"\{(\w+)\}")


class Router:
    """An ASGI application over endpoints by their paths; `/a/{b}` takes one part that is not empty for `b`.

    The parts are the endpoint's `path_params`. `default` answers every other path. What a proxy has taken off the
    path, its `root_path`, is left out where uvicorn has put it back.
    """

    def __init__(self, endpoints: Mapping[str, ASGIApp], default: ASGIApp) -> None:
        self._fixed = {path: endpoint for path, endpoint in endpoints.items() if not _VARIABLE.search(path)}
        self._variable = [
            (_pattern(path), endpoint) for path, endpoint in endpoints.items() if path not in self._fixed
        ]
        self._default = default

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._endpoint(scope)(scope, receive, send)

    def _endpoint(self, scope: Scope) -> ASGIApp:
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        endpoint = self._fixed.get(path)
        if endpoint is not None:
            return endpoint
        for pattern, endpoint in self._variable:
            if match := pattern.fullmatch(path):
                scope["path_params"] = match.groupdict()
                return endpoint
        return self._default


def _pattern(path: str) -> re.Pattern[str]:
    """Fixed and variable parts come in turns."""
    parts = _VARIABLE.split(path)
    parts[::2] = map(re.escape, parts[::2])
    parts[1::2] = (f"(?P<{name}>[^/]+)" for name in parts[1::2])
    return re.compile("".join(parts))
