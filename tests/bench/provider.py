"""`python -m tests.bench.provider PORT`: answers every request with the same counters, 50 ms later."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

DELAY_S = 0.05
_BODY = b'{"sent":3,"delivered":3,"queued":0,"bounced":0,"replied":0}'
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(DELAY_S)
            writer.write(_ANSWER)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.start_server(_serve, "127.0.0.1", port)
    await server.serve_forever()


@contextlib.contextmanager
def running() -> Iterator[int]:
    """The port of a provider in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.provider", str(port)])
    try:
        with socket.socket() as probe:
            while probe.connect_ex(("127.0.0.1", port)):
                time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
