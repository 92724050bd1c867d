"""Who may do what, in which order requests are checked, and how guessing is slowed down."""

import hashlib

import pytest

from receiver.errors import ForbiddenError, TooManyAttemptsError, UnauthorizedError
from receiver.web.access import Access, Credentials, Role
from receiver.web.sessions import Sessions
from tests.web.conftest import ADMIN, ANALYST, KEYS, TOKEN, Api, Start, invalid, problem, sent

UNAUTHORIZED = problem(401, "Unauthorized", "unauthorized", "Send an access key as 'Authorization: Bearer <key>'.")
NEEDS_ADMIN = problem(
    403, "Forbidden", "forbidden", "This needs an admin key; see 'access.admin_keys' in the settings."
)
NOT_LOOPBACK = problem(
    403, "Forbidden", "forbidden", "Without access keys the receiver answers only to 'localhost' or 127.0.0.1."
)


def bearer(key: str, scheme: str = "Bearer") -> dict[str, str]:
    return {"Authorization": f"{scheme} {key}"}


# Without a key.


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "LocalHost:8000", "127.0.0.1", "127.0.0.1:1", "[::1]:8000", "[::1]"]
)
async def test_without_keys_reading_is_open_to_loopback_names(api: Api, host: str) -> None:
    assert (await api.get("/v1/campaigns", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil:80", "", "[::2]:80"]
)
async def test_without_keys_other_names_are_refused_because_they_may_be_rebound(api: Api, host: str) -> None:
    response = await api.get("/v1/campaigns", headers={"Host": host})
    assert (response.status_code, response.json()) == (403, NOT_LOOPBACK)


async def test_without_keys_admin_paths_answer_403(api: Api) -> None:
    response = await api.ask("POST", "/v1/rebuild")
    assert (response.status_code, response.json()) == (403, NEEDS_ADMIN)


async def test_without_keys_a_key_that_is_sent_does_not_matter(api: Api) -> None:
    for _ in range(40):
        response = await api.get("/v1/campaigns", headers=bearer("anything"))
        assert response.status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_open_paths_need_neither_key_nor_loopback_name(keyed: Api, path: str) -> None:
    assert (await keyed.get(path, headers={"Host": "evil.example"})).status_code == 200


# With keys.


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_an_analyst_reads_with_the_scheme_in_any_case(keyed: Api, scheme: str) -> None:
    assert (await keyed.get("/v1/campaigns", headers=bearer(ANALYST, scheme))).status_code == 200


async def test_an_analyst_is_no_admin(keyed: Api) -> None:
    response = await keyed.ask("POST", "/v1/rebuild", headers=bearer(ANALYST))
    assert (response.status_code, response.json()) == (403, NEEDS_ADMIN)


async def test_an_admin_is_an_analyst_too(keyed: Api) -> None:
    assert (await keyed.get("/v1/campaigns", headers=bearer(ADMIN))).status_code == 200
    assert (await keyed.ask("POST", "/v1/rebuild", headers=bearer(ADMIN))).status_code == 202


@pytest.mark.parametrize(
    "authorization", [None, "Bearer wrong", "Bearer", "Bearer ", f"Basic {ANALYST}", ANALYST, f"Bearer {ANALYST}x"]
)
async def test_no_key_or_a_wrong_one_is_401(keyed: Api, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    response = await keyed.get("/v1/campaigns", headers=headers)
    assert (response.status_code, response.json()) == (401, UNAUTHORIZED)
    assert response.headers["www-authenticate"] == "Bearer"


async def test_only_the_hash_of_the_whole_key_counts(start: Start) -> None:
    key = "schlüssel ohne Präfix"
    known = f'["{hashlib.sha256(key.encode()).hexdigest().upper()}"]'
    api = await start(RECEIVER_ACCESS__ANALYST_KEYS=known)
    headers = {b"Authorization": b"Bearer " + key.encode()}
    assert (await api.client.get("/v1/campaigns", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("peer", "status"), [("127.0.0.1", 202), ("::1", 202), ("192.0.2.1", 202), ("192.0.2.2", 401), ("", 401)]
)
async def test_the_servers_own_token_counts_only_from_this_machine(start: Start, peer: str, status: int) -> None:
    api = await start(peer=peer, key=TOKEN, **KEYS)
    assert (await api.ask("POST", "/v1/rebuild")).status_code == status


async def test_the_servers_own_token_is_an_admin_key_even_without_keys(start: Start) -> None:
    api = await start(key=TOKEN)
    assert (await api.ask("POST", "/v1/rebuild")).status_code == 202


# The order of checks.


async def test_an_unknown_path_is_404_before_the_key(keyed: Api) -> None:
    for path in ("/v1/nothing", "/v1/campaigns/", "/v1/campaigns/a/steps/", "/v1", "/index.html", "/livez/"):
        response = await keyed.get(path)
        assert response.status_code == 404, path
        assert response.json() == problem(404, "Not Found", "not_found", "There is nothing at this path.")


async def test_a_wrong_method_is_405_before_the_key(keyed: Api) -> None:
    response = await keyed.ask("DELETE", "/v1/campaigns", headers=bearer("wrong"))
    text = "DELETE is not allowed here; use GET, POST, HEAD, OPTIONS."
    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST, HEAD, OPTIONS")
    assert response.json() == problem(405, "Method Not Allowed", "method_not_allowed", text)


async def test_the_key_is_asked_before_the_parameters(keyed: Api) -> None:
    assert (await keyed.get("/v1/campaigns?limit=0")).json() == UNAUTHORIZED


async def test_the_role_is_asked_before_parameters_and_body(keyed: Api) -> None:
    headers = bearer(ANALYST)
    response = await keyed.ask("POST", "/v1/quarantine/retry?x=1", content=b"no json", headers=headers)
    assert response.json() == NEEDS_ADMIN


async def test_parameters_are_checked_before_the_campaign_is_looked_up(keyed: Api) -> None:
    response = await keyed.get("/v1/campaigns/nobody?x=1", headers=bearer(ANALYST))
    assert response.json() == invalid("x", "'x' is not a parameter here; known are: none.")


async def test_an_unknown_campaign_is_404_at_last(keyed: Api) -> None:
    for path in ("/v1/campaigns/nobody", "/v1/campaigns/nobody/steps"):
        response = await keyed.get(path, headers=bearer(ANALYST))
        text = "No event of campaign 'nobody' has been seen here."
        assert response.json() == problem(404, "Not Found", "campaign_not_found", text)


async def test_deliveries_need_a_signature_and_no_key(keyed: Api) -> None:
    assert await keyed.post(sent()) == ["stored"]


# Guessing.


async def test_after_thirty_wrong_keys_the_address_is_told_to_wait(keyed: Api) -> None:
    for _ in range(30):
        assert (await keyed.get("/v1/campaigns", headers=bearer("wrong"))).status_code == 401
    response = await keyed.get("/v1/campaigns", headers=bearer("wrong"))
    text = "Too many wrong keys from this address; wait."
    assert response.json() == problem(429, "Too Many Requests", "too_many_attempts", text)
    assert 1 <= int(response.headers["retry-after"]) <= 60


class Seconds:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def access(seconds: Seconds) -> Access:
    return Access([hashlib.sha256(b"good").digest()], [], "token", monotonic_s=seconds, sessions=Sessions(b"signing"))


def fail(guarded: Access, times: int, peer: str = "p", authorization: bytes | None = b"Bearer bad") -> None:
    for _ in range(times):
        with pytest.raises(UnauthorizedError):
            guarded.require(Role.ANALYST, Credentials(authorization, "h", peer))


def too_many(guarded: Access, peer: str = "p") -> int:
    """How many seconds the next wrong key is told to wait."""
    with pytest.raises(TooManyAttemptsError) as caught:
        guarded.require(Role.ANALYST, Credentials(b"Bearer bad", "h", peer))
    return caught.value.retry_after_s


def test_a_valid_key_is_never_refused() -> None:
    guarded = access(Seconds())
    fail(guarded, 30)
    assert too_many(guarded) == 60
    assert guarded.require(Role.ANALYST, Credentials(b"Bearer good", "h", "p")) is Role.ANALYST


def test_a_missing_key_is_not_counted() -> None:
    guarded = access(Seconds())
    fail(guarded, 100, authorization=None)
    fail(guarded, 30)
    assert too_many(guarded) == 60


def test_addresses_are_counted_apart() -> None:
    guarded = access(Seconds())
    fail(guarded, 30)
    fail(guarded, 30, peer="q")


def test_a_minute_after_the_first_wrong_key_the_count_begins_anew() -> None:
    seconds = Seconds()
    guarded = access(seconds)
    fail(guarded, 30)
    seconds.now += 59.5
    assert too_many(guarded) == 1
    seconds.now += 0.5
    fail(guarded, 30)


def test_wrong_keys_from_very_many_addresses_do_not_fill_the_memory() -> None:
    guarded = access(Seconds())
    fail(guarded, 30, peer="first")
    for number in range(10_000):
        fail(guarded, 1, peer=str(number))
    fail(guarded, 1, peer="first")
    assert len(guarded._failures) == 10_000


def test_an_open_operation_asks_for_nothing() -> None:
    assert access(Seconds()).require(Role.OPEN, Credentials(None, "evil", "p")) is Role.OPEN


def test_without_keys_the_token_beats_the_host_check() -> None:
    guarded = Access([], [], "token", sessions=Sessions(b"signing"))
    assert guarded.require(Role.ADMIN, Credentials(b"Bearer token", "evil", "127.0.0.1")) is Role.ADMIN
    with pytest.raises(ForbiddenError):
        guarded.require(Role.ANALYST, Credentials(b"Bearer token", "evil", "192.0.2.9"))
