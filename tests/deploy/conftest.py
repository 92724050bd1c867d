"""Servers of the end-to-end tests, and their tracer."""

from tests.e2e.conftest import database, serve
from tests.e2e.test_fsync import strace

__all__ = ["database", "serve", "strace"]
