"""`python -m tests.bench.half_open PORT COUNT`: opens connections that send nothing or half a header, and waits.

Prints how long the opening took, then, once the server has ended all of them, how long after it the last was gone.
"""

import contextlib
import resource
import selectors
import socket
import sys
import time

_HALF = b"POST /webhooks/leadterra HTTP/1.1\r\nHost: localhost\r\nX-Half"
_DESCRIPTORS = 100
_PATIENCE_S = 60.0


def main(port: int, count: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(count + _DESCRIPTORS, hard), hard))
    with selectors.DefaultSelector() as selector:
        begun_s = time.monotonic()
        for number in range(count):
            client = socket.create_connection(("127.0.0.1", port))
            if number % 2:
                with contextlib.suppress(ConnectionError):  # refused already
                    client.sendall(_HALF)
            client.setblocking(False)
            selector.register(client, selectors.EVENT_READ)
        opened_s = time.monotonic()
        print(f"opened {opened_s - begun_s:.3f}", flush=True)
        while selector.get_map():
            if time.monotonic() - opened_s > _PATIENCE_S:
                sys.exit(f"{len(selector.get_map())} are still open")
            for key, _ in selector.select(1):
                _take(selector, key.fileobj)  # type: ignore[arg-type] # only sockets were registered
        print(f"gone {time.monotonic() - opened_s:.3f}", flush=True)


def _take(selector: selectors.BaseSelector, client: socket.socket) -> None:
    """Read what came; forget the connection at its end."""
    with contextlib.suppress(ConnectionError):
        if client.recv(4096):
            return
    selector.unregister(client)
    client.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
