"""Files that appear under their name whole or not at all."""

import os
import re
import secrets
from pathlib import Path


def part_of(final: Path) -> Path:
    """A name beside a file, for what is not yet all there."""
    return final.with_name(f".{final.name}.{secrets.token_hex(4)}.part")


def leftovers_of(final: Path) -> list[Path]:
    """Parts of a file, and what belongs to them, that a killed process has left; only while nobody writes another."""
    pattern = re.compile(rf"\.{re.escape(final.name)}\.[0-9a-f]{{8}}\.part(-journal)?")
    return [entry for entry in final.parent.iterdir() if pattern.fullmatch(entry.name)]


def publish(part: Path, final: Path) -> None:
    """Give a file that is on disk its name, durably. Raises FileExistsError rather than replace another."""
    try:
        os.link(part, final)
    except FileExistsError:
        raise
    except OSError:
        # A file system without links: nobody else has the name once an empty file of our own holds it.
        os.close(os.open(final, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        part.replace(final)
    else:
        part.unlink()
    sync_folder(final.parent)


def sync(path: Path) -> None:
    """Wait until a file's content is on disk."""
    _sync(path, os.O_RDONLY)


def sync_folder(folder: Path) -> None:
    """A name is on disk only when its folder is."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
