"""A secret that is configured late: what was refused meanwhile is taken in once, whatever else was posted."""

import os
import random
import re
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

from receiver.ingest.sample import BODIES_MAX, BYTES_MAX
from tests.e2e.server import PATIENCE_S, SECRET, Connection, Server, request, sent, sign, until

NEW = "the secret after the rotation"
BOTH = f'["{SECRET}", "{NEW}"]'
FLOOD = min(50, int(os.environ.get("TEST_ROUNDS", "15"))) * 1000
_PIPELINED = 50


def signed(body: bytes, secret: str = NEW) -> bytes:
    return request("POST", "/webhooks/leadterra", body, (f"X-Leadterra-Signature: {sign(body, secret)}",))


def refused(server: Server, requests: Iterable[bytes], address: str = "127.0.0.1") -> set[int]:
    """The statuses of many requests from an address, a few dozen under way at a time."""
    client = Connection(server.port)
    if address != "127.0.0.1":
        client.close()
        client.socket = socket.create_connection(("127.0.0.1", server.port), PATIENCE_S, (address, 0))
        client._stream = client.socket.makefile("rb")
    statuses = set()
    waiting = list(requests)
    with client:
        for begin in range(0, len(waiting), _PIPELINED):
            some = waiting[begin : begin + _PIPELINED]
            client.send(b"".join(some))
            statuses |= {client.answer().status for _ in some}
    return statuses


def metric(server: Server, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", server.get("/metrics").body.decode(), re.MULTILINE)
    assert found, name
    return float(found[1])


def kept(server: Server) -> float:
    return metric(server, "receiver_rejected_bodies_now")


def taken_in(server: Server, bodies: int) -> None:
    name = 'receiver_rejected_bodies_total{outcome="taken_in"}'
    until(lambda: metric(server, name) == bodies, f"{bodies} bodies taken in")


def test_a_secret_that_comes_late_costs_nothing(serve: Callable[..., Server], database: Path) -> None:
    bodies = [sent(f"m{number}") for number in range(40)]
    first = serve()
    assert first.post(sent("before")).outcome == "stored"
    assert refused(first, [signed(body) for body in bodies]) == {401}
    assert refused(first, [signed(body) for body in bodies[:20]]) == {401}  # tried again, a minute later
    assert first.campaign()["sent"] == 1
    assert first.stop() == 0

    second = serve(webhook__secrets=BOTH)
    taken_in(second, 40)
    second.wait_until_said("rejected_bodies_taken_in")
    assert second.campaign()["sent"] == 41
    assert refused(second, [signed(body) for body in bodies]) == {204}  # tried again, hours later
    assert second.campaign()["sent"] == 41
    assert second.stop() == 0

    third = serve(webhook__secrets=BOTH)
    assert (third.campaign()["sent"], kept(third)) == (41, 0)
    assert database.with_name("receiver.db.rejected").stat().st_mode & 0o777 == 0o600


def test_what_was_kept_survives_a_kill(serve: Callable[..., Server], database: Path) -> None:
    first = serve()
    assert refused(first, [signed(sent(f"m{number}")) for number in range(30)]) == {401}
    file = database.with_name("receiver.db.rejected")
    until(lambda: file.exists() and b'"m29"' in file.read_bytes(), "the last one in the file")
    first.kill()
    second = serve(webhook__secrets=BOTH)
    taken_in(second, 30)
    assert second.campaign()["sent"] == 30


def test_a_flood_keeps_within_the_bounds_and_pushes_no_genuine_one_out(
    serve: Callable[..., Server], database: Path
) -> None:
    first = serve()
    early = [sent(f"early{number}") for number in range(200)]
    late = [sent(f"late{number}") for number in range(200)]
    chance = random.Random(1)
    shaped = [sent(f"flood{number}", text="x" * chance.randrange(2000)) for number in range(FLOOD)]
    noise = [signed(b"garbage %d" % number, "nobody's") for number in range(FLOOD // 5)]
    assert refused(first, map(signed, early)) == {401}
    assert refused(first, noise) == {401}
    assert refused(first, (signed(body, "nobody's") for body in shaped), "127.1.2.3") == {401}
    assert refused(first, map(signed, late)) == {401}
    assert metric(first, "receiver_rejected_bytes") <= BYTES_MAX
    assert kept(first) == BODIES_MAX
    assert first.stop() == 0
    assert database.with_name("receiver.db.rejected").stat().st_size <= BYTES_MAX

    second = serve(webhook__secrets=BOTH)
    taken_in(second, 400)
    assert second.campaign()["sent"] == 400
    assert second.get("/v1/quarantine").json()["data"] == []
