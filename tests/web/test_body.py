"""Bodies are read within a size and a time, and not beyond a shutdown."""

import asyncio
from collections.abc import Iterable

import pytest
from starlette.types import Message, Receive

from receiver.web.body import BodyReader, Refusal


def chunks(*parts: bytes, then: str = "") -> Receive:
    """What a client sends: the last part ends the body, unless something else happens `then`."""
    messages: list[Message] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if then:
        messages.append({"type": then})
    else:
        messages[-1]["more_body"] = False
    return feed(messages)


def feed(messages: Iterable[Message]) -> Receive:
    waiting = iter(messages)

    async def receive() -> Message:
        for message in waiting:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    return receive


async def begun(reader: BodyReader) -> None:
    while not reader._under_way:  # noqa: ASYNC110 # a reader has no event for it
        await asyncio.sleep(0)


@pytest.mark.parametrize("parts", [[b"0123456789"], [b"01234", b"56789"], [b"0123456789", b""], [b"", b"0123456789"]])
async def test_a_body_of_the_limit_is_read(parts: list[bytes]) -> None:
    assert await BodyReader(10, 60).read(chunks(*parts), None) == b"0123456789"


@pytest.mark.parametrize("parts", [[b"0123456789x"], [b"01234", b"56789", b"x"], [b"01234", b"567890"]])
async def test_a_longer_one_is_not(parts: list[bytes]) -> None:
    assert await BodyReader(10, 60).read(chunks(*parts), None) is Refusal.TOO_LARGE


async def test_a_longer_one_is_refused_as_soon_as_it_is_declared() -> None:
    reader = BodyReader(10, 60)
    assert await reader.read(feed([]), 11) is Refusal.TOO_LARGE
    assert await reader.read(chunks(b"0123456789"), 10) == b"0123456789"


async def test_an_endless_body_is_given_up_without_reading_on() -> None:
    endless: list[Message] = [{"type": "http.request", "body": b"xxxx", "more_body": True}] * 3
    assert await BodyReader(10, 60).read(feed(endless), None) is Refusal.TOO_LARGE


async def test_messages_may_leave_their_fields_out() -> None:
    assert await BodyReader(10, 60).read(feed([{"type": "http.request"}]), None) == b""
    first: Message = {"type": "http.request", "more_body": True}
    assert await BodyReader(10, 60).read(feed([first, {"type": "http.request"}]), None) == b""


@pytest.mark.parametrize("parts", [[], [b"half"]])
async def test_a_client_that_leaves_is_noticed(parts: list[bytes]) -> None:
    assert await BodyReader(10, 60).read(chunks(*parts, then="http.disconnect"), None) is Refusal.GONE


async def test_a_body_that_takes_too_long_is_given_up() -> None:
    reader = BodyReader(10, 0.01)
    assert await reader.read(feed([]), None) is Refusal.TOO_SLOW
    assert reader._under_way == set()


async def test_a_body_under_way_is_given_up_at_a_shutdown() -> None:
    reader = BodyReader(10, 60)
    reading = asyncio.create_task(reader.read(feed([]), None))
    await begun(reader)
    reader.drain()
    assert await reading is Refusal.DRAINING


async def test_a_body_that_comes_after_it_is_refused() -> None:
    reader = BodyReader(10, 60)
    reader.drain()
    assert await reader.read(chunks(b"x"), None) is Refusal.DRAINING


async def test_a_shutdown_in_the_moment_a_body_runs_out_of_time_does_no_harm() -> None:
    reader = BodyReader(10, 0.01)
    reading = asyncio.create_task(reader.read(feed([]), None))
    await begun(reader)
    (timeout,) = reader._under_way
    drained = asyncio.get_running_loop().create_future()

    def drain() -> None:
        drained.set_result(timeout.expired())
        reader.drain()

    asyncio.get_running_loop().call_at((timeout.when() or 0) + 1e-9, drain)
    assert await reading in (Refusal.DRAINING, Refusal.TOO_SLOW)
    assert await drained is True
