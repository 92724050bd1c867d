"""The files that the pages load: read once into a table, so that no path of a client reaches the disk."""

import hashlib
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
# What a page names itself: one script per view, the sign-in's, and the charts' library.
_ENTRIES = frozenset({"overview.js", "campaign.js", "trust.js", "sign_in.js", "uplot-1.6.32.js"})
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

    @cached_property
    def modules(self) -> list[str]:
        """The scripts that pages import; a browser is told of them at once, for they import each other."""
        return [name for name in self._files if name.endswith(".js") and name not in _ENTRIES]

    async def one(self, call: Call) -> Raw:
        asset = self._files.get(call.path["name"])
        if asset is None or call.path["version"] != self.version:
            raise NotFoundError("There is nothing at this path; reload the page that names it.")
        return Raw(asset.content, asset.content_type, (_FOREVER, _NOSNIFF, (b"etag", asset.etag)))
