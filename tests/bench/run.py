"""One run of the benchmarks: how much of everything, and the databases that its parts share."""

import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.load import Ids
from tests.bench.prefill import prefill
from tests.bench.report import Findings

# A message in a prefilled database with all its figures; a part copies a file before it serves it.
_BYTES_PER_MESSAGE = 130
_COPIES = 2
_REST_BYTES = 2 * 2**30  # what events, logs and the other parts take
_SMALL_REST_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured. The sizes are messages in prefilled databases."""

    rounds: int = 5
    seconds: float = 5
    small: int = 10_000
    middle: int = 1_000_000
    large: int = 10_000_000
    burst_events: int = 100_000
    burst_connections: int = 4000
    storm_connections: int = 10_000
    snapshot_events: int = 1_000_000
    reconcile_campaigns: int = 2000
    years_events: int = 200_000
    rebuilds: int = 3
    questions: int = 41  # asked one after another, for a median

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys((self.small, self.middle, self.large)))


QUICK = Scale(
    rounds=1,
    seconds=0.5,
    small=1000,
    middle=1000,
    large=2000,
    burst_events=500,
    burst_connections=50,
    storm_connections=50,
    snapshot_events=100,
    reconcile_campaigns=60,
    years_events=2000,
    rebuilds=1,
    questions=5,
)


@dataclass(frozen=True, slots=True)
class Filled:
    """A prefilled database."""

    messages: int
    ids: Ids = Ids.ULID


@dataclass(slots=True)
class Run:
    """What the parts of one run share; `folder` is gone after it, and the databases with it."""

    scale: Scale
    folder: Path
    say: Callable[[str], object] = print
    _databases: dict[Filled, Path] = field(default_factory=dict)

    def database(self, filled: Filled) -> Path:
        """Such a database, for all parts: none writes to it."""
        if filled not in self._databases:
            self.say(f"filling a database with {filled.messages:,} messages, {filled.ids.value} ids")
            path = self.folder / f"{filled.messages}-{filled.ids.name.lower()}.db"
            prefill(path, filled.messages, ids=filled.ids)
            self._databases[filled] = path
        return self._databases[filled]

    def empty_folder(self) -> Path:
        """A new folder."""
        return Path(tempfile.mkdtemp(dir=self.folder))


@dataclass(frozen=True, slots=True)
class Part:
    """One part: what it finds, and which databases it needs."""

    name: str
    measure: Callable[[Run], Findings]
    needs: Callable[[Scale], Iterable[Filled]] = lambda _: ()


def bytes_needed(scale: Scale, parts: Iterable[Part]) -> int:
    """How much space in the temporary folder the parts take at most."""
    filled = {each for part in parts for each in part.needs(scale)}
    rest = _REST_BYTES if scale.large > QUICK.large else _SMALL_REST_BYTES
    return sum(each.messages for each in filled) * _BYTES_PER_MESSAGE * _COPIES + rest


def missing_space(scale: Scale, parts: Iterable[Part], folder: Path) -> str | None:
    """What to say when the disk has too little space for them."""
    needed, free = bytes_needed(scale, parts), shutil.disk_usage(folder).free
    if free >= needed:
        return None
    return (
        f"The benchmarks take up to {needed / 2**30:.1f} GiB in '{folder}', where {free / 2**30:.1f} GiB are free;"
        " name another folder in TMPDIR, or fewer parts in --only."
    )
