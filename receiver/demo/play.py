"""Plays the story over the sandbox's HTTP API, and waits until the last retry has ended."""

import asyncio
import contextlib
from typing import Any

import httpx

from receiver.clock import Clock
from receiver.demo.stage import Stage
from receiver.demo.story import PITCHES, steps, uploads
from receiver.errors import CommandError

_POLL_S = 0.1


async def play(stage: Stage, seed: int) -> None:
    """Create the campaigns, then enroll and start them at their times. Raises CommandError."""
    ids = [await _created(stage.leadterra, number) for number in range(len(PITCHES))]
    # Known before they start: on a slow machine hours of the story pass until the first event has arrived, and what
    # is lost before a campaign's first snapshot cannot be told from what was sent before the receiver was installed.
    await stage.reconcile(ids)
    for upload in uploads(seed):
        await until(stage.clock, stage.start_ms + int(upload.at_s * 1000))
        campaign = f"/v1/campaigns/{ids[upload.campaign]}"
        await _post(stage.leadterra, f"{campaign}/leads/bulk", {"leads": upload.leads})
        if upload.starts:
            await _post(stage.leadterra, f"{campaign}/start", {})


async def until(clock: Clock, at_ms: int) -> None:
    """Returns at this simulated time; the clock may change its speed meanwhile."""
    while (left_ms := at_ms - clock.now_ms()) > 0:  # noqa: ASYNC110 # a clock has no event to wait for
        await asyncio.sleep(min(_POLL_S, left_ms / 1000 / clock.speed))


async def drained(stage: Stage, patience_s: float) -> int:
    """Wait for the present, then for the last delivery; how many are under way still after that many real seconds."""
    while stage.clock.speed > 1:  # noqa: ASYNC110 # as above
        await asyncio.sleep(_POLL_S)
    await stage.sandbox.catch_up()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            while pending_of(stage):  # noqa: ASYNC110 # nor has a courier
                await asyncio.sleep(_POLL_S)
    return pending_of(stage)


def pending_of(stage: Stage) -> int:
    """Events that may still arrive."""
    return sum(stage.sandbox.courier.pending(webhook) for webhook in stage.sandbox.courier.webhooks)


async def _created(client: httpx.AsyncClient, number: int) -> str:
    pitch = PITCHES[number]
    return str((await _post(client, "/v1/campaigns", {"name": pitch.name, "sequenceSteps": steps(pitch)}))["id"])


async def _post(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> Any:
    try:
        answer = await client.post(path, json=body)
    except httpx.HTTPError as error:
        raise CommandError(f"The sandbox does not answer POST {path}: {type(error).__name__}.") from error
    if not answer.is_success:
        raise CommandError(f"The sandbox answered POST {path} with {answer.status_code}: {answer.text[:200]}")
    return answer.json()
