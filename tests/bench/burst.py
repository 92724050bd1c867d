"""A burst after an outage: all retries at once, over more connections than are served at once."""

from tests.bench.ingest import COUNTED, count
from tests.bench.load import CONNECTIONS, signed_requests
from tests.bench.report import Cell, Findings, Goal
from tests.bench.run import Run
from tests.bench.sender import Sender
from tests.bench.servers import receiver

_USUAL_OF = 5  # one event in so many is sent before the burst, to know the usual speed


def burst(run: Run) -> Findings:
    """The usual speed of the same client, then the burst."""
    scale = run.scale
    usual_events = scale.burst_events // _USUAL_OF
    events = list(signed_requests(usual_events + scale.burst_events, 2000, seed=5))
    folder = run.empty_folder()
    found = []
    with receiver(folder) as running:
        for connections, share in (
            (CONNECTIONS, events[:usual_events]),
            (scale.burst_connections, events[usual_events:]),
        ):
            sender = Sender(running.port, share)
            sender.deliver(connections)
            found.append((connections, sender))
    stored = count(folder, COUNTED)
    if stored != len(events):
        raise RuntimeError(f"{len(events)} events were acknowledged, {stored} are stored.")
    rows: list[dict[str, Cell]] = [
        {
            "connections": connections,
            "events": sender.answers[204],
            "seconds": sender.took_s,
            "events/s": sender.per_second,
            "longest wait, s": sender.waited_s.get(204),
            "answered 503, sent again": sender.answers[503],
            "longest wait for one, s": sender.waited_s.get(503),
            "failed otherwise": sender.failed,
        }
        for connections, sender in found
    ]
    usual, at_once = (sender for _, sender in found)
    goals = [
        Goal("burst, of the usual speed", at_once.per_second / usual.per_second, 0.9, at_least=True),
        Goal("burst, deliveries that failed but for 503", at_once.failed, 0),
    ]
    return Findings("Burst after an outage: all at once, each sent again until it is acknowledged", rows, goals)
