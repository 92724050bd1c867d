"""What is asked again, after how long, and when a call gives up."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest
import stamina

from receiver.leadterra.client import LeadterraClient
from tests.leadterra.conftest import BASE_URL, KEY, STATS, Leadterra, failure, saying

DATE = "Wed, 11 Jun 2025 09:14:32 GMT"
LOST = [httpx.ReadError("x"), httpx.WriteError("x"), httpx.RemoteProtocolError("x"), ConnectionResetError()]
NEVER_SENT = [httpx.ConnectError("x"), httpx.ConnectTimeout("x"), httpx.PoolTimeout("x")]


class Sleeps(list[float]):
    """The seconds of every sleep, none of which is slept."""

    async def __call__(self, delay: float) -> None:
        self.append(delay)


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sleeps]:
    found = Sleeps()
    monkeypatch.setattr(asyncio, "sleep", found)
    with stamina.set_testing(False):
        yield found


def limited(headers: dict[str, str], status: int = 429) -> httpx.Response:
    return saying({"error": "rate_limited"}, status, **headers)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_busy_or_broken_server_is_asked_again_with_a_growing_wait(status: int, sleeps: Sleeps) -> None:
    leadterra = Leadterra(saying({}, status), saying({}, status), saying(STATS))
    assert (await leadterra.client.stats("camp_1")).counters.sent == 12
    assert len(leadterra.requests) == 3
    assert 0.25 <= sleeps[0] <= 0.75
    assert 0.5 <= sleeps[1] <= 1.0


async def test_the_waits_are_not_all_the_same(sleeps: Sleeps) -> None:
    for _ in range(10):
        await failure(Leadterra(saying({}, 503)).client.stats("camp_1"))
    assert len(set(sleeps)) == 20


@pytest.mark.parametrize("error", [*LOST, *NEVER_SENT])
async def test_a_failing_network_is_asked_again(error: Exception) -> None:
    leadterra = Leadterra(error, saying(STATS))
    assert (await leadterra.client.stats("camp_1")).counters.sent == 12


@pytest.mark.parametrize("status", [400, 401, 403, 404, 302])
async def test_what_will_not_change_is_asked_once(status: int) -> None:
    leadterra = Leadterra(saying({}, status))
    await failure(leadterra.client.stats("camp_1"))
    assert len(leadterra.requests) == 1


async def test_after_three_attempts_the_last_error_stands() -> None:
    leadterra = Leadterra(saying({}, 429), httpx.ReadError("x"), saying({}, 502), saying(STATS))
    error = await failure(leadterra.client.stats("camp_1"))
    assert (error.reason, error.status, len(leadterra.requests)) == ("server_error", 502, 3)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "7"},
        {"Retry-After": " 7 "},
        {"Retry-After": "Wed, 11 Jun 2025 09:14:39 GMT", "Date": DATE},
    ],
)
async def test_the_wait_that_leadterra_asks_for_is_obeyed(
    status: int, headers: dict[str, str], sleeps: Sleeps
) -> None:
    leadterra = Leadterra(limited(headers, status), saying(STATS))
    await leadterra.client.stats("camp_1")
    (slept,) = sleeps
    assert 7 <= slept <= 7.5


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "0"},
        {"Retry-After": "-5"},
        {"Retry-After": "soon"},
        {"Retry-After": "1.5"},
        {"Retry-After": ""},
        {"Retry-After": DATE},  # long past by our clock
        {"Retry-After": "Wed, 11 Jun 2025 09:14:31 GMT", "Date": DATE},
        {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"},
    ],
)
async def test_a_wait_that_says_nothing_is_our_own(headers: dict[str, str], sleeps: Sleeps) -> None:
    await Leadterra(limited(headers), saying(STATS)).client.stats("camp_1")
    (slept,) = sleeps
    assert 0.25 <= slept <= 0.75


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "86400"}, "86400"),
        ({"Retry-After": "15"}, "15"),
        ({"Retry-After": "9" * 5000}, "31536000"),
        ({"Retry-After": "Thu, 12 Jun 2025 09:14:32 GMT", "Date": DATE}, "86400"),
        ({"Retry-After": "Wed, 11 Jun 9999 09:14:32 GMT"}, "31536000"),
    ],
)
async def test_a_wait_longer_than_is_left_ends_the_call_at_once(
    headers: dict[str, str], wait_s: str, sleeps: Sleeps
) -> None:
    leadterra = Leadterra(limited(headers))
    error = await failure(leadterra.client.stats("camp_1"))
    assert (error.reason, error.status, error.retry_after_s) == ("rate_limited", 429, float(wait_s))
    assert (len(leadterra.requests), sleeps) == (1, [])
    assert str(error) == (
        f"Leadterra answered GET /v1/campaigns/camp_1/stats with 429 (rate_limited) and asks to wait {wait_s} s; "
        "ask later, or lower 'leadterra.concurrency'."
    )


async def test_a_run_that_is_nearly_over_waits_no_longer_than_it_has(sleeps: Sleeps) -> None:
    leadterra = Leadterra(limited({"Retry-After": "7"}))
    deadline = asyncio.get_running_loop().time() + 5
    error = await failure(leadterra.client.stats("camp_1", deadline=deadline))
    assert (error.retry_after_s, len(leadterra.requests), sleeps) == (7, 1, [])


async def test_a_run_that_is_over_asks_nothing() -> None:
    leadterra = Leadterra(saying(STATS))
    error = await failure(leadterra.client.stats("camp_1", deadline=asyncio.get_running_loop().time() - 1))
    assert (error.reason, error.arrived, leadterra.requests) == ("timeout", False, [])


async def test_a_call_that_runs_out_of_time_between_two_attempts_says_why_the_first_failed() -> None:
    leadterra = Leadterra(saying({}, 503))
    client = LeadterraClient(BASE_URL, KEY, 0.1, transport=httpx.MockTransport(leadterra))
    with stamina.set_testing(False):
        error = await failure(client.stats("camp_1"))
    assert (error.reason, error.status, len(leadterra.requests)) == ("server_error", 503, 1)


async def test_a_second_attempt_that_takes_too_long_is_a_timeout_whatever_the_first_was() -> None:
    asked = []

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if len(asked) == 2:
            await asyncio.Event().wait()
        return saying({}, 503)

    client = LeadterraClient(BASE_URL, KEY, 0.1, transport=httpx.MockTransport(answer))
    error = await failure(client.stats("camp_1"))
    assert (error.reason, error.status, len(asked)) == ("timeout", None, 2)


# What changes something.


@pytest.mark.parametrize("error", [*LOST, *NEVER_SENT, saying({}, 503), saying({}, 429)])
async def test_start_and_pause_may_be_repeated(error: httpx.Response | Exception) -> None:
    for name in ("start", "pause"):
        leadterra = Leadterra(error, saying({"id": "camp_1"}))
        await getattr(leadterra.client, name)("camp_1")
        assert len(leadterra.requests) == 2


@pytest.mark.parametrize("error", [*LOST, httpx.ReadTimeout("x"), saying({}, 500), saying({}, 503)])
async def test_a_webhook_that_may_have_been_registered_is_not_registered_again(
    error: httpx.Response | Exception,
) -> None:
    leadterra = Leadterra(error)
    failed = await failure(leadterra.client.register_webhook("https://r.example/", []))
    assert (failed.arrived, len(leadterra.requests)) == (True, 1)


@pytest.mark.parametrize("error", [*NEVER_SENT, saying({}, 429)])
async def test_a_webhook_that_cannot_have_been_registered_is_tried_again(error: httpx.Response | Exception) -> None:
    leadterra = Leadterra(error, saying({"id": "wh_1"}))
    assert (await leadterra.client.register_webhook("https://r.example/", [])).id == "wh_1"
    assert len(leadterra.requests) == 2


# Side by side.


class Gate(httpx.AsyncBaseTransport):
    """Answers nothing until it is opened."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.inside = self.most = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.opened.wait()
        self.inside -= 1
        return saying({"sent": 1})


async def until_busy(gate: Gate, count: int) -> None:
    while gate.inside < count:  # noqa: ASYNC110 # a transport has no event for it
        await asyncio.sleep(0)


@pytest.mark.parametrize(("concurrency", "most"), [(1, 1), (8, 8), (100, 32)])
async def test_no_more_calls_run_side_by_side_than_allowed(concurrency: int, most: int) -> None:
    gate = Gate()
    client = LeadterraClient(BASE_URL, KEY, concurrency=concurrency, transport=gate)
    calls = [asyncio.create_task(client.stats(f"camp_{number}")) for number in range(100)]
    await until_busy(gate, most)
    gate.opened.set()
    assert len(await asyncio.gather(*calls)) == 100
    assert gate.most == most


async def test_waiting_for_a_turn_ends_with_the_run() -> None:
    gate = Gate()
    client = LeadterraClient(BASE_URL, KEY, concurrency=1, transport=gate)
    first = asyncio.create_task(client.stats("camp_1"))
    await until_busy(gate, 1)
    error = await failure(client.stats("camp_2", deadline=asyncio.get_running_loop().time() + 0.01))
    assert (error.reason, error.arrived) == ("timeout", False)
    gate.opened.set()
    assert (await first).campaign_id == "camp_1"


async def test_a_call_that_is_cancelled_gives_its_turn_back() -> None:
    gate = Gate()
    client = LeadterraClient(BASE_URL, KEY, concurrency=1, transport=gate)
    first = asyncio.create_task(client.stats("camp_1"))
    await until_busy(gate, 1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.opened.set()
    assert (await client.stats("camp_2")).campaign_id == "camp_2"
