"""Looks for an address in the bytes of the database's files, where rows end and free pages begin.

To be called in a process that has none of them open: closing a file would drop SQLite's locks on it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from receiver.leadterra.erasure import Erasure
from receiver.storage.sqlite.recount import Progress
from receiver.storage.sqlite.rejected import rejected_path

_CHUNK_BYTES = 4_194_304
_SUFFIXES = ("", "-wal", "-journal")
# What is looked at on each side of a find, to tell whose address it is: a sign and a letter, of four bytes at most.
_AROUND_BYTES = 5


@dataclass(slots=True)
class Leftovers:
    """How often the address is in the files, and how often as a part of a longer one."""

    own: int = 0
    similar: int = 0


def look_for(erasable: str, database: Path, progress: Progress) -> Leftovers:
    """Read all files of a database, and that of its rejected bodies; `progress` is in bytes."""
    names = [path.name + suffix for path in (database, rejected_path(database)) for suffix in _SUFFIXES]
    files = [path for path in map(database.with_name, names) if path.exists()]
    progress.total = sum(path.stat().st_size for path in files)
    erasure, found = Erasure(erasable, b""), Leftovers()
    for path in files:
        for around in _finds(path, erasable.encode(), progress):
            if erasure.is_in(around.decode("utf-8", "replace")):
                found.own += 1
            else:
                found.similar += 1
    return found


def _finds(path: Path, needle: bytes, progress: Progress) -> Iterator[bytes]:
    """The bytes of each find and around it, in lower case."""
    keep = len(needle) + 2 * _AROUND_BYTES
    data, begin, seen = b"", 0, -1
    with path.open("rb") as file:
        while True:
            progress.check()
            chunk = file.read(_CHUNK_BYTES)
            progress.done += len(chunk)
            begin += max(0, len(data) - keep)
            data = data[-keep:] + chunk.lower()
            # What is too near the end is looked at with what follows it.
            last = len(data) - len(needle) - (_AROUND_BYTES if chunk else 0)
            at = data.find(needle)
            while -1 < at <= last:
                if begin + at > seen:
                    yield data[max(0, at - _AROUND_BYTES) : at + len(needle) + _AROUND_BYTES]
                    seen = begin + at
                at = data.find(needle, at + 1)
            if not chunk:
                return
