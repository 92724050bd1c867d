"""Texts and the small numbers that stand for them in other tables: campaigns' ids and recipients' domains."""

import sqlite3
from collections.abc import Set

from receiver.storage.sqlite.queries import queries, select_by_keys, write_rows


class Numbers:
    """Numbers by their text, cached. One that is noted in a transaction is kept only once that has committed.

    `kept_max` bounds what is kept; more than that, and all is looked up anew.
    """

    def __init__(self, kept_max: int | None = None) -> None:
        self._kept_max = kept_max
        self._kept: dict[str, int] = {}
        self._pending: dict[str, int] = {}

    def known(self, text: str) -> int | None:
        """The number, as far as it is cached."""
        return self._kept.get(text) or self._pending.get(text)

    def note(self, text: str, number: int) -> None:
        """A number that was read or made in the open transaction."""
        self._pending[text] = number

    def commit(self) -> None:
        if self._kept_max is not None and len(self._kept) + len(self._pending) > self._kept_max:
            self._kept.clear()
        self._kept.update(self._pending)
        self._pending.clear()

    def roll_back(self) -> None:
        self._pending.clear()


class CampaignNumbers(Numbers):
    """Campaigns, in both directions. `made` grows with every campaign that is seen for the first time."""

    def __init__(self) -> None:
        super().__init__()
        self._ids: dict[int, str] = {}
        self.made = 0

    def number(self, conn: sqlite3.Connection, campaign_id: str) -> int:
        """The campaign's number; a campaign not seen before gets one."""
        known = self.known(campaign_id)
        if known is not None:
            return known
        sql = queries("ingest.sql")
        row = conn.execute(sql["load_campaign"], (campaign_id,)).fetchone()
        if row is None:
            row = conn.execute(sql["insert_campaign"], (campaign_id,)).fetchone()
            self.made += 1
        number = int(row[0])
        self.note(campaign_id, number)
        return number

    def campaign_id(self, conn: sqlite3.Connection, number: int) -> str:
        known = self._ids.get(number)
        if known is None:
            sql = queries("ingest.sql")
            known = self._ids[number] = str(conn.execute(sql["load_campaign_id"], (number,)).fetchone()[0])
        return known

    def roll_back(self) -> None:
        super().roll_back()
        # A number read back inside the failed transaction may never have existed.
        self._ids.clear()


class DomainNumbers(Numbers):
    """Domains of recipients, a batch at a time: there are many, and most are seldom seen."""

    def __init__(self, kept_max: int = 16_384) -> None:  # some 2 MiB; a domain that is not kept costs a look-up
        super().__init__(kept_max)

    def numbers(self, conn: sqlite3.Connection, domains: Set[str]) -> dict[str, int]:
        """The domains' numbers; those not seen before get one."""
        found = {domain: known for domain in domains if (known := self.known(domain)) is not None}
        new = dict(select_by_keys(conn, "load_domains", domains - found.keys()))
        unseen = sorted(domains - found.keys() - new.keys())
        new.update(write_rows(conn, "insert_domain", [(domain,) for domain in unseen]))
        for domain, number in new.items():
            self.note(domain, number)
        return found | new
