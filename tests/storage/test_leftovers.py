"""Reading the files' bytes: every file of the database, every case, across the pieces that are read at once."""

from pathlib import Path

import pytest

from receiver.storage.sqlite import leftovers
from receiver.storage.sqlite.leftovers import Leftovers, look_for
from receiver.storage.sqlite.recount import Progress

JO = "canary@example.org"


@pytest.mark.parametrize("suffix", ["", "-wal", "-journal", ".rejected", ".rejected-journal"])
def test_each_file_is_read(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "receiver.db").touch()
    content = f"\0{JO.upper()}\0x{JO} {JO}".encode()
    (tmp_path / f"receiver.db{suffix}").write_bytes(content)
    progress = Progress()
    assert look_for(JO, tmp_path / "receiver.db", progress) == Leftovers(own=2, similar=1)
    assert (progress.done, progress.total) == (len(content), len(content))


def test_wherever_a_piece_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = tmp_path / "receiver.db"
    for size in range(1, 80):
        monkeypatch.setattr(leftovers, "_CHUNK_BYTES", size)
        database.write_bytes(f"{JO} x{JO} ".encode() * 3 + JO.encode())
        assert look_for(JO, database, Progress()) == Leftovers(own=4, similar=3)
