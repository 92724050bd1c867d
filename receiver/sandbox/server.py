"""Runs a sandbox behind a port until it is told to stop."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator

import uvicorn

from receiver.errors import CommandError
from receiver.sandbox.sandbox import Sandbox

_GRACE_S = 2


class _Server(uvicorn.Server):
    """uvicorn without its signal handling: that would end the process by the signal it was sent."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(sandbox: Sandbox, host: str, port: int) -> None:
    """Run until SIGTERM or Ctrl-C. Raises CommandError when the port is taken."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with _bound(host, port) as listener:
        async with listening(sandbox, listener) as tasks:
            shown = f"[{host}]" if ":" in host else host
            line = f"Listening on http://{shown}:{listener.getsockname()[1]}"
            print(line, file=sys.stderr, flush=True)  # noqa: T201 # the same line as the receiver's
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()


@contextlib.asynccontextmanager
async def listening(sandbox: Sandbox, listener: socket.socket) -> AsyncIterator[list[asyncio.Task[None]]]:
    """The sandbox behind a bound address, as the tasks that serve and move its world; closed when the block ends."""
    server = _Server(_config(sandbox))
    tasks = [asyncio.create_task(server.serve(sockets=[listener])), asyncio.create_task(sandbox.run())]
    try:
        while not server.started and not tasks[0].done():  # noqa: ASYNC110 # uvicorn has no event to wait for
            await asyncio.sleep(0.005)
        yield tasks
    finally:
        server.should_exit = True
        await tasks[0]
        tasks[1].cancel()
        # Raises what ended the world, if anything but us did.
        with contextlib.suppress(asyncio.CancelledError):
            await tasks[1]
        await sandbox.close()


def _config(sandbox: Sandbox) -> uvicorn.Config:
    return uvicorn.Config(
        sandbox.app,
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,  # the sandbox sends simulated time
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_S,
    )


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        # Its own text repeats the address; without a number it is about the host's name.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise CommandError(f"Cannot listen on {host}:{port}: {reason}; use another '--port' or '--host'.") from error
    return listener
