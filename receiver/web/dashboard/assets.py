"""The files that the pages load: read once into a table, so that no path of a client reaches the disk."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources

from receiver.errors import NotFoundError
from receiver.web.operation import Call, Raw

_CONTENT_TYPES = {
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
_IMPORT = re.compile(rb'^import .* from "\./([a-z_]+\.js)";$', re.MULTILINE)
# The path holds the hash of all files: what is there never changes.
_FOREVER = (b"cache-control", b"public, max-age=31536000, immutable")
_NOSNIFF = (b"x-content-type-options", b"nosniff")


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is answered."""

    content: bytes
    content_type: bytes
    etag: bytes


class Assets:
    """Handler of `/static/{version}/{name}`; `version` changes with any file."""

    @cached_property
    def _files(self) -> Mapping[str, Asset]:
        folder = resources.files(__package__).joinpath("static")
        found = {}
        for file in sorted(folder.iterdir(), key=lambda file: file.name):
            suffix = "." + file.name.rpartition(".")[2]
            if suffix in _CONTENT_TYPES:
                content = file.read_bytes()
                etag = b'"%s"' % hashlib.sha256(content).hexdigest()[:32].encode()
                found[file.name] = Asset(content, _CONTENT_TYPES[suffix], etag)
        return found

    @cached_property
    def version(self) -> str:
        every = b"".join(name.encode() + asset.etag for name, asset in self._files.items())
        return hashlib.sha256(every).hexdigest()[:16]

    def imported(self, script: str) -> list[str]:
        """All that a script imports, and what that imports: a browser that is told at once need not find out."""
        found: list[str] = []
        waiting = [script]
        while waiting:
            asset = self._files.get(waiting.pop())
            names = [] if asset is None else [name.decode() for name in _IMPORT.findall(asset.content)]
            new = [name for name in names if name not in found]
            found += new
            waiting += new
        return sorted(found)

    async def one(self, call: Call) -> Raw:
        asset = self._files.get(call.path["name"])
        if asset is None or call.path["version"] != self.version:
            raise NotFoundError("There is nothing at this path; reload the page that names it.")
        return Raw(asset.content, asset.content_type, (_FOREVER, _NOSNIFF, (b"etag", asset.etag)))
