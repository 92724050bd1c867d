"""How much of its speed the receiver keeps when its database grows, with ids that are in order and that are not."""

from collections.abc import Iterator
from contextlib import ExitStack

from tests.bench.load import CONNECTIONS, Ids, load, write_requests
from tests.bench.report import Cell, Findings, Goal, Spread
from tests.bench.run import Filled, Run, Scale
from tests.bench.servers import receiver_on


def needs(scale: Scale) -> Iterator[Filled]:
    """All sizes with both kinds of ids."""
    for ids in Ids:
        for messages in scale.sizes:
            yield Filled(messages, ids)


def growth(run: Run) -> Findings:
    """All of them serve at once and are loaded in turn, after a round that only warms up."""
    scale = run.scale
    filled = list(needs(scale))
    rates: dict[Filled, list[float]] = {each: [] for each in filled}
    with ExitStack() as opened:
        servers = {each: opened.enter_context(receiver_on(run.database(each), run.folder)) for each in filled}
        for number in range(scale.rounds + 1):
            for ids in Ids:
                requests = write_requests(run.folder / "requests", scale.seconds, seed=10 + number, ids=ids)
                for each in filled:
                    if each.ids is ids:
                        rates[each].append(load(servers[each], requests, scale.seconds).per_second)
    measured = {each: found[1:] for each, found in rates.items()}
    kept = {each: Spread.ratio(found, measured[Filled(scale.small, each.ids)]) for each, found in measured.items()}
    rows: list[dict[str, Cell]] = [
        {
            "messages held": f"{each.messages:,}",
            "ids": each.ids.value,
            "events/s": Spread.of(measured[each]),
            f"of {scale.small:,}": kept[each],
        }
        for each in filled
    ]
    goal = Goal(f"speed kept at {scale.large:,}, ULID ids", kept[Filled(scale.large)].median, 0.8, at_least=True)
    return Findings(f"Growth, {CONNECTIONS} connections", rows, [goal])
