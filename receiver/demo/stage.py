"""Opens everything the demo needs, and leaves nothing behind: folder, keys, ports, two servers, one clock."""

import asyncio
import contextlib
import hashlib
import os
import secrets
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx

from receiver.app import Service
from receiver.clock import Clock, SimulatedClock
from receiver.demo.story import SPAN_S, faults
from receiver.errors import CommandError
from receiver.http import async_client
from receiver.reconcile.run import Reconciler
from receiver.sandbox.options import Habits, SandboxOptions
from receiver.sandbox.sandbox import Sandbox
from receiver.sandbox.server import listening as sandbox_listening
from receiver.serving import listening as receiver_listening
from receiver.settings import Settings
from receiver.storage.lock import DatabaseLock, Holder

_HOST = "127.0.0.1"
_ACCOUNTS = 12
_DAILY_CAPACITY = 120
# Simulated: a few times a second at the speed of a short run.
_RECONCILE_EVERY_S = 7200
# More bounces and replies than a good campaign has: with a few hundred leads there should be some to see.
_HABITS = Habits(hard_bounce=0.025, soft_bounce=0.025, reply=0.06)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the two listen; 0 takes a free one."""

    receiver: int = 0
    sandbox: int = 0


@dataclass(frozen=True, slots=True)
class Stage:
    """The running parts. `receiver` and `leadterra` are HTTP clients with keys; `failed` is set by a bad disk.

    `reconcile` compares the ledger with Leadterra's counters now: of these campaigns, or of all that are known.
    """

    url: str
    key: str = field(repr=False)
    database: Path
    sandbox: Sandbox
    clock: Clock
    start_ms: int
    receiver: httpx.AsyncClient
    leadterra: httpx.AsyncClient
    reconcile: Callable[[Sequence[str] | None], Awaitable[object]]
    tasks: list[asyncio.Task[None]]
    failed: asyncio.Event


@contextlib.asynccontextmanager
async def opened(seed: int, run_s: float, ports: Ports) -> AsyncIterator[Stage]:
    """A stage whose clock begins `SPAN_S` ago and reaches the present in `run_s` real seconds.

    Raises CommandError when a port is taken.
    """
    async with contextlib.AsyncExitStack() as stack:
        receiver_socket = stack.enter_context(_bound(ports.receiver, "--port"))
        sandbox_socket = stack.enter_context(_bound(ports.sandbox, "--sandbox-port"))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leadterra-demo-")))
        url, sandbox_url = _url(receiver_socket), _url(sandbox_socket)
        # Short enough for a line of 80 columns around it.
        key, api_key = "rcv_" + secrets.token_urlsafe(24), "sk_test_" + secrets.token_urlsafe(24)
        secret = "whsec_" + secrets.token_urlsafe(24)
        settings = _settings(folder, receiver_socket, key, secret, sandbox_url, api_key)
        lock = DatabaseLock(settings.database_path)
        lock.acquire()
        stack.callback(lock.release)
        start_ms = time.time_ns() // 1_000_000 - int(SPAN_S * 1000)
        # The present moves on meanwhile, hence one more.
        clock = SimulatedClock(start_ms, SPAN_S / run_s + 1)
        token = secrets.token_urlsafe(32)
        service = await Service.open(settings, token, frozenset({_HOST}), clock)
        stack.push_async_callback(service.close)
        serving = await stack.enter_async_context(receiver_listening(settings, service, receiver_socket))
        lock.describe(Holder(os.getpid(), url, token))
        sandbox = Sandbox(_options(seed, f"{url}/webhooks/leadterra", api_key, secret), clock)
        playing = await stack.enter_async_context(sandbox_listening(sandbox, sandbox_socket))
        receiver = await stack.enter_async_context(async_client(url, key))
        leadterra = await stack.enter_async_context(async_client(sandbox_url, api_key))
        yield Stage(
            url,
            key,
            settings.database_path,
            sandbox,
            clock,
            start_ms,
            receiver,
            leadterra,
            partial(_reconcile, _reconciler(service)),
            [serving, *playing],
            service.writer.failed,
        )


def _reconciler(service: Service) -> Reconciler:
    reconciler = service.reconciliation.reconciler
    if reconciler is None:
        raise CommandError("The demo runs without an API key; that is a mistake of this program.")
    return reconciler


async def _reconcile(reconciler: Reconciler, campaign_ids: Sequence[str] | None) -> None:
    """Ask for these campaigns now; a run that was under way has asked for some before now."""
    while (await reconciler.run("demo", campaign_ids or await reconciler.known())).trigger != "demo":
        pass


def _settings(
    folder: Path, listener: socket.socket, key: str, secret: str, sandbox_url: str, api_key: str
) -> Settings:
    """Nothing from the environment: a demo is the same everywhere."""
    return Settings.model_validate(
        {
            "server": {"host": _HOST, "port": listener.getsockname()[1], "shutdown_timeout_s": 2.0},
            "webhook": {"secrets": (secret,)},
            "storage": {"url": f"sqlite:///{folder / 'demo.db'}"},
            "leadterra": {"base_url": sandbox_url, "api_key": api_key},
            # As the sandbox's options say: a few days are too short to find it out from the counters.
            "reconcile": {
                "interval_s": _RECONCILE_EVERY_S,
                "message_sent_means": "sent",
                "bounced_means": "any",
                "replied_means": "all",
            },
            "access": {"analyst_keys": (hashlib.sha256(key.encode()).hexdigest(),)},
        }
    )


def _options(seed: int, webhook_url: str, api_key: str, secret: str) -> SandboxOptions:
    return SandboxOptions(
        seed=seed,
        api_key=api_key,
        webhook_url=webhook_url,
        webhook_secret=secret,
        accounts=_ACCOUNTS,
        daily_capacity=_DAILY_CAPACITY,
        habits=_HABITS,
        faults=faults(),
    )


@contextlib.contextmanager
def _bound(port: int, flag: str) -> Iterator[socket.socket]:
    try:
        listener = socket.create_server((_HOST, port), backlog=1024)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise CommandError(f"Cannot listen on {_HOST}:{port}: {reason}; use another '{flag}'.") from error
    with listener:
        yield listener


def _url(listener: socket.socket) -> str:
    return f"http://{_HOST}:{listener.getsockname()[1]}"
