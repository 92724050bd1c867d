"""A restored backup: what was acknowledged after it is missing, and reconciliation says how much, since when."""

import shutil
from contextlib import closing
from pathlib import Path

from receiver.storage.sqlite.backup import check, contents, copy
from receiver.storage.sqlite.connection import open_for_reading
from receiver.storage.sqlite.recount import Progress
from tests.reconcile.world import HOUR_MS, opened


def back_up(database: Path, destination: Path) -> None:
    with closing(open_for_reading(database)) as conn:
        least = contents(conn)
        copy(conn, destination, Progress())
    check(destination, least, Progress())


def restore(database: Path, backup: Path) -> None:
    """As the README says: the file in place, the old write-ahead log gone."""
    shutil.copyfile(backup, database)
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)


async def test_reconciliation_names_what_a_restored_backup_lacks(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        campaign = await world.campaign(40, asked_first=True)
        await world.advance(HOUR_MS)
        assert (await world.get(f"/v1/campaigns/{campaign}"))["observed"]["sent"] == 40
        database = world.settings.database_path
        back_up(database, tmp_path / "backup.db")
        more = [{"email": f"later{number}@example.org"} for number in range(25)]
        await world.leadterra("POST", f"/v1/campaigns/{campaign}/leads/bulk", {"leads": more})
        await world.advance(HOUR_MS)
        assert (await world.get(f"/v1/campaigns/{campaign}"))["observed"]["sent"] == 65
        await world.down()
        restore(database, tmp_path / "backup.db")
        await world.up()
        await world.run()
        restored = await world.get(f"/v1/campaigns/{campaign}")
        assert restored["observed"]["sent"] == 40
        assert restored["reconciled"]["sent"] == 65
        assert restored["drift"]["sent"]["at_least"] == 25
        await world.advance(12 * HOUR_MS)  # no retry comes: they were acknowledged
        found = await world.get(f"/v1/campaigns/{campaign}/drift")
        gaps = [gap for gap in found["gaps"] if gap["figure"] == "sent"]
        assert [(gap["at_least"], gap["state"]) for gap in gaps] == [(25, "missing")]
        assert found["data"][0]["status"] == "missing"
