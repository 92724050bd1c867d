"""Runs the real server as a process of its own, and speaks HTTP to it over plain sockets.

A server has a throw-away database and secret. Clients keep their connection, because a load of single
connections measures the kernel; they are not httpx, which gives up before the receiver does.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SECRET = "a throw-away secret, ünlike any other"
WEBHOOK = "/webhooks/leadterra"
_LISTENING = re.compile(r"Listening on http://(.+):(\d+)")
# Far longer than anything here takes; a test that hits it has found something that hangs.
PATIENCE_S = 30.0
# A disk that others keep busy makes no event too late here.
COMMIT_TIMEOUT_S = 60


def sign(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def sign_base64(body: bytes) -> str:
    return base64.b64encode(bytes.fromhex(sign(body))).decode()


def moment(ahead_s: float = 0.0) -> str:
    """The present time, or one ahead of it, as Leadterra writes it."""
    return (
        datetime.fromtimestamp(time.time() + ahead_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def payload(event: str, **data: object) -> bytes:
    return json.dumps({"event": event, "timestamp": moment(), "data": data}).encode()


def sent(message: str, campaign: str = "camp_1", **data: object) -> bytes:
    return payload("message.sent", messageId=message, campaignId=campaign, sequenceStep=1, **data)


def until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for a condition, never for a time."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience_s:g} s for {what}"
        time.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def outcome(self) -> str | None:
        return self.headers.get("receiver-outcome")

    @property
    def code(self) -> Any:
        return self.json()["code"]

    def json(self) -> Any:
        return json.loads(self.body)


def request(method: str, path: str, body: bytes = b"", headers: tuple[str, ...] = ()) -> bytes:
    """A whole request; Content-Length is set unless a header says how the body is sent."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    if not any(line.lower().startswith(("content-length:", "transfer-encoding:")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def delivery(body: bytes, *headers: str) -> bytes:
    """A signed POST of a body."""
    return request("POST", WEBHOOK, body, (f"X-Leadterra-Signature: {sign(body)}", *headers))


class Connection:
    """One kept connection of a client that sends what it is told, byte for byte."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self.socket.makefile("rb")

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, raw: bytes) -> None:
        self.socket.sendall(raw)

    def send_aside(self, raw: bytes) -> None:
        """Send from a thread of its own: more than the server reads before its first answers are taken."""
        threading.Thread(target=self.send, args=(raw,), daemon=True).start()

    def answer(self, *, to_head: bool = False) -> Answer:
        """The next answer; ConnectionError when the server has closed instead."""
        status_line = self._stream.readline()
        if not status_line:
            raise ConnectionResetError("the server closed the connection")
        status = int(status_line.split()[1])
        headers = dict(self._headers())
        has_body = not to_head and status not in (100, 204, 304)
        return Answer(status, headers, self._stream.read(int(headers["content-length"])) if has_body else b"")

    def _headers(self) -> Iterator[tuple[str, str]]:
        while (line := self._stream.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            yield name.lower(), value.strip()

    def ask(self, raw: bytes) -> Answer:
        self.send(raw)
        return self.answer()

    def post(self, body: bytes, *headers: str) -> Answer:
        return self.ask(delivery(body, *headers))

    def closed_by_server(self) -> bool:
        """Whether the server ends the connection, with nothing more to say."""
        try:
            return self._stream.read(1) == b""
        except ConnectionError:
            return True

    def abort(self) -> None:
        """Leave without a goodbye: the server gets a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.close()

    def close(self) -> None:
        self._stream.close()
        self.socket.close()


class Server:
    """`python -m receiver serve` on a free loopback port. `settings` are keys such as `server__port`."""

    def __init__(self, database: Path, *prefix: str, wait: bool = True, **settings: object) -> None:
        self.database = database
        self.url = ""
        self.port = 0
        self._lines: list[str] = []
        self._listening = threading.Event()
        self.started_s = time.monotonic()
        command = [*prefix, sys.executable, "-m", "receiver", "serve", "--port", "0"]
        self.process = subprocess.Popen(
            command, env=environment(database, **settings), stderr=subprocess.PIPE, text=True, cwd=database.parent
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        if wait:
            self.wait_until_listening()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stderr(self) -> str:
        return "".join(self._lines)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.append(line)
            if match := _LISTENING.search(line):
                self.port = int(match[2])
                self.url = f"http://{match[1]}:{match[2]}"
                self._listening.set()
        self._listening.set()

    def wait_until_listening(self) -> None:
        assert self._listening.wait(PATIENCE_S), f"the server does not start: {self.stderr}"
        assert self.port, f"the server did not start: {self.stderr}"

    def wait_until_said(self, words: str) -> None:
        until(lambda: words in self.stderr, f"{words!r} on standard error")

    def connect(self) -> Connection:
        return Connection(self.port)

    def post(self, body: bytes, *headers: str) -> Answer:
        with self.connect() as client:
            return client.post(body, *headers)

    def get(self, path: str) -> Answer:
        with self.connect() as client:
            return client.ask(request("GET", path))

    def campaign(self, campaign: str = "camp_1") -> Any:
        """The observed figures of a campaign."""
        return self.get(f"/v1/campaigns/{campaign}").json()["observed"]

    def wait(self) -> int:
        """The exit code, once the process has ended; all it said is read then."""
        code = self.process.wait(PATIENCE_S)
        self._reading.join(PATIENCE_S)
        return code

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def stop(self) -> int:
        """The exit code after SIGTERM."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it at once, as a crash would; nothing when it has ended."""
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


def environment(database: Path, **settings: object) -> dict[str, str]:
    """This process' environment with nothing but these settings of the receiver."""
    found = {name: value for name, value in os.environ.items() if not name.startswith(("RECEIVER_", "LEADTERRA_"))}
    given = {
        "webhook__secrets": json.dumps([SECRET]),
        "storage__url": f"sqlite:///{database}",
        "ingest__commit_timeout_s": COMMIT_TIMEOUT_S,
        **settings,
    }
    return found | {f"RECEIVER_{name.upper()}": str(value) for name, value in given.items()}


def run(database: Path, *arguments: str, **settings: object) -> "subprocess.CompletedProcess[str]":
    """A command of the receiver, to its end."""
    command = [sys.executable, "-m", "receiver", *arguments]
    return subprocess.run(
        command,
        env=environment(database, **settings),
        capture_output=True,
        text=True,
        cwd=database.parent,
        timeout=PATIENCE_S,
        check=False,
    )


def rows(database: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """What the database says, read beside the server."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as conn:
        return conn.execute(statement, values).fetchall()


def ledger(database: Path) -> list[str]:
    """The messageId of every event in the ledger, once for each row that the journal has for it."""
    bodies = rows(database, "SELECT body FROM journal WHERE role = 1 ORDER BY seq")
    return [json.loads(body)["data"]["messageId"] for (body,) in bodies]


def copies(database: Path) -> int:
    """How many deliveries the ledger has seen, copies included."""
    return int(rows(database, "SELECT coalesce(sum(copies), 0) FROM journal WHERE role = 1")[0][0])


class Load:
    """A few clients that post messages of their own until the server goes away or they are told to stop.

    `acked` are the messageIds answered 204; `refused` counts 503s, which are sent again; `strange` is all else.
    """

    def __init__(self, port: int, name: str, clients: int = 4) -> None:
        self.acked: list[str] = []
        self.refused = 0
        self.strange: list[int] = []
        self._port = port
        self._name = name
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._client, args=(number,)) for number in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def wait_for_acks(self, count: int) -> None:
        until(lambda: len(self.acked) >= count, f"{count} answers 204")

    def _client(self, number: int) -> None:
        with contextlib.suppress(OSError), Connection(self._port) as client:
            serial = 0
            while not self._stop.is_set():
                message = f"{self._name}-{number}-{serial}"
                answer = client.post(sent(message))
                if answer.status == 204:
                    self.acked.append(message)
                    serial += 1
                elif answer.status == 503:
                    self.refused += 1
                else:
                    self.strange.append(answer.status)
                    return
