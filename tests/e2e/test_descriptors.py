"""The limit of open files: raised to what the allowed connections need, and survived where it cannot be."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.e2e.server import Server, request, sent, until

ALIVE = request("GET", "/livez")


def test_too_few_descriptors_are_said_and_do_not_stop_it(serve: Callable[..., Server]) -> None:
    server = serve("prlimit", "--nofile=96:96")
    server.wait_until_said("too_few_descriptors")
    words = "'server.max_connections' is 2000, which needs 2256 open files; this process may open 96, so at most 48"
    assert words in server.stderr
    with ExitStack() as stack:
        kept = stack.enter_context(server.connect())
        assert kept.post(sent("before")).status == 204
        for _ in range(300):
            stack.enter_context(server.connect())
        before = cpu_ticks(server.pid)
        assert kept.post(sent("meanwhile")).status == 204
        until(lambda: kept.ask(ALIVE).status == 200, "an answer")
        assert cpu_ticks(server.pid) - before < 100
    until(lambda: is_heard(server), "new connections to be taken again")
    assert server.post(sent("after")).status == 204
    assert server.stop() == 0


def test_where_the_hard_limit_is_low_fewer_are_served_and_some_files_left(serve: Callable[..., Server]) -> None:
    server = serve("prlimit", "--nofile=400:400")
    server.wait_until_said("so at most 200 connections are served at once")
    with ExitStack() as stack:
        for _ in range(600):
            stack.enter_context(server.connect())
        assert server.get("/readyz").status == 200
    assert server.stop() == 0
    assert "Traceback" not in server.stderr


def is_heard(server: Server) -> bool:
    """Whether a new connection is answered; without a descriptor it is closed."""
    try:
        return server.get("/livez").status == 200
    except ConnectionError:
        return False


def cpu_ticks(pid: int) -> int:
    """Hundredths of a second of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_the_soft_limit_of_descriptors_is_raised(serve: Callable[..., Server]) -> None:
    server = serve("prlimit", "--nofile=200:5000")
    limits = Path(f"/proc/{server.pid}/limits").read_text()
    line = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    assert line.split()[3:5] == ["2256", "5000"]
    assert "too_few_descriptors" not in server.stderr
