"""What the route table is made of: an operation with its access, its parameters and its answer."""

import sqlite3
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import BaseModel

from receiver.errors import ReceiverError
from receiver.reconcile.cases import Pins
from receiver.web.access import Role
from receiver.web.params import NoParams, Params

NO_PINS = Pins()


class Client(NamedTuple):
    """Who asks: the address, and whether over https, as far as a proxy that is trusted says so."""

    peer: str = ""
    secure: bool = False


class Call(NamedTuple):
    """One request on its way to a handler, checked: parameters, body, path parts, role, and "now".

    `speed` is the clock's; `pins` are the meanings of Leadterra's counters that the settings give.
    Without `show_recipients` addresses in its answer are masked.
    """

    params: Any
    body: Any
    path: dict[str, str]
    role: Role
    now_ms: int
    speed: float = 1.0
    pins: Pins = NO_PINS
    show_recipients: bool = False
    client: Client = Client()


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer that is not JSON of ours. `status` is another than its operation's usual one."""

    content: bytes
    content_type: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that is refused: why, with which status, its query, and whether it asked for a page."""

    error: ReceiverError
    status: int
    query: bytes
    wants_page: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A list whose rows are also written as CSV and NDJSON, over HTTP and by `export`.

    `rows` yields them all, or the `limit` that was asked for, from one reading transaction; `row` is their
    model, of which `fields` says which ones a call has, if not all. `path` names the parts of the path.
    """

    name: str
    params: type[Params]
    row: type[BaseModel]
    rows: Callable[[sqlite3.Connection, Call], Iterator[Mapping[str, Any]]]
    path: tuple[str, ...] = ()
    fields: Callable[[Call], Collection[str]] | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer with another status than its operation's usual one."""

    json: dict[str, Any]
    status: int


Handler = Callable[[Call], Awaitable[dict[str, Any] | Raw | Answered]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `other_status` is one that a handler gives instead of `status`.

    `answer` describes the JSON that `handler` returns; one with a `table` also answers CSV and NDJSON.
    `stamped` answers carry `as_of` and `settled_until`; `cached` ones an ETag. `errors` are the codes of
    problems beyond those that follow from access, parameters, body and the like. A `body` is JSON, or else what a
    `form` sends. `refused` shows a refusal to somebody who looks at pages; None leaves it a problem.
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
    table: Table | None = None
    media_type: str = "application/json"
    errors: tuple[str, ...] = field(default=())
    form: bool = False
    refused: Callable[[Refused], Raw | None] | None = None
