"""The process that writes: does what the process that serves asks of it, one thing after the other.

It ends when it is told to, or when the other one has ended, whatever ended it; the signals of the terminal and of a
supervisor are for the other one.
"""

import os
import pickle
import socket
import sqlite3
import sys
from pathlib import Path
from typing import BinaryIO

from receiver.garbage import collect_rarely
from receiver.storage.sqlite import wire
from receiver.storage.sqlite.ledger import Ledger
from receiver.storage.sqlite.work import prepare


def main(descriptor: int, path: str, now_ms: int) -> None:
    """Open the database, say so, and do what is asked over the socket of this number."""
    with socket.socket(fileno=descriptor) as peer, peer.makefile("rb") as asked:
        try:
            ledger, conn, unchecked = prepare(
                Path(path), now_ms, lambda words: _say(peer, wire.packed(wire.Answer("told", words)))
            )
        except Exception as error:  # noqa: BLE001 # whoever started this process gets it
            _say(peer, wire.failed(error))
            return
        collect_rarely()
        _say(peer, wire.packed(wire.Answer("done", (ledger.parser, unchecked))))
        _work(peer, asked, ledger, conn)
        _say(peer, _closed(conn))


def _work(peer: socket.socket, asked: BinaryIO, ledger: Ledger, conn: sqlite3.Connection) -> None:
    """Until it is told to close."""
    while (content := _received(asked)) is not None:
        try:
            question: wire.Asked | None = pickle.loads(content)  # noqa: S301 # from the process that started this one
            if question is None:
                return
            result = question.function(ledger, conn, *question.args, **question.kwargs)
            answer = wire.packed(wire.Answer("done", result))
        except Exception as error:  # noqa: BLE001 # whoever asked gets it
            answer = wire.failed(error)
        _say(peer, answer)
    _leave()


def _say(peer: socket.socket, content: bytes) -> None:
    try:
        peer.sendall(content)
    except OSError:
        _leave()


def _leave() -> None:
    """The other process is gone; others may wait for the database. Leave it at once, untidied, as a crash would."""
    os._exit(0)


def _received(asked: BinaryIO) -> bytes | None:
    """The next message; None when the other process has ended, perhaps in the middle of one."""
    try:
        head = asked.read(wire.LENGTH.size)
        if len(head) < wire.LENGTH.size:
            return None
        (length,) = wire.LENGTH.unpack(head)
        content = asked.read(length)
    except ConnectionError:  # it ended before it had read all that was said
        return None
    return content if len(content) == length else None


def _closed(conn: sqlite3.Connection) -> bytes:
    try:
        conn.close()
    except sqlite3.Error as error:
        return wire.failed(error)
    return wire.packed(wire.Answer("done", None))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
