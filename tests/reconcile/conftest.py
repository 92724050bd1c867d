"""Runs take no real time."""

from collections.abc import Iterator

import pytest
import stamina


@pytest.fixture(autouse=True)
def once() -> Iterator[None]:
    """A call that fails is not tried again: how the client waits is tested where the client is."""
    with stamina.set_testing(True, attempts=1, cap=True):
        yield
