"""Holds an export between its reading and its download: a little in memory, more in an unnamed file, compressed."""

import errno
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

_CHUNK_BYTES = 262_144
_MEMORY_MAX_BYTES = 1_048_576
# What exports and backups leave free on the disk of the database: webhooks are taken in on the same one.
RESERVE_BYTES = 268_435_456
_LEVEL = 1  # several times as fast as the default, for a tenth more bytes
_GZIP = 31  # zlib's number for a gzip frame with its largest window

OpenFile = Callable[[], FileIO]


def unnamed_file(folder: Path) -> OpenFile:
    """Opens files that have no name in a folder: they are gone with their last descriptor, whatever happens."""
    return lambda: tempfile.TemporaryFile(dir=folder, buffering=0)


class Spool:
    """Written once, then read. Raises OSError with ENOSPC before the disk is full; `close` gives all of it back."""

    def __init__(self, open_file: OpenFile, reserve_bytes: int = RESERVE_BYTES) -> None:
        self._open_file = open_file
        self._reserve_bytes = reserve_bytes
        self._compressor = zlib.compressobj(_LEVEL, wbits=_GZIP)
        self._memory = bytearray()
        self._file: FileIO | None = None
        self.plain_bytes = 0
        self.stored_bytes = 0

    @property
    def on_disk(self) -> bool:
        return self._file is not None

    def write(self, data: bytes) -> None:
        self.plain_bytes += len(data)
        self._store(self._compressor.compress(data))

    def finish(self) -> None:
        """To be called after the last `write` and before `chunks`."""
        self._store(self._compressor.flush())
        if self._file is not None:
            self._flush(self._file)
            self._file.seek(0)

    def _store(self, compressed: bytes) -> None:
        self.stored_bytes += len(compressed)
        self._memory += compressed
        if len(self._memory) >= _MEMORY_MAX_BYTES:
            if self._file is None:
                self._file = self._open_file()
            self._flush(self._file)

    def _flush(self, file: FileIO) -> None:
        """Room is asked for before it is taken: a disk found full by us is one that is full for others."""
        space = os.fstatvfs(file.fileno())
        if space.f_bavail * space.f_frsize < self._reserve_bytes + len(self._memory):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rest = memoryview(bytes(self._memory))
        self._memory.clear()
        while rest:
            rest = rest[file.write(rest) :]

    def chunks(self, *, compressed: bool) -> Iterator[bytes]:
        """All of it in pieces of bounded size, as gzip or as it was written."""
        return self._stored() if compressed else self._plain()

    def _stored(self) -> Iterator[bytes]:
        if self._file is None:
            yield bytes(self._memory)
            return
        while chunk := self._file.read(_CHUNK_BYTES):
            yield chunk

    def _plain(self) -> Iterator[bytes]:
        decompressor = zlib.decompressobj(wbits=_GZIP)
        for chunk in self._stored():
            rest = chunk
            while rest:
                if piece := decompressor.decompress(rest, _CHUNK_BYTES):
                    yield piece
                rest = decompressor.unconsumed_tail
        while piece := decompressor.flush(_CHUNK_BYTES):
            yield piece

    def close(self) -> None:
        self._memory.clear()
        if self._file is not None:
            self._file.close()
