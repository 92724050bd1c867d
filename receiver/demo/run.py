"""Runs the demo from the first line to the last, and ends well whenever it is told to."""

import asyncio
import contextlib
import signal
import sys
from dataclasses import dataclass, field
from enum import IntEnum

import orjson
from rich.console import Console

from receiver.demo.comparison import Comparison, compare, explanations, verdict
from receiver.demo.play import drained, pending_of, play
from receiver.demo.reading import read
from receiver.demo.stage import Ports, Stage, opened
from receiver.demo.view import View, result_table, show_sentences
from receiver.errors import CommandError

RUN_S = 60.0
# Of `--for`, what opening, draining and comparing may take.
_RESERVE_S = 4.0
# The first retry in real time comes after a minute.
_PATIENCE_S = 90.0
_SHOW_EVERY_S = 0.25


class Ending(IntEnum):
    """How the demo ends, as an exit code."""

    WELL = 0
    DIFFERENT = 3


@dataclass(frozen=True, slots=True)
class Options:
    """What can be chosen. `for_s`: real seconds until it ends by itself; None: it stays until it is stopped."""

    seed: int = 1
    for_s: float | None = None
    ports: Ports = field(default_factory=Ports)
    as_json: bool = False


async def run(options: Options) -> Ending:
    """The whole demo; a signal ends it well at any time. Raises CommandError for what stands in the way."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # `nohup` ignores it
        loop.add_signal_handler(signal.SIGHUP, stop.set)
    showing = asyncio.create_task(_show(options))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([showing, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if showing.done():
        return showing.result()
    showing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await showing
    Console(stderr=True).print("Stopped: the ports are free, and the temporary folder is gone.")
    return Ending.WELL


async def _show(options: Options) -> Ending:
    words = Console(stderr=True, highlight=False)
    run_s = RUN_S if options.for_s is None else options.for_s - _RESERVE_S
    async with opened(options.seed, run_s, options.ports) as stage:
        _introduce(words, stage, run_s)
        watching = asyncio.create_task(watch(stage))
        performing = asyncio.create_task(perform(stage, options.seed, words))
        try:
            await asyncio.wait([watching, performing], return_when=asyncio.FIRST_COMPLETED)
            if not performing.done():
                await watching  # raises what broke
            comparison = await performing
            conclude(comparison, words, as_json=options.as_json)
            if options.for_s is None:
                words.print(f"\nStill running on {stage.url}, in real time now; Ctrl-C ends it.")
                await watching
        finally:
            for task in (performing, watching):
                task.cancel()
            await asyncio.gather(performing, watching, return_exceptions=True)
    return Ending.WELL if comparison.ok else Ending.DIFFERENT


async def perform(stage: Stage, seed: int, console: Console) -> Comparison:
    """Play the story to its end while it is shown, then compare."""
    with View(console, stage.start_ms) as view:
        playing = asyncio.create_task(_play_to_the_end(stage, seed))
        try:
            while not playing.done():
                view.show(await read(stage.receiver), stage.clock.now_ms())
                await asyncio.wait([playing], timeout=_SHOW_EVERY_S)
            pending = await playing
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
    return await compared(stage, pending)


async def compared(stage: Stage, pending: int) -> Comparison:
    """Figures and truth of one moment: the world goes on meanwhile, so it is asked before and after."""
    while True:
        await stage.sandbox.settle()
        before = _truth(stage)
        await stage.reconcile(None)
        reading = await read(stage.receiver)
        await stage.sandbox.catch_up()
        if before["campaigns"] == _truth(stage)["campaigns"]:
            return compare(before, reading, min(pending, pending_of(stage)))


def conclude(comparison: Comparison, words: Console, *, as_json: bool) -> None:
    """The result: words on standard error, the table or JSON on standard output."""
    show_sentences(words, explanations(comparison))
    if as_json:
        sys.stdout.write(orjson.dumps(comparison.as_json(), option=orjson.OPT_INDENT_2).decode() + "\n")
        sys.stdout.flush()
    else:
        Console(highlight=False).print(result_table(comparison))
    style = "bold green" if comparison.ok else "bold red"
    words.print(verdict(comparison), style=style, markup=False, soft_wrap=not words.is_terminal)


async def _play_to_the_end(stage: Stage, seed: int) -> int:
    await play(stage, seed)
    return await drained(stage, _PATIENCE_S)


async def watch(stage: Stage) -> None:
    """Raises CommandError when one of the parts ends; else it does not return."""
    failed = asyncio.create_task(stage.failed.wait())
    try:
        await asyncio.wait([failed, *stage.tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        failed.cancel()
    raise CommandError("A part of the demo failed; see the lines above, and start it again.")


def _introduce(words: Console, stage: Stage, run_s: float) -> None:
    lines = (
        f"Receiver: {stage.url}",
        f"Analyst key, for this run: {stage.key}",
        "Try it, now or later:",
        f"  curl -H 'Authorization: Bearer {stage.key}' \\",
        f"    {stage.url}/v1/campaigns",
        f"A sandbox plays Leadterra: six days of campaigns in {run_s:.0f} s, ending now.",
        "",
    )
    for line in lines:
        words.print(line, soft_wrap=True, markup=False)


def _truth(stage: Stage) -> dict[str, object]:
    return stage.sandbox.insight.truth(stage.sandbox.courier.webhooks)
