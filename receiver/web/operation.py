"""What the route table is made of: an operation with its access, its parameters and its answer."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from receiver.web.access import Role
from receiver.web.params import NoParams, Params


@dataclass(frozen=True, slots=True)
class Call:
    """One request on its way to a handler, checked: parameters, body, path parts, role, and "now"."""

    params: Any
    body: Any
    path: dict[str, str]
    role: Role
    now_ms: int


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer that is not JSON of ours."""

    content: bytes
    content_type: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer with another status than its operation's usual one."""

    json: dict[str, Any]
    status: int


Handler = Callable[[Call], Awaitable[dict[str, Any] | Raw | Answered]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `other_status` is one that a handler gives instead of `status`.

    `answer` describes the JSON that `handler` returns. `stamped` answers carry `as_of` and
    `settled_until`; `cached` ones an ETag.
    """

    method: str
    path: str
    summary: str
    handler: Handler
    access: Role
    params: type[Params] = NoParams
    body: type[Params] | None = None
    answer: type[BaseModel] | None = None
    status: int = 200
    other_status: int | None = None
    stamped: bool = False
    cached: bool = False
    errors: tuple[str, ...] = field(default=())
