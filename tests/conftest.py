"""For all tests: a run in which a log line holds an e-mail address or a configured secret fails."""

from collections.abc import Iterator

import pytest

from tests.canary import Canary, listen

CANARY = Canary()


def pytest_configure() -> None:
    """Begin to listen before any test module is imported, in each process that runs tests."""
    listen(CANARY)


@pytest.fixture(autouse=True, scope="session")
def _no_process_tells_at_its_end() -> Iterator[None]:
    yield  # set up first, so torn down last: servers that tests share have ended
    _fail_on_leaks()


@pytest.fixture(autouse=True)
def _nothing_is_told() -> Iterator[None]:
    yield
    _fail_on_leaks()


def _fail_on_leaks() -> None:
    leaks = CANARY.taken()
    if leaks:
        pytest.fail("The log holds what it must not:\n" + "\n".join(leaks), pytrace=False)
