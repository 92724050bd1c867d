"""Shows the demo to people: live on a terminal, plain lines elsewhere; tables that fit 80 columns."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from receiver.demo.comparison import Compared, Comparison
from receiver.demo.reading import Reading
from receiver.demo.story import SPAN_S

_LINE_EVERY_S = 3.0
_FIGURES = ("sent", "bounced", "replied")
_MINUTE_MS = 60_000


class View:
    """Draws readings on `console`; as a context it holds the live part, which goes away at its end."""

    def __init__(self, console: Console, start_ms: int) -> None:
        self._console = console
        self._start_ms = start_ms
        self._live: Live | None = None
        self._last_line_s = time.monotonic()
        self._told: set[tuple[str, str | None]] = set()

    def __enter__(self) -> "View":
        if self._console.is_terminal:
            # Drawn when there is something new, not by a thread.
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def show(self, reading: Reading, now_ms: int) -> None:
        self._tell(reading)
        if self._live is not None:
            self._live.update(_screen(reading, now_ms, self._start_ms), refresh=True)
        elif time.monotonic() - self._last_line_s >= _LINE_EVERY_S:
            self._last_line_s = time.monotonic()
            self._console.print(line(reading, now_ms), soft_wrap=True, highlight=False, markup=False)

    def _tell(self, reading: Reading) -> None:
        """Every alarm once, as it comes."""
        for alarm in reading.alarms:
            if (alarm.code, alarm.campaign_id) not in self._told:
                self._told.add((alarm.code, alarm.campaign_id))
                whose = f" {reading.names.get(alarm.campaign_id, alarm.campaign_id)}:" if alarm.campaign_id else ""
                self._console.print(f"! {alarm.code}:{whose} {alarm.detail}", soft_wrap=True, markup=False)


def show_sentences(console: Console, sentences: Sequence[str]) -> None:
    """A list; on a terminal its lines are broken between words, and indented."""
    if not console.is_terminal:
        for sentence in sentences:
            console.print(f"- {sentence}", soft_wrap=True, markup=False)
        return
    listing = Table.grid(padding=(0, 1))
    for sentence in sentences:
        listing.add_row("-", Text(sentence))
    console.print(listing)


def line(reading: Reading, now_ms: int) -> str:
    """A reading in one line."""
    sums = {name: sum(row.get(name, 0) for row in reading.figures.values()) for name in _FIGURES}
    figures = ", ".join(f"{count:,} {name}" for name, count in sums.items())
    return f"{_date(now_ms)}  {counts(reading)}; {len(reading.figures)} campaigns: {figures}"


def counts(reading: Reading) -> str:
    """Deliveries by what became of them."""
    found = reading.outcomes
    parts = [
        f"{reading.deliveries:,} deliveries",
        f"{found.get('duplicate', 0):,} duplicates",
        f"{found.get('quarantined', 0):,} quarantined",
        f"{found.get('signature_invalid', 0):,} refused",
    ]
    return ", ".join(parts)


def result_table(comparison: Comparison) -> Table:
    """The receiver's figures beside the truth, as `observed = true - withheld`."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=len(comparison.campaigns) > 1)
    totals = [_cell(comparison.campaigns, name) for name in _FIGURES]
    table.add_column("Campaign", footer="Together", overflow="fold")
    for name, total in zip(_FIGURES, totals, strict=True):
        table.add_column(name.capitalize(), footer=total, justify="right", no_wrap=True)
    for one in comparison.campaigns:
        table.add_row(Text(one.name), *(_cell([one], name) for name in _FIGURES))
    table.caption = "receiver = truth - withheld"
    table.caption_justify = "left"
    return table


def _cell(campaigns: Sequence[Compared], name: str) -> Text:
    observed = sum(one.observed.get(name, 0) for one in campaigns)
    true, expected = (sum(one.figures[name] for one in campaigns), sum(one.expected[name] for one in campaigns))
    if observed == expected:
        return Text(f"{observed:,} = {true:,} - {true - expected}", style="green")
    return Text(f"{observed:,} ≠ {true:,} - {true - expected}", style="bold red")


def _screen(reading: Reading, now_ms: int, start_ms: int) -> Group:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Campaign", overflow="fold")
    for name in _FIGURES:
        table.add_column(name.capitalize(), justify="right", min_width=8)
    for campaign_id, row in reading.figures.items():
        table.add_row(Text(reading.names[campaign_id]), *(f"{row.get(name, 0):,}" for name in _FIGURES))
    done = min(1.0, (now_ms - start_ms) / 1000 / SPAN_S)
    head = Table.grid(padding=(0, 2))
    head.add_row(Text(_date(now_ms), style="bold"), ProgressBar(total=1.0, completed=done, width=24), _left(done))
    return Group(head, Text(counts(reading)), table)


def _left(done: float) -> str:
    return "present time" if done >= 1 else f"day {int(done * SPAN_S / 86_400) + 1} of {round(SPAN_S / 86_400)}"


def _date(ms: int) -> str:
    return datetime.fromtimestamp(ms // _MINUTE_MS * _MINUTE_MS / 1000, UTC).strftime("%a %d %b %H:%M UTC")
