"""The demo's parts in this process: what breaks is said, and what is asked to end ends."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

import httpx
import pytest

from receiver.demo import run
from receiver.demo.play import drained, play
from receiver.demo.reading import read
from receiver.demo.run import Ending, Options
from receiver.demo.stage import Ports, opened
from receiver.errors import CommandError


def client(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url="http://127.0.0.1", transport=httpx.MockTransport(answer))


def refusing(_: httpx.Request) -> httpx.Response:
    return httpx.Response(500, text="broken")


def silent(_: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("late")


@pytest.mark.parametrize(
    ("answer", "words"),
    [(refusing, "answered GET {} with 500: broken"), (silent, "does not answer GET {}: ReadTimeout.")],
)
async def test_a_receiver_that_cannot_be_read_is_named(
    answer: Callable[[httpx.Request], httpx.Response], words: str
) -> None:
    async with client(answer) as broken:
        with pytest.raises(CommandError) as caught:
            await read(broken)
    path = "/v1/campaigns?sort=campaign_id&order=asc&limit=2000"
    assert str(caught.value) == f"The receiver {words.format(path)}"


async def test_the_stage_opens_on_one_clock_in_the_past() -> None:
    async with opened(1, 60, Ports()) as stage:
        assert stage.sandbox.clock is stage.clock
        assert stage.clock.speed == pytest.approx(8641)
        assert stage.key not in repr(stage)


async def test_a_sandbox_that_refuses_is_named() -> None:
    async with opened(1, 60, Ports()) as stage:
        stage.leadterra.headers["Authorization"] = "Bearer wrong"
        with pytest.raises(CommandError, match=r"^The sandbox answered POST /v1/campaigns with 401: "):
            await play(stage, 1)
        await stage.leadterra.aclose()


async def test_what_is_under_way_is_waited_for_only_so_long() -> None:
    async with opened(1, 0.2, Ports()) as stage:
        stage.sandbox.courier.webhooks[0].events_due += 1
        assert await drained(stage, 0.1) == 1


async def test_a_part_that_fails_ends_the_demo_with_a_word() -> None:
    async with opened(1, 60, Ports()) as stage:
        stage.failed.set()
        with pytest.raises(CommandError, match=r"^A part of the demo failed; "):
            await run.watch(stage)


async def _said(capsys: pytest.CaptureFixture[str], words: str) -> str:
    said = ""
    async with asyncio.timeout(90):
        while words not in said:
            await asyncio.sleep(0.05)
            said += capsys.readouterr().err
    return said


async def _after(demo: Awaitable[Ending]) -> Ending:
    async with asyncio.timeout(30):
        return await demo


async def test_it_stays_until_it_is_stopped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "RUN_S", 4.0)
    demo = asyncio.create_task(run.run(Options()))
    said = await _said(capsys, "Ctrl-C ends it.")
    assert "are the truth less what was withheld." in said
    os.kill(os.getpid(), signal.SIGTERM)
    assert await _after(demo) is Ending.WELL
