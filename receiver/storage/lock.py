"""The lock file that makes one server or command the owner of a database, and tells others how to reach it."""

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from receiver.errors import CommandError


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a database: its process; of a server also url, token, and the process that writes for it."""

    pid: int | None
    url: str | None = None
    token: str | None = None
    writer: int | None = None

    @property
    def process(self) -> str:
        """The process in words, for messages."""
        return "a process that has not named itself" if self.pid is None else f"process {self.pid}"

    def __repr__(self) -> str:
        return f"Holder(pid={self.pid}, url={self.url!r})"


class DatabaseLock:
    """`<database>.lock`, mode 0600, held by `flock` for the life of this object."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".lock")
        self._file: int | None = None

    def acquire(self) -> bool:
        """Take the lock if nobody holds it; raises CommandError when the file cannot be made."""
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CommandError(f"The lock file '{self.path}' cannot be opened: {error.strerror}.") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return False
        os.fchmod(file, 0o600)
        self._file = file
        try:
            self.describe(Holder(os.getpid()))
        except CommandError:
            self.release()
            raise
        return True

    def describe(self, holder: Holder) -> None:
        """Write who we are, for others to read; raises CommandError where there is no space for it."""
        if self._file is None:
            raise CommandError(f"The lock file '{self.path}' is not held.")
        text = json.dumps(asdict(holder)).encode()
        try:
            # In this order: a reader in between finds the longer text of a server whole.
            os.pwrite(self._file, text, 0)
            os.ftruncate(self._file, len(text))
        except OSError as error:
            raise CommandError(f"The lock file '{self.path}' cannot be written: {error.strerror}.") from error

    def share(self) -> int:
        """The descriptor that holds the lock. A process that inherits it holds the lock as well, until it ends."""
        if self._file is None:
            raise CommandError(f"The lock file '{self.path}' is not held.")
        return self._file

    def holder(self) -> Holder:
        """Who holds the lock, as far as the file says."""
        try:
            found = json.loads(self.path.read_bytes())
            return Holder(found["pid"], found["url"], found["token"], found.get("writer"))
        except (OSError, ValueError, KeyError, TypeError):
            return Holder(None)

    def is_left_over(self) -> bool:
        """Whether a server has ended that held the lock, and the process that wrote for it is still finishing."""
        holder = self.holder()
        return _is_alive(holder.writer) and not _is_alive(holder.pid)

    def release(self) -> None:
        """Give the lock up. The file stays: removing it would let two processes lock different files."""
        if self._file is not None:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = None


def _is_alive(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
