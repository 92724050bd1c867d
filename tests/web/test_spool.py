"""What holds an export between its reading and its download."""

import gzip
import os
from pathlib import Path

import pytest

from receiver.web.spool import Spool, unnamed_file


def test_an_export_leaves_room_for_webhooks(tmp_path: Path) -> None:
    spool = Spool(unnamed_file(tmp_path), reserve_bytes=2**62)
    with pytest.raises(OSError, match="No space left"):
        spool.write(os.urandom(2_000_000))
    spool.close()


@pytest.mark.parametrize("size", [0, 1, 5000, 3_000_000])
def test_a_spool_gives_back_what_it_took(tmp_path: Path, size: int) -> None:
    data = os.urandom(size // 2) + b"a" * (size - size // 2)
    for compressed in (True, False):
        spool = Spool(unnamed_file(tmp_path), reserve_bytes=0)
        for begin in range(0, size, 70_000):
            spool.write(data[begin : begin + 70_000])
        spool.finish()
        chunks = list(spool.chunks(compressed=compressed))
        found = b"".join(chunks)
        assert (gzip.decompress(found) if compressed else found) == data
        assert len(found) == (spool.stored_bytes if compressed else spool.plain_bytes)
        assert max(map(len, chunks), default=0) <= 1_048_576
        assert spool.on_disk is (size > 2_000_000)
        assert os.listdir(tmp_path) == []
        spool.close()
