"""Campaign ids and the small numbers that stand for them in every other table."""

import sqlite3

from receiver.storage.sqlite.queries import queries


class CampaignNumbers:
    """Both directions, cached. A number made in a transaction is kept only once that has committed.

    `made` grows with every campaign that is seen for the first time.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._ids: dict[int, str] = {}
        self._pending: dict[str, int] = {}
        self.made = 0

    def number(self, conn: sqlite3.Connection, campaign_id: str) -> int:
        """The campaign's number; a campaign not seen before gets one."""
        known = self._numbers.get(campaign_id) or self._pending.get(campaign_id)
        if known is not None:
            return known
        sql = queries("ingest.sql")
        row = conn.execute(sql["load_campaign"], (campaign_id,)).fetchone()
        if row is None:
            row = conn.execute(sql["insert_campaign"], (campaign_id,)).fetchone()
            self.made += 1
        self._pending[campaign_id] = number = int(row[0])
        return number

    def campaign_id(self, conn: sqlite3.Connection, number: int) -> str:
        known = self._ids.get(number)
        if known is None:
            sql = queries("ingest.sql")
            known = self._ids[number] = str(conn.execute(sql["load_campaign_id"], (number,)).fetchone()[0])
        return known

    def commit(self) -> None:
        self._numbers.update(self._pending)
        self._pending.clear()

    def roll_back(self) -> None:
        self._pending.clear()
        # A number read back inside the failed transaction may never have existed.
        self._ids.clear()
