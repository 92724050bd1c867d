"""Starts the process that writes. It needs little itself, so that one can be started before all else is imported."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CHILD = "receiver.storage.sqlite.child"
# They are for the process that serves, which lets this one finish; Ctrl-C and some supervisors send them to both.
_NOT_ITS_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Launched:
    """A process that opens a database, and the socket over which it says so and is asked."""

    process: "subprocess.Popen[bytes]"
    peer: socket.socket


@contextlib.contextmanager
def launched(path: Path, now_ms: int, lock: int) -> Iterator[Launched]:
    """The process within this block; it ends when the socket is closed. `lock` is the descriptor of the held lock."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = _started(theirs, path, now_ms, lock)
        yield Launched(process, ours)
    process.wait()


def _started(peer: socket.socket, path: Path, now_ms: int, lock: int) -> "subprocess.Popen[bytes]":
    """The process, which has these signals blocked from its first moment on."""
    # What this process imports is imported there, wherever it was started.
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    command = [sys.executable, "-P", "-m", _CHILD, str(peer.fileno()), str(path), str(now_ms)]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_ITS_SIGNALS)
    try:
        return subprocess.Popen(
            command,
            env=environ,
            pass_fds=(peer.fileno(), lock),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
